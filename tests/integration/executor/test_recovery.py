import asyncio
import time
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from intentmesh.chain.input_settler import InputSettler, OrderStatus
from intentmesh.chain.permit2 import Permit2
from intentmesh.domain.lifecycle import advance
from intentmesh.domain.types import format_intent_id
from intentmesh.executor.alerts import Alerts
from intentmesh.executor.claims import Claims
from intentmesh.executor.journal import Entry, Journal, Overtaken
from intentmesh.executor.refund import RefundStep
from intentmesh.executor.transitions import Transition
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store import executions, intents
from intentmesh.store.executions import ClaimLost
from intentmesh.store.hints import HintPublisher
from intentmesh.store.intents import Change
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.transactions.lease import SignerLease
from intentmesh.transactions.sender import TransactionSender
from intentmesh.transactions.signers import load_signer
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

from tests.integration.executor.behaviours import delivering, opening_then_silent, silent
from tests.integration.executor.world import (
    ALPHA,
    BETA,
    SOLVER,
    USER,
    World,
    history,
    make_order,
    signed,
    submit,
    until,
)

COMPLETED = IntentStatus.INTENT_STATUS_COMPLETED


async def test_workers__two_processes__every_intent_is_executed_once(world: World) -> None:
    solver = await world.add_solver(SOLVER, delivering(world))
    orders = [make_order(world.network) for _ in range(6)]
    async with world.executor(worker_name="one"), world.executor(worker_name="two"):
        ids = [await submit(world.pool, order, world.network) for order in orders]
        for intent_id in ids:
            row = await until(world.pool, intent_id, lambda row: row.state.is_over)
            assert (row.state.status, row.award_number) == (COMPLETED, 1)
    assert len(solver.jobs) == len(orders)
    assert [len(await world.awards(intent_id)) for intent_id in ids] == [1] * len(orders)


async def test_workers__one_dies_without_a_word__another_takes_over_and_attaches(world: World) -> None:
    solver = await world.add_solver(SOLVER, delivering(world, calls=2))
    async with world.executor(worker_name="doomed", lease_seconds=1.5, grace_seconds=0.1) as doomed:
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.award_number == 1)
        await _wait_for(lambda: len(solver.requests) == 1)
        # As by SIGKILL: nothing is given back.
        for task in asyncio.all_tasks():
            if task.get_name() == f"intent-0x{intent_id.hex()}" or "forever" in task.get_name():
                task.cancel()
        assert doomed.target
        async with world.pool.acquire() as conn:
            execution = await executions.get_execution(conn, intent_id)
        assert execution is not None
        assert (execution.claimed_by, execution.fence) == ("doomed", 1)
        async with world.executor(worker_name="heir"):
            row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert (row.state.status, row.award_number) == (COMPLETED, 1)
    assert len(solver.jobs) == 1
    assert len(solver.requests) >= 2


async def test_workers__drained__claims_are_given_back_at_once(world: World) -> None:
    await world.add_solver(SOLVER, silent())
    async with world.executor(lease_seconds=60):
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.award_number == 1)
    async with world.pool.acquire() as conn:
        execution = await executions.get_execution(conn, intent_id)
    assert execution is not None
    assert execution.claimed_by is None
    assert execution.due_at is not None


async def test_journal__old_fence_or_old_row__writes_nothing(world: World, valkey_url: str) -> None:
    intent_id = await submit(world.pool, make_order(world.network), world.network)
    valkey = open_valkey(valkey_url)
    journal = Journal(world.pool, HintPublisher(valkey), time.time)
    (old,) = await Claims(world.pool, "old", time.time).claim_due(1, 0.01)
    stale = await journal.open(old)
    await asyncio.sleep(0.05)
    (new,) = await Claims(world.pool, "new", time.time).claim_due(1, 60)
    current = await journal.open(new)
    entry = Entry(Transition(advance(stale.state, IntentPhase.INTENT_PHASE_AUCTION), "asked"))
    with pytest.raises(ClaimLost):
        await journal.write(stale, entries=[entry])
    await journal.confirm(current)
    with pytest.raises(ClaimLost):
        await journal.confirm(stale)
    await journal.write(current, entries=[entry])
    with pytest.raises(Overtaken):
        await journal.confirm(current)
    with pytest.raises(Overtaken):
        await journal.write(current, entries=[entry])
    assert [event.sequence for event in await history(world.pool, intent_id)] == [1, 2]
    await valkey.aclose()


async def test_chains_away__deadline_passes__nothing_terminal_until_they_answer(world: World) -> None:
    await world.add_solver(SOLVER, silent())
    blind = world.with_network(rpc_urls=("http://127.0.0.1:9",), rpc_timeout_seconds=0.2)
    async with blind.executor():
        intent_id = await submit(world.pool, make_order(world.network, seconds=3), world.network)
        row = await until(world.pool, intent_id, lambda row: row.reason == ErrorReason.ERROR_REASON_CHAIN_UNAVAILABLE)
        await asyncio.sleep(3.5)
        row = await until(world.pool, intent_id, lambda _: True)
        assert not row.state.is_terminal
    async with world.executor():
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == IntentStatus.INTENT_STATUS_EXPIRED


async def test_chains_away__after_the_award__is_unknown_and_never_terminal(world: World) -> None:
    await world.add_solver(SOLVER, silent())
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network, seconds=4), world.network)
        await until(world.pool, intent_id, lambda row: row.award_number == 1)
    blind = world.with_network(rpc_urls=("http://127.0.0.1:9",), rpc_timeout_seconds=0.2)
    async with blind.executor():
        await asyncio.sleep(6)
        row = await until(world.pool, intent_id, lambda _: True)
    assert (row.state.status, row.state.obligation) == (
        IntentStatus.INTENT_STATUS_EXECUTING,
        Obligation.OBLIGATION_OPENABLE,
    )


async def test_cancellation__after_the_award__cancelled_when_the_nonce_is_gone(world: World) -> None:
    solver = await world.add_solver(SOLVER, silent())
    solver.promise_seconds = 1.0
    async with world.executor():
        order = make_order(world.network)
        intent_id = await submit(world.pool, order, world.network)
        await until(world.pool, intent_id, lambda row: row.award_number == 1)
        await _request_cancellation(world, intent_id)
        await asyncio.sleep(2.0)
        row = await until(world.pool, intent_id, lambda _: True)
        assert row.state.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED
        assert row.award_number == 1, "no new award after a cancellation"
        permit2 = Permit2(world.hands.clients.of(ALPHA))
        data = permit2.encode_invalidate_nonce(order.nonce)
        await world.hands.send(ALPHA, USER.address, permit2.address, data)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == IntentStatus.INTENT_STATUS_CANCELLED
    assert row.reason == ErrorReason.ERROR_REASON_CANCELLED_BY_USER


async def test_reorganisation__fill_taken_back__phase_steps_back_and_completes_later(world: World) -> None:
    deep = world.with_network(max_reorg_depth=20)
    await world.add_solver(SOLVER, opening_then_silent(world))
    async with deep.executor():
        order = make_order(world.network, bridge=True)
        intent_id = await submit(world.pool, order, world.network)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_OPENED)
        before = await world.hands.rpc(BETA, "evm_snapshot")
        await world.hands.fill(order)
        row = await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_FILLED)
        assert not row.state.is_terminal
        await world.hands.rpc(BETA, "evm_revert", before)
        await world.hands.mine(3)
        row = await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_OPENED)
        assert row.state.obligation == Obligation.OBLIGATION_ESCROWED
        assert row.gas_used > 0
        await world.hands.fill(order)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_FILLED)
        await world.hands.mine(21)
        row = await until(world.pool, intent_id, lambda row: row.state.is_terminal)
    assert row.state.status == COMPLETED
    told = await history(world.pool, intent_id)
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))


async def test_refund__another_process_sends_for_the_signer__the_intent_rests_and_is_refunded_later(
    world: World,
) -> None:
    order = make_order(world.network, seconds=2, expires_after=1)
    await world.hands.open_for(order, signed(order, world.network))
    settler = InputSettler(world.hands.clients.of(ALPHA))
    dsn = world.settings.postgres_dsn
    await migrate(dsn, "intentmesh.transactions.migrations", "transactions")
    signer = load_signer("env:EXECUTOR_KEY")
    work: Any = SimpleNamespace(
        text_id=format_intent_id(world.hands.intent_id(order)),
        order=order,
        row=SimpleNamespace(input_settler=settler.address),
    )
    async with AsyncExitStack() as stack:
        pool = await open_pool(dsn, schema="transactions")
        stack.push_async_callback(pool.close)
        other = SignerLease(pool, ALPHA, signer.address)
        stack.push_async_callback(other.release)
        await other.connection()
        sender = TransactionSender(pool, settler.client, signer)
        stack.push_async_callback(sender.close)
        step = RefundStep({ALPHA: sender}, world.hands.clients, Alerts("", 60, time.time), time.time)
        await asyncio.sleep(max(order.expires - time.time(), 0.0) + 1.2)
        await world.hands.mine()
        begun = time.monotonic()
        await step.refund(work)
        # The request ends after a minute; until then others would wait for the place.
        assert time.monotonic() - begun < 40
        assert await settler.order_status(world.hands.intent_id(order)) == OrderStatus.DEPOSITED
        await other.release()
        deadline = time.monotonic() + 60
        while await settler.order_status(world.hands.intent_id(order)) != OrderStatus.REFUNDED:
            assert time.monotonic() < deadline
            await step.refund(work)


async def _request_cancellation(world: World, intent_id) -> None:
    async with world.pool.acquire() as conn, conn.transaction():
        row = await intents.lock_intent(conn, intent_id)
        assert row is not None
        change = Change(
            type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
            state=advance(row.state, IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED),
            message="The user asked to cancel.",
        )
        await intents.apply(conn, row, change)


async def _wait_for(holds) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
