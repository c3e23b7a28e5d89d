"""Intents: stored once, changed in one way only, read in stable pages."""

import asyncio
from dataclasses import replace

import pytest
from intentmesh.domain.lifecycle import IllegalTransition, accepted
from intentmesh.domain.types import Address, Bytes32, IntentId
from intentmesh.store import admission, events, executions, intents
from intentmesh.store.admission import NonceKey, RequestKey
from intentmesh.store.intents import IntentFilter, PageKey, RequestIdUse, StaleRow
from intentmesh.store.pool import Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

from tests.fixtures.intents import (
    ALICE,
    BOB,
    COMPLETED,
    commit_change,
    insert,
    new_intent,
    store_intent,
    transition,
    waiting,
)


async def test_insert_intents__one_id_concurrently__is_stored_once_with_event_and_work(pool: Pool) -> None:
    new = new_intent(permit2_nonce=7)

    async def store() -> set[IntentId]:
        async with pool.acquire() as conn:
            return await insert(conn, new)

    results = await asyncio.gather(*(store() for _ in range(12)))
    assert sorted(results, key=len) == [set()] * 11 + [{new.intent_id}]
    async with pool.acquire() as conn:
        assert [e.sequence for e in await events.read_events(conn, new.intent_id, 0, 10)] == [1]
        work = await executions.get_execution(conn, new.intent_id)
        assert work is not None
        assert work.due_at == new.created_at


async def test_insert_intents__groups_with_common_intents_concurrently__store_each_once(pool: Pool) -> None:
    news = [new_intent(permit2_nonce=number) for number in range(40)]

    async def store(start: int) -> set[IntentId]:
        # Rotated, so that without an order of its own each group would lock the intents in another one.
        async with pool.acquire() as conn:
            return await insert(conn, *news[start:], *news[:start])

    results = await asyncio.gather(*(store(5 * turn) for turn in range(8)))
    assert sum(map(len, results)) == 40
    assert set().union(*results) == {new.intent_id for new in news}


async def test_insert_intents__reads_back_what_was_stored(pool: Pool) -> None:
    inputs = ((Address(b"\x0a" * 20), 2**256 - 1), (Address(b"\x0b" * 20), 1))
    new = new_intent(
        permit2_nonce=2**256 - 1, source="user:x", ip="10.0.0.1", user_agent='a "quoted" {1}', inputs=inputs
    )
    async with pool.acquire() as conn:
        assert await insert(conn, new) == {new.intent_id}
        row = await intents.get_intent(conn, new.intent_id)
        open_now = (await admission.open_of_users(conn, [new.user]))[new.user]
    assert row is not None
    for name in ("intent_id", "user", "type", "order_payload", "input_settler", "origin_chain_id", "signature"):
        assert getattr(row, name) == getattr(new, name)
    assert row.state == accepted()
    assert (row.permit2_nonce, row.sequence, row.source) == (2**256 - 1, 1, "user:x")
    assert open_now.reserved == {(new.origin_chain_id, token, True): amount for token, amount in inputs}
    pb = intents.to_proto(row)
    assert pb.order.nonce == "7"
    assert pb.metadata.ip == "10.0.0.1"
    assert pb.metadata.user_agent == new.user_agent
    assert pb.execution.total_cost == "0"


async def test_insert_intents__nonce_held_concurrently__is_stored_once_and_the_holder_is_known(pool: Pool) -> None:
    async def store() -> set[IntentId]:
        async with pool.acquire() as conn:
            return await insert(conn, new_intent(permit2_nonce=7))

    results = await asyncio.gather(*(store() for _ in range(8)))
    (holder,) = set().union(*results)
    key = NonceKey(new_intent().origin_chain_id, ALICE, 7)
    async with pool.acquire() as conn:
        assert await admission.nonce_holders(conn, [key]) == {key: holder}


async def test_insert_intents__nonce_of_another_user_chain_or_ended_intent__is_free(pool: Pool) -> None:
    first = await store_intent(pool, permit2_nonce=7)
    await store_intent(pool, permit2_nonce=7, user=BOB)
    await store_intent(pool, permit2_nonce=7, origin_chain_id=31338)
    cancelled = transition(
        IntentStatus.INTENT_STATUS_CANCELLED, IntentPhase.INTENT_PHASE_ACCEPTED, Obligation.OBLIGATION_NONE
    )
    await commit_change(pool, first.intent_id, cancelled)
    await store_intent(pool, permit2_nonce=7)


async def test_insert_intents__nonce_of_a_completed_intent__is_refused(pool: Pool) -> None:
    first = await store_intent(pool, permit2_nonce=7)
    await commit_change(pool, first.intent_id, COMPLETED)
    async with pool.acquire() as conn:
        assert await insert(conn, new_intent(permit2_nonce=7)) == set()


async def test_apply__concurrently__sequences_are_dense_and_events_agree_with_rows(pool: Pool) -> None:
    row = await store_intent(pool)
    await asyncio.gather(*(commit_change(pool, row.intent_id) for _ in range(30)))
    async with pool.acquire() as conn:
        stored = await events.read_events(conn, row.intent_id, 0, 100)
        newest = await intents.get_intent(conn, row.intent_id)
        ids = await conn.fetch("SELECT sequence FROM intent_events ORDER BY event_id")
    assert [e.sequence for e in stored] == list(range(1, 32))
    assert [IntentEvent.FromString(e.payload).sequence for e in stored] == list(range(1, 32))
    assert newest is not None
    assert newest.sequence == 31
    assert [r["sequence"] for r in ids] == list(range(1, 32))


async def test_apply__stale_row__changes_nothing(pool: Pool) -> None:
    old = await store_intent(pool)
    await commit_change(pool, old.intent_id)
    async with pool.acquire() as conn:
        with pytest.raises(StaleRow):
            await intents.apply(conn, old, waiting(old.state))
        assert len(await events.read_events(conn, old.intent_id, 0, 10)) == 2


async def test_apply__rolled_back__leaves_neither_row_nor_event(pool: Pool) -> None:
    row = await store_intent(pool)
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        await intents.apply(conn, row, COMPLETED)
        await transaction.rollback()
        assert await intents.get_intent(conn, row.intent_id) == row
        assert len(await events.read_events(conn, row.intent_id, 0, 10)) == 1


async def test_apply__columns_left_out__stay(pool: Pool) -> None:
    row = await store_intent(pool)
    named = replace(waiting(row.state), solver_id="s1", solver=BOB, award_number=2, attempts=1)
    await commit_change(pool, row.intent_id, named)
    await commit_change(pool, row.intent_id)
    async with pool.acquire() as conn:
        newest = await intents.get_intent(conn, row.intent_id)
    assert newest is not None
    assert (newest.solver_id, newest.solver, newest.award_number, newest.attempts) == ("s1", BOB, 2, 1)


async def test_apply__terminal_status__never_changes(pool: Pool) -> None:
    row = await store_intent(pool)
    await commit_change(pool, row.intent_id, COMPLETED)
    with pytest.raises(IllegalTransition):
        await commit_change(
            pool,
            row.intent_id,
            transition(IntentStatus.INTENT_STATUS_FAILED, row.state.phase, Obligation.OBLIGATION_NONE),
        )


async def test_list_intents__pages_under_inserts__show_each_once(pool: Pool) -> None:
    old = [await store_intent(pool) for _ in range(7)]
    await store_intent(pool, user=BOB)
    seen: list[IntentRow] = []
    after: PageKey | None = None
    while True:
        async with pool.acquire() as conn:
            page = await intents.list_intents(conn, IntentFilter(user=ALICE), after, 3)
        if not page:
            break
        seen += page
        after = PageKey(page[-1].created_at, page[-1].intent_id)
        await store_intent(pool)
    assert [row.intent_id for row in seen] == [row.intent_id for row in reversed(old)]


async def test_list_intents__filters__all_hold(pool: Pool) -> None:
    row = await store_intent(pool)
    done = await store_intent(pool)
    await commit_change(pool, done.intent_id, COMPLETED)
    async with pool.acquire() as conn:
        pending = await intents.list_intents(conn, IntentFilter(statuses=(IntentStatus.INTENT_STATUS_PENDING,)))
        early = await intents.list_intents(conn, IntentFilter(created_to=row.created_at))
        assert (await admission.open_of_users(conn, [ALICE]))[ALICE].count == 1
    assert [r.intent_id for r in pending] == [row.intent_id]
    assert early == []


async def test_claim_request_ids__used_before__tells_for_what(pool: Pool) -> None:
    first, other = IntentId(b"\x01" * 32), IntentId(b"\x02" * 32)
    body = Bytes32(b"\x0b" * 32)
    ours, theirs = RequestKey("user:a", "r"), RequestKey("user:b", "r")
    async with pool.acquire() as conn, conn.transaction():
        assert await admission.claim_request_ids(conn, {ours: RequestIdUse(body, first)}) == {ours}
        assert await admission.claim_request_ids(conn, {ours: RequestIdUse(body, other)}) == set()
        assert await admission.get_request_ids(conn, [ours]) == {ours: RequestIdUse(body, first)}
        assert await admission.claim_request_ids(conn, {theirs: RequestIdUse(body, other)}) == {theirs}
