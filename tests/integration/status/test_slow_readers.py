"""A reader that does not read is closed by a typed reason, and delays nobody meanwhile."""

import asyncio
from dataclasses import replace

from intentmesh.domain.errors import ResourceExhausted
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchIntentRequest, WatchIntentsRequest

from tests.fixtures.intents import COMPLETED, waiting
from tests.integration.status.replicas import Mesh, Reader, id_of

FROM_START = WatchIntentsRequest(from_start=True)
# Together far more than what transport and kernel hold for one reader.
LARGE = "x" * 8_000
EVENTS = 400
SETTINGS = {"write_timeout_seconds": 0.5, "max_message_bytes": 32_768}


async def test_slow_reader__does_not_read__is_closed_with_its_token_and_goes_on_with_it(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    async with mesh.replica(**SETTINGS) as stub:
        slow, fast = Reader(stub.WatchIntents(FROM_START)), Reader(stub.WatchIntents(FROM_START))
        await slow.read()
        # The fast one, on the same connection, sees everything although the other takes nothing.
        reading = asyncio.create_task(fast.until(lambda r: len(r.events) == EVENTS + 1))
        for _ in range(EVENTS):
            await mesh.change(row.intent_id, large)
        await reading
        await asyncio.sleep(2 * SETTINGS["write_timeout_seconds"])
        failure = await slow.failure()
        resumed = Reader(stub.WatchIntents(WatchIntentsRequest(resume_token=failure.metadata["resume_token"])))
        await resumed.until(lambda r: r.sequences[-1:] == [EVENTS + 1])
        resumed.call.cancel()
        fast.call.cancel()
    assert isinstance(failure, ResourceExhausted)
    assert failure.reason == ErrorReason.ERROR_REASON_SLOW_READER
    assert len(slow.events) < EVENTS
    # At least once: what was on its way when the stream was closed may come again, but nothing is missing.
    again = resumed.sequences[0]
    assert again <= slow.sequences[-1] + 1
    assert slow.sequences == list(range(1, slow.sequences[-1] + 1))
    assert resumed.sequences == list(range(again, EVENTS + 2))


async def test_slow_reader__of_one_intent__is_closed_with_the_sequence_to_go_on_after(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    await mesh.change(row.intent_id, COMPLETED)
    async with mesh.replica(**SETTINGS) as stub:
        slow = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await slow.read()
        fast = await Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row)))).to_the_end()
        await asyncio.sleep(2 * SETTINGS["write_timeout_seconds"])
        failure = await slow.failure()
    assert len(fast.events) == EVENTS + 2
    assert failure.reason == ErrorReason.ERROR_REASON_SLOW_READER
    assert 0 < int(failure.metadata["after_sequence"]) <= slow.sequences[-1]


async def test_slow_reader__never_reads_again__does_not_hold_up_the_drain(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    loop = asyncio.get_running_loop()
    async with mesh.replica(**SETTINGS, grace_seconds=2.0) as stub:
        slow = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await slow.read()
        started = loop.time()
    assert loop.time() - started < 12.0


async def test_slow_reader__takes_nothing_from_the_beginning__is_closed_all_the_same(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    async with mesh.replica(**(SETTINGS | {"max_message_bytes": 262_144})) as stub:
        slow = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        # What it is told at first is not read either.
        await asyncio.sleep(3 * SETTINGS["write_timeout_seconds"])
        failure = await slow.failure()
    assert failure.reason == ErrorReason.ERROR_REASON_SLOW_READER
    assert int(failure.metadata["after_sequence"]) <= len(slow.events) < EVENTS
    assert slow.sequences == list(range(1, len(slow.events) + 1))
