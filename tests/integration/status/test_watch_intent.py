"""WatchIntent: each event exactly once, in order, from anywhere, until all is told."""

import asyncio

import pytest
from intentmesh.domain.errors import InvalidArgument, NotFound, Unavailable
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchEnd, WatchIntentRequest

from tests.fixtures.intents import COMPLETED, SETTLED
from tests.integration.status.replicas import NEVER_SECONDS, Mesh, Reader, id_of

FAST_ONLY_BY_HINT = {"poll_seconds": NEVER_SECONDS}
ONLY_BY_POLL = {"poll_seconds": 0.1, "valkey_url": "redis://127.0.0.1:1/0"}


async def test_watch__from_the_start__tells_history_then_news_then_ends(mesh: Mesh) -> None:
    row = await mesh.store()
    await mesh.change(row.intent_id)
    async with mesh.replica() as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await reader.until(lambda r: len(r.events) == 2)
        for _ in range(3):
            await mesh.change(row.intent_id)
        last = await mesh.change(row.intent_id, COMPLETED)
        await reader.to_the_end()
    assert reader.sequences == [1, 2, 3, 4, 5, 6]
    assert reader.events[-1] == last


async def test_watch__hints__bring_news_long_before_the_poll(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(**FAST_ONLY_BY_HINT) as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await reader.until(lambda r: len(r.events) == 1)
        await mesh.change(row.intent_id)
        await reader.until(lambda r: len(r.events) == 2)
        reader.call.cancel()


async def test_watch__from_the_middle__tells_what_follows(mesh: Mesh) -> None:
    row = await mesh.store()
    for _ in range(5):
        await mesh.change(row.intent_id)
    async with mesh.replica() as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row), after_sequence=4)))
        await reader.until(lambda r: len(r.events) == 2)
        await mesh.change(row.intent_id, COMPLETED)
        await reader.to_the_end()
    assert reader.sequences == [5, 6, 7]


async def test_watch__reconnect_to_another_replica__goes_on_without_gap_or_duplicate(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as one, mesh.replica() as other:
        reader = Reader(one.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await mesh.change(row.intent_id)
        await reader.until(lambda r: len(r.events) == 2)
        reader.call.cancel()
        await mesh.change(row.intent_id)
        second = Reader(other.WatchIntent(WatchIntentRequest(intent_id=id_of(row), after_sequence=2)))
        await mesh.change(row.intent_id, COMPLETED)
        await second.to_the_end()
    assert reader.sequences + second.sequences == [1, 2, 3, 4]


async def test_watch__some_hints_lost__the_next_one_heals_the_gap(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(**FAST_ONLY_BY_HINT) as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await reader.until(lambda r: len(r.events) == 1)
        for _ in range(3):
            await mesh.change(row.intent_id, hint=False)
        await mesh.change(row.intent_id)
        await reader.until(lambda r: len(r.events) == 5)
        reader.call.cancel()
    assert reader.sequences == [1, 2, 3, 4, 5]


async def test_watch__valkey_away__the_poll_brings_all(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(**ONLY_BY_POLL) as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await reader.until(lambda r: len(r.events) == 1)
        for _ in range(3):
            await mesh.change(row.intent_id)
        await mesh.change(row.intent_id, COMPLETED)
        await reader.to_the_end()
    assert reader.sequences == [1, 2, 3, 4, 5]


async def test_watch__duplicated_and_late_hints__change_nothing(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        events = [await mesh.change(row.intent_id, hint=False) for _ in range(4)]
        for event in (events[2], events[0], events[3], events[1], *events):
            await mesh.hints.publish([event])
        await mesh.change(row.intent_id, COMPLETED)
        await reader.to_the_end()
    assert reader.sequences == [1, 2, 3, 4, 5, 6]


async def test_watch__while_others_write__has_no_seam(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as stub:

        async def write() -> None:
            for number in range(60):
                await mesh.change(row.intent_id, hint=number % 3 != 0)
            await mesh.change(row.intent_id, COMPLETED)

        writing = asyncio.create_task(write())
        readers = []
        while not writing.done():
            readers.append(Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row)))))
            await readers[-1].read()
        await writing
        await asyncio.gather(*(reader.to_the_end() for reader in readers))
    assert len(readers) > 3
    assert all(reader.sequences == list(range(1, 63)) for reader in readers)


async def test_watch__history_longer_than_is_kept__is_told_from_the_store(mesh: Mesh) -> None:
    row = await mesh.store()
    for _ in range(300):
        await mesh.change(row.intent_id, hint=False)
    await mesh.change(row.intent_id, COMPLETED)
    async with mesh.replica(max_message_events=50) as stub:
        reader = await Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row)))).to_the_end()
    assert reader.sequences == list(range(1, 303))


async def test_watch__end_asked_for__is_where_it_ends(mesh: Mesh) -> None:
    row = await mesh.store()
    await mesh.change(row.intent_id, COMPLETED)
    async with mesh.replica() as stub:
        settled = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row), end=WatchEnd.WATCH_END_SETTLED)))
        await settled.until(lambda r: len(r.events) == 2)
        await mesh.change(row.intent_id, SETTLED)
        await settled.to_the_end()
        terminal = await Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row)))).to_the_end()
        resumed = await Reader(
            stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row), after_sequence=2))
        ).to_the_end()
    assert settled.sequences == [1, 2, 3]
    assert terminal.sequences == [1, 2]
    assert resumed.sequences == []


async def test_watch__unknown_intent_or_sequence__is_refused(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as stub:
        unknown = await Reader(stub.WatchIntent(WatchIntentRequest(intent_id="0x" + "ee" * 32))).failure()
        ahead = await Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row), after_sequence=9))).failure()
    assert isinstance(unknown, NotFound)
    assert isinstance(ahead, InvalidArgument)
    assert [violation.field for violation in ahead.violations] == ["after_sequence"]


async def test_watch__silence__is_filled_with_heartbeats(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(heartbeat_seconds=0.05) as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row), after_sequence=1)))
        for _ in range(4):
            assert await reader.read()
        reader.call.cancel()
    assert reader.events == []


@pytest.mark.parametrize("age", [0.1, NEVER_SECONDS])
async def test_watch__of_age_or_drained__is_closed_as_planned(mesh: Mesh, age: float) -> None:
    row = await mesh.store()
    async with mesh.replica(stream_age_seconds=age) as stub:
        reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        await reader.until(lambda r: len(r.events) == 1)
        if age == NEVER_SECONDS:
            closing = asyncio.create_task(reader.failure())
        else:
            failure = await reader.failure()
    if age == NEVER_SECONDS:
        failure = await closing
    assert isinstance(failure, Unavailable)
    assert failure.reason == ErrorReason.ERROR_REASON_STREAM_CLOSED
    assert failure.metadata["after_sequence"] == "1"
    assert failure.retry_after is not None
