"""Claims: disjoint, leased, fenced; and the executor's findings."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from intentmesh.domain.types import Address, Bytes32
from intentmesh.store import executions, intents
from intentmesh.store.executions import Award, Claim, ClaimLost
from intentmesh.store.pool import Pool
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.auction_pb2 import Quote
from intentmesh.v1.intent_pb2 import ChainTransaction, TransactionKind, TransactionStatus

from tests.fixtures.intents import BOB, store_intent

LEASE_SECONDS = 30.0
# Over as soon as it is given: the next transaction's now() is later.
NO_LEASE_SECONDS = 0.0


async def claim_one(pool: Pool, worker: str, lease_seconds: float = LEASE_SECONDS) -> Claim:
    async with pool.acquire() as conn, conn.transaction():
        (claim,) = await executions.claim_due(conn, worker, 1, lease_seconds)
    return claim


async def test_claim_due__by_two_workers_at_once__is_disjoint_and_nobody_waits(pool: Pool) -> None:
    stored = {(await store_intent(pool)).intent_id for _ in range(10)}
    async with pool.acquire() as first, pool.acquire() as second, first.transaction(), second.transaction():
        mine = await executions.claim_due(first, "first", 4, LEASE_SECONDS)
        # The first worker's transaction is still open: this must neither wait for it nor see the same work.
        async with asyncio.timeout(2):
            yours = await executions.claim_due(second, "second", 100, LEASE_SECONDS)
    assert len(mine) == 4
    assert len(yours) == 6
    assert {c.intent_id for c in mine} | {c.intent_id for c in yours} == stored


async def test_claim_due__lease_run_out__goes_to_another_with_a_higher_fence(pool: Pool) -> None:
    await store_intent(pool)
    old = await claim_one(pool, "old", NO_LEASE_SECONDS)
    new = await claim_one(pool, "new")
    assert new.fence > old.fence
    async with pool.acquire() as conn, conn.transaction():
        assert await executions.claim_due(conn, "third", 10, LEASE_SECONDS) == []


async def test_old_fence__on_every_write__changes_nothing(pool: Pool) -> None:
    row = await store_intent(pool)
    old = await claim_one(pool, "old", NO_LEASE_SECONDS)
    new = await claim_one(pool, "new")
    later = datetime.now(UTC) + timedelta(hours=1)
    async with pool.acquire() as conn:
        before = await executions.get_execution(conn, row.intent_id)
        with pytest.raises(ClaimLost):
            await executions.lock_claimed(conn, old)
        with pytest.raises(ClaimLost):
            await executions.release(conn, old, later)
        with pytest.raises(ClaimLost):
            await executions.finish(conn, old)
        with pytest.raises(ClaimLost):
            await executions.update_execution(conn, old, rounds=9)
        assert await executions.renew(conn, [old], LEASE_SECONDS) == []
        after = await executions.get_execution(conn, row.intent_id)
        assert await intents.get_intent(conn, row.intent_id) == row
        assert await executions.renew(conn, [old, new], LEASE_SECONDS) == [new]
    assert before is not None
    assert after is not None
    assert (after.fence, after.claimed_by, after.due_at, after.rounds) == (new.fence, "new", before.due_at, 0)


async def test_lock_claimed__while_another_claims__one_of_them_loses(pool: Pool) -> None:
    await store_intent(pool)
    old = await claim_one(pool, "old", NO_LEASE_SECONDS)
    async with pool.acquire() as conn, conn.transaction():
        await executions.lock_claimed(conn, old)
        # What a fence guards is held: nobody can take it in the middle of the holder's transaction.
        async with pool.acquire() as other, other.transaction():
            assert await executions.claim_due(other, "new", 1, LEASE_SECONDS) == []
    assert (await claim_one(pool, "new")).fence > old.fence


async def test_release__due_later__is_not_claimed_before(pool: Pool) -> None:
    await store_intent(pool)
    claim = await claim_one(pool, "w")
    async with pool.acquire() as conn, conn.transaction():
        await executions.release(conn, claim, datetime.now(UTC) + timedelta(hours=1))
        with pytest.raises(ClaimLost):
            await executions.lock_claimed(conn, claim)
    async with pool.acquire() as conn, conn.transaction():
        assert await executions.claim_due(conn, "w", 1, LEASE_SECONDS) == []


async def test_wake__waiting_work__is_due_at_once(pool: Pool) -> None:
    row = await store_intent(pool)
    claim = await claim_one(pool, "w")
    async with pool.acquire() as conn:
        await executions.release(conn, claim, datetime.now(UTC) + timedelta(hours=1))
        assert await executions.wake(conn, row.intent_id)
    assert (await claim_one(pool, "w")).fence == claim.fence + 1


@pytest.mark.parametrize("ends", ["release", "finish"])
async def test_wake__while_claimed__is_not_lost_when_the_worker_lets_go(pool: Pool, ends: str) -> None:
    row = await store_intent(pool)
    claim = await claim_one(pool, "w")
    async with pool.acquire() as conn:
        await executions.wake(conn, row.intent_id)
        if ends == "release":
            await executions.release(conn, claim, datetime.now(UTC) + timedelta(hours=1))
        else:
            await executions.finish(conn, claim)
    assert (await claim_one(pool, "w")).intent_id == row.intent_id


async def test_finish__work__is_never_due_again(pool: Pool) -> None:
    row = await store_intent(pool)
    claim = await claim_one(pool, "w")
    async with pool.acquire() as conn:
        await executions.finish(conn, claim)
        work = await executions.get_execution(conn, row.intent_id)
        assert work is not None
        assert work.due_at is None
        assert await executions.list_executions(conn) == []


async def test_update_execution__parts__keeps_the_rest(pool: Pool) -> None:
    row = await store_intent(pool)
    claim = await claim_one(pool, "w")
    async with pool.acquire() as conn:
        await executions.update_execution(conn, claim, rounds=3, state={"excluded": ["s1"]})
        await executions.update_execution(conn, claim, attempts=17)
        work = await executions.get_execution(conn, row.intent_id)
    assert work is not None
    assert (work.rounds, work.attempts, work.state) == (3, 17, {"excluded": ["s1"]})


async def test_list_executions__pages__longest_waiting_first(pool: Pool) -> None:
    now = datetime.now(UTC)
    rows = [await store_intent(pool, created_at=now - timedelta(seconds=s)) for s in (1, 5, 3)]
    async with pool.acquire() as conn:
        first = await executions.list_executions(conn, None, 2)
        assert first[-1].due_at is not None
        key = executions.ExecutionKey(first[-1].due_at, first[-1].intent_id)
        rest = await executions.list_executions(conn, key, 2)
    assert [e.intent_id for e in first + rest] == [rows[i].intent_id for i in (1, 2, 0)]


async def test_awards_and_attestations__stored__are_read_back_in_order(pool: Pool) -> None:
    row = await store_intent(pool)
    low, high, output = Address(b"\x01" * 20), Address(b"\xf1" * 20), Bytes32(b"\x05" * 32)
    async with pool.acquire() as conn:
        for number in (2, 1):
            award = Award(
                row.intent_id, number, f"a:{number}", "s1", BOB, Quote(quote_id=str(number)), "STANDING", bytes(32)
            )
            await executions.add_award(conn, award)
        await executions.set_award_state(conn, row.intent_id, 1, "RELEASED")
        for attester, time in ((high, 1), (low, 1), (low, 2)):
            await executions.save_attestation(conn, row.intent_id, output, attester, FillAttestation(timestamp=time))
        awards = await executions.list_awards(conn, row.intent_id)
        attestations = await executions.list_attestations(conn, row.intent_id)
    assert [(a.award_number, a.quote.quote_id, a.state) for a in awards] == [(1, "1", "RELEASED"), (2, "2", "STANDING")]
    assert [(a.attester, a.attestation.timestamp) for a in attestations] == [(low, 2), (high, 1)]


async def test_upsert_transaction__known_better__replaces_and_sums(pool: Pool) -> None:
    row = await store_intent(pool)
    fill = ChainTransaction(
        hash="0x" + "ab" * 32,
        chain_id=31337,
        kind=TransactionKind.TRANSACTION_KIND_FILL,
        status=TransactionStatus.TRANSACTION_STATUS_PENDING,
    )
    async with pool.acquire() as conn, conn.transaction():
        assert await executions.upsert_transaction(conn, row.intent_id, fill)
        assert not await executions.upsert_transaction(conn, row.intent_id, fill)
        fill.status = TransactionStatus.TRANSACTION_STATUS_INCLUDED
        fill.block_number, fill.gas_used, fill.effective_gas_price = 5, 100, str(2**100)
        fill.sender = "0x" + "bB" * 20
        assert await executions.upsert_transaction(conn, row.intent_id, fill)
        # The same transaction proved something else, too: its gas was spent once.
        fill.kind = TransactionKind.TRANSACTION_KIND_PROVE
        assert await executions.upsert_transaction(conn, row.intent_id, fill)
        stored = await executions.list_transactions(conn, row.intent_id)
        newest = await intents.get_intent(conn, row.intent_id)
    assert [t.block_number for t in stored] == [5, 5]
    assert stored[0].effective_gas_price == str(2**100)
    assert newest is not None
    assert (newest.gas_used, newest.total_cost, newest.sequence) == (100, 100 * 2**100, 1)


async def test_pause__until_resume__stands(pool: Pool) -> None:
    async with pool.acquire() as conn:
        assert await executions.get_pause(conn) is None
        await executions.pause(conn, "trouble", "operator:x")
        await executions.pause(conn, "another", "operator:y")
        standing = await executions.get_pause(conn)
        assert standing is not None
        assert standing.reason == "trouble"
        await executions.resume(conn)
        assert await executions.get_pause(conn) is None
