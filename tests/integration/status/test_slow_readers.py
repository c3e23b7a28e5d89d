"""A reader that does not read is closed by a typed reason, and delays nobody meanwhile."""

import asyncio
import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from intentmesh.domain.errors import ResourceExhausted
from intentmesh.status.metrics import CUT_OFF_STREAMS, STREAM_CLOSES
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchIntentRequest, WatchIntentsRequest

from tests.fixtures.intents import COMPLETED, waiting
from tests.integration.status.replicas import Mesh, Reader, eventually, id_of
from tests.integration.status.stalling import stalling

FROM_START = WatchIntentsRequest(from_start=True)
# Together far more than what transport and kernel hold for one reader.
LARGE = "x" * 8_000
EVENTS = 400
# They come back for the last word when all the others are done.
SETTINGS = {"write_timeout_seconds": 0.5, "max_message_bytes": 32_768, "last_word_seconds": 120.0}


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


@pytest.fixture(autouse=True)
def frequent_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intentmesh.status.streams.LOOK_SECONDS", 0.2)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is let go of must be gone at once: a busy server's collector comes by when it comes by."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def _has_room(stub: Any, wanted: WatchIntentRequest) -> bool:
    reader = Reader(stub.WatchIntent(wanted))
    try:
        await reader.read()
    except ResourceExhausted:
        return False
    reader.call.cancel()
    return True


async def test_slow_reader__closed_and_takes_not_even_the_reason__holds_its_place_while_its_call_lasts(
    mesh: Mesh,
) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    wanted = WatchIntentRequest(intent_id=id_of(row))
    closes = STREAM_CLOSES.labels("WatchIntent", "SLOW_READER")._value
    before = closes.get()
    async with mesh.replica_at(**SETTINGS, max_streams=1) as (stub, target):

        async def closed() -> bool:
            return bool(closes.get() > before)

        async def has_room() -> bool:
            return await _has_room(stub, wanted)

        async with stalling(target) as staller:
            await staller.watch("WatchIntent", wanted)
            await eventually(closed)
            assert not await has_room()
        await eventually(has_room)


@pytest.mark.usefixtures("no_collector")
async def test_slow_reader__takes_not_even_the_reason_in_time__is_cut_off_and_its_place_is_free(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    wanted = WatchIntentRequest(intent_id=id_of(row))
    async with mesh.replica_at(**(SETTINGS | {"last_word_seconds": 0.5}), max_streams=2) as (stub, target):

        async def has_room() -> bool:
            return await _has_room(stub, wanted)

        async with stalling(target) as staller:
            streams = [await staller.watch("WatchIntent", wanted) for _ in range(2)]
            await eventually(has_room)
            # The transport has let go of them, too: their connection, which stays open, is told so.
            for stream in streams:
                await staller.cut_off(stream)


@pytest.mark.usefixtures("no_collector")
async def test_slow_reader__opens_no_window_at_all__is_cut_off_and_its_place_is_free(mesh: Mesh) -> None:
    row = await mesh.store()
    wanted = WatchIntentRequest(intent_id=id_of(row))
    closes = STREAM_CLOSES.labels("WatchIntent", "SLOW_READER")._value
    before = closes.get()
    async with mesh.replica_at(write_timeout_seconds=0.5, last_word_seconds=5.0, max_streams=1) as (stub, target):

        async def closed() -> bool:
            return bool(closes.get() > before)

        async def has_room() -> bool:
            return await _has_room(stub, wanted)

        async with stalling(target, window=0) as staller:
            stream = await staller.watch("WatchIntent", wanted)
            await eventually(closed)
            assert not await has_room()
            await eventually(has_room)
            await staller.cut_off(stream)


@pytest.mark.usefixtures("no_collector")
async def test_slow_reader__reads_not_even_its_socket__is_cut_off_and_its_place_is_free(mesh: Mesh) -> None:
    row = await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    wanted = WatchIntentRequest(intent_id=id_of(row))
    cuts = CUT_OFF_STREAMS._value
    before = cuts.get()
    settings = SETTINGS | {"last_word_seconds": 0.5}
    async with mesh.replica_at(**settings, max_streams=6) as (stub, target):

        async def cut(streams: int) -> bool:
            return bool(cuts.get() >= before + streams)

        async def has_room() -> bool:
            return await _has_room(stub, wanted)

        async with stalling(target, window=2**31 - 1) as staller:
            await staller.read_no_more()
            # More than the kernel holds for both sides.
            for _ in range(5):
                await staller.ask("WatchIntent", wanted)
            await eventually(lambda: cut(1))
            # Of this one, not even the headers go out.
            await staller.ask("WatchIntent", wanted)
            await eventually(lambda: cut(6))
            assert await has_room()
