"""WatchIntents: the feed in one order for all, resumable on any replica, refused by typed reasons."""

import asyncio

import pytest
from intentmesh.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    OutOfRange,
    Unauthenticated,
    Unavailable,
)
from intentmesh.status import feed
from intentmesh.status.metrics import REPLAYED_EVENTS
from intentmesh.store import events
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentStatus
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest

from tests.fixtures.intents import ALICE, BOB, COMPLETED
from tests.integration.status.replicas import NEVER_SECONDS, Mesh, Reader, id_of

FROM_START = WatchIntentsRequest(from_start=True)


async def test_watch_all__two_replicas__tell_the_same_order_each_event_once(mesh: Mesh) -> None:
    async with mesh.replica() as one, mesh.replica() as other:
        first, second = Reader(one.WatchIntents(FROM_START)), Reader(other.WatchIntents(FROM_START))
        rows = [await mesh.store() for _ in range(4)]
        for number in range(6):
            await asyncio.gather(*(mesh.change(row.intent_id, hint=number % 2 == 0) for row in rows))
        await first.until(lambda r: len(r.events) == 28)
        await second.until(lambda r: len(r.events) == 28)
        first.call.cancel()
        second.call.cancel()
    assert first.seen == second.seen
    for row in rows:
        assert [s for intent_id, s in first.seen if intent_id == id_of(row)] == list(range(1, 8))


async def test_watch_all__without_token__begins_with_what_comes_next(mesh: Mesh) -> None:
    old = await mesh.store()
    async with mesh.replica() as stub:
        await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.events))
        reader = Reader(stub.WatchIntents(WatchIntentsRequest()))
        assert await reader.read()
        assert reader.token
        await mesh.change(old.intent_id)
        await reader.until(lambda r: bool(r.events))
        reader.call.cancel()
    assert reader.seen == [(id_of(old), 2)]


async def test_watch_all__token_on_another_replica__goes_on_right_after(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(max_message_events=2) as one, mesh.replica(max_message_events=2) as other:
        for _ in range(5):
            await mesh.change(row.intent_id)
        reader = Reader(one.WatchIntents(FROM_START))
        await reader.until(lambda r: len(r.events) >= 3)
        reader.call.cancel()
        await mesh.change(row.intent_id)
        resumed = Reader(other.WatchIntents(WatchIntentsRequest(resume_token=reader.token)))
        await resumed.until(lambda r: r.sequences[-1:] == [7])
        resumed.call.cancel()
    assert reader.sequences + resumed.sequences == [1, 2, 3, 4, 5, 6, 7]


async def test_watch_all__token_after_the_replica_was_replaced__is_told_from_the_store(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as stub:
        reader = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.events))
    for _ in range(3):
        await mesh.change(row.intent_id)
    async with mesh.replica() as stub:
        await Reader(stub.WatchIntents(FROM_START)).until(lambda r: len(r.events) == 4)
    async with mesh.replica() as stub:
        resumed = Reader(stub.WatchIntents(WatchIntentsRequest(resume_token=reader.token)))
        await resumed.until(lambda r: len(r.events) == 3)
        resumed.call.cancel()
    assert resumed.sequences == [2, 3, 4]


async def test_watch_all__older_transaction_open__its_event_is_not_skipped(mesh: Mesh) -> None:
    slow, fast = await mesh.store(), await mesh.store()
    async with mesh.replica() as stub:
        reader = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: len(r.events) == 2)
        async with mesh.pool.acquire() as conn:
            transaction = conn.transaction()
            await transaction.start()
            await conn.execute("SELECT pg_current_xact_id()")
            await conn.execute("SELECT nextval(pg_get_serial_sequence('intent_events', 'event_id'))")
            await conn.execute("SELECT 1 FROM intents WHERE intent_id = $1 FOR UPDATE", slow.intent_id)
            for _ in range(3):
                await mesh.change(fast.intent_id)
            await transaction.commit()
        await mesh.change(slow.intent_id)
        await reader.until(lambda r: len(r.events) == 6)
        reader.call.cancel()
    assert [s for intent_id, s in reader.seen if intent_id == id_of(slow)] == [1, 2]
    assert [s for intent_id, s in reader.seen if intent_id == id_of(fast)] == [1, 2, 3, 4]


async def test_watch_all__filtered__tells_what_matches_and_moves_the_token_over_the_rest(mesh: Mesh) -> None:
    alices, bobs = await mesh.store(user=ALICE), await mesh.store(user=BOB)
    wanted = WatchIntentsRequest(
        user="0x" + BOB.hex(), statuses=[IntentStatus.INTENT_STATUS_COMPLETED], from_start=True
    )
    async with mesh.replica(heartbeat_seconds=0.05) as stub:
        reader = Reader(stub.WatchIntents(wanted))
        await mesh.change(alices.intent_id, COMPLETED)
        await mesh.change(bobs.intent_id, COMPLETED)
        await reader.until(lambda r: bool(r.events))
        before = reader.token
        await mesh.change(alices.intent_id)
        # A bookmark: the token of a quiet watch goes on.
        await reader.until(lambda r: r.token != before)
        reader.call.cancel()
    assert reader.seen == [(id_of(bobs), 2)]


async def test_watch_all__token_with_another_filter__is_refused(mesh: Mesh) -> None:
    await mesh.store()
    async with mesh.replica() as stub:
        reader = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.events))
        other = WatchIntentsRequest(resume_token=reader.token, user="0x" + ALICE.hex())
        failure = await Reader(stub.WatchIntents(other)).failure()
        damaged = WatchIntentsRequest(resume_token="no token")
        malformed = await Reader(stub.WatchIntents(damaged)).failure()
    assert isinstance(failure, InvalidArgument)
    assert failure.reason == ErrorReason.ERROR_REASON_FILTER_CHANGED
    assert malformed.reason == ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN


async def test_watch_all__token_of_another_database__is_refused(mesh: Mesh) -> None:
    await mesh.store()
    async with mesh.replica() as stub:
        reader = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.events))
    await mesh.pool.execute("UPDATE feed SET epoch = gen_random_uuid()")
    async with mesh.replica() as stub:
        failure = await Reader(stub.WatchIntents(WatchIntentsRequest(resume_token=reader.token))).failure()
    assert isinstance(failure, FailedPrecondition)
    assert failure.reason == ErrorReason.ERROR_REASON_EPOCH_CHANGED


async def test_watch_all__position_no_longer_held__is_refused_and_names_the_earliest(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as stub:
        reader = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.events))
        for _ in range(4):
            await mesh.change(row.intent_id)
        await reader.until(lambda r: len(r.events) == 5)
        token = reader.token
        old = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: bool(r.token))
        await mesh.pool.execute("DELETE FROM intent_events WHERE feed_position <= 3")
        await mesh.pool.execute("UPDATE feed SET first_position = 4")
        refused = await Reader(stub.WatchIntents(WatchIntentsRequest(resume_token=old.token))).failure()
        kept = Reader(stub.WatchIntents(WatchIntentsRequest(resume_token=token)))
        assert await kept.read()
    assert isinstance(refused, OutOfRange)
    assert refused.reason == ErrorReason.ERROR_REASON_POSITION_TOO_OLD
    assert refused.metadata["earliest"] == "4"


async def test_watch_all__drain__sends_a_last_token_and_closes_as_planned(mesh: Mesh) -> None:
    row = await mesh.store()
    wanted = WatchIntentsRequest(intent_ids=["0x" + "ee" * 32], from_start=True)
    async with mesh.replica(heartbeat_seconds=14) as stub:
        reader = Reader(stub.WatchIntents(wanted))
        assert await reader.read()
        before = reader.token
        seen = Reader(stub.WatchIntents(FROM_START))
        await mesh.change(row.intent_id)
        await seen.until(lambda r: len(r.events) == 2)
        closing = asyncio.create_task(reader.failure())
    failure = await closing
    assert isinstance(failure, Unavailable)
    assert failure.reason == ErrorReason.ERROR_REASON_STREAM_CLOSED
    # The bookmark moved over what the filter left out.
    assert reader.token != before
    assert failure.metadata["resume_token"] == reader.token
    assert failure.retry_after is not None


async def test_watch_all__without_principal__is_refused_unless_ids_are_named(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(anonymous_lists=False) as stub:
        failure = await Reader(stub.WatchIntents(FROM_START)).failure()
        named = Reader(stub.WatchIntents(WatchIntentsRequest(intent_ids=[id_of(row)], from_start=True)))
        await named.until(lambda r: bool(r.events))
        named.call.cancel()
    assert isinstance(failure, Unauthenticated)


@pytest.mark.parametrize("by_user", [False, True])
async def test_watch_of_few__from_the_start_of_a_long_feed__reads_what_is_of_them_alone(
    mesh: Mesh, by_user: bool
) -> None:
    named = await mesh.store(user=BOB)
    others = [await mesh.store(hint=False, user=ALICE) for _ in range(40)]
    for row in others:
        await mesh.change(row.intent_id, hint=False)
    await mesh.change(named.intent_id)
    # Before there is a replica, or all of it would come into its memory as it is stamped.
    async with mesh.pool.acquire() as conn, conn.transaction():
        await events.stamp_feed(conn, 10_000)
    replayed = REPLAYED_EVENTS.labels("WatchIntents")
    before = replayed._value.get()
    async with mesh.replica(max_message_events=1) as stub:
        chosen = {"user": "0x" + BOB.hex()} if by_user else {"intent_ids": [id_of(named), "0x" + "ee" * 32]}
        wanted = WatchIntentsRequest(**chosen, from_start=True)
        reader = await Reader(stub.WatchIntents(wanted)).until(lambda r: len(r.events) == 2)
        assert replayed._value.get() - before <= 2
        # What comes then comes as to everybody.
        await mesh.change(others[0].intent_id)
        await mesh.change(named.intent_id)
        await reader.until(lambda r: len(r.events) == 3)
        resumed = Reader(stub.WatchIntents(WatchIntentsRequest(**chosen, resume_token=reader.token)))
        await mesh.change(named.intent_id)
        await resumed.until(lambda r: len(r.events) == 1)
        reader.call.cancel()
        resumed.call.cancel()
    assert reader.seen == [(id_of(named), sequence) for sequence in (1, 2, 3)]
    assert resumed.seen == [(id_of(named), 4)]


@pytest.mark.parametrize("most", [1, 1_000])
async def test_watch_of_a_user__with_few_intents_or_many__tells_what_the_whole_feed_tells_of_them(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(feed, "MOST_READ_BY_NAME", most)
    rows = [await mesh.store(hint=False, user=user) for user in (ALICE, BOB, BOB, ALICE, BOB)]
    for row in (*rows, *reversed(rows)):
        await mesh.change(row.intent_id, hint=False)
    async with mesh.pool.acquire() as conn, conn.transaction():
        await events.stamp_feed(conn, 10_000)
    async with mesh.replica(max_message_events=2) as stub:
        everything = await Reader(stub.WatchIntents(FROM_START)).until(lambda r: len(r.events) == 15)
        wanted = WatchIntentsRequest(user="0x" + BOB.hex(), from_start=True)
        reader = await Reader(stub.WatchIntents(wanted)).until(lambda r: len(r.events) == 9)
        # An intent that did not exist when the watch began.
        young = await mesh.store(user=BOB)
        await reader.until(lambda r: len(r.events) == 10)
        for held in (everything, reader):
            held.call.cancel()
    bobs = {id_of(row) for row in rows if row.user == BOB}
    assert reader.seen == [*(seen for seen in everything.seen if seen[0] in bobs), (id_of(young), 1)]


async def test_watch_of_a_user__with_no_intent_yet__stands_and_tells_of_the_first(mesh: Mesh) -> None:
    await mesh.store(hint=False, user=ALICE)
    async with mesh.pool.acquire() as conn, conn.transaction():
        await events.stamp_feed(conn, 10_000)
    async with mesh.replica() as stub:
        reader = Reader(stub.WatchIntents(WatchIntentsRequest(user="0x" + BOB.hex(), from_start=True)))
        await reader.read()
        row = await mesh.store(user=BOB)
        await reader.until(lambda r: bool(r.events))
        reader.call.cancel()
    assert reader.seen == [(id_of(row), 1)]


async def test_watch_named__more_intents_than_a_server_remembers__is_refused_and_told_to_wait(mesh: Mesh) -> None:
    ids = [f"0x{number:064x}" for number in range(600)]
    async with mesh.replica(max_watched_ids=1_000) as stub:
        first = Reader(stub.WatchIntents(WatchIntentsRequest(intent_ids=ids)))
        assert await first.read()
        failure = await Reader(stub.WatchIntents(WatchIntentsRequest(intent_ids=ids))).failure()
        first.call.cancel()
    assert failure.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert failure.retry_after is not None


async def test_watch_all__too_many_streams__is_refused_and_told_to_wait(mesh: Mesh) -> None:
    async with mesh.replica(max_streams=1) as stub:
        first = Reader(stub.WatchIntents(FROM_START))
        assert await first.read()
        failure = await Reader(stub.WatchIntents(FROM_START)).failure()
        first.call.cancel()
    assert failure.reason == ErrorReason.ERROR_REASON_OVERLOADED
    assert failure.retry_after is not None


async def test_watch_all__hints_lost__arrives_by_the_polls(mesh: Mesh) -> None:
    async with mesh.replica(poll_seconds=0.1, stamp_seconds=0.1, valkey_url="redis://127.0.0.1:1/0") as stub:
        reader = Reader(stub.WatchIntents(FROM_START))
        row = await mesh.store(hint=False)
        await mesh.change(row.intent_id, hint=False)
        await reader.until(lambda r: len(r.events) == 2)
        reader.call.cancel()


async def test_watch_all__hints__bring_news_long_before_the_polls(mesh: Mesh) -> None:
    slow = {"poll_seconds": NEVER_SECONDS, "stamp_seconds": NEVER_SECONDS}
    row = await mesh.store()
    # The second replica hears of the first one's stamping, or the first one of the second one's.
    async with mesh.replica(**slow) as one, mesh.replica(**slow) as other:
        readers = [Reader(stub.WatchIntents(FROM_START)) for stub in (one, other)]
        for reader in readers:
            assert await reader.read()
        for _ in range(5):
            await mesh.change(row.intent_id)
        for reader in readers:
            await reader.until(lambda r: len(r.events) == 6)
            reader.call.cancel()
