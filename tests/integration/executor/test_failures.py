import asyncio
import time

from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation
from intentmesh.v1.solver_registry_service_pb2 import OutcomeCause, OutcomeKind

from tests.integration.executor.behaviours import (
    delivering,
    failing,
    opening_only,
    opening_then_silent,
    silent,
)
from tests.integration.executor.world import (
    RIVAL,
    SOLVER,
    World,
    eventually,
    history,
    make_order,
    submit,
    until,
)

COMPLETED = IntentStatus.INTENT_STATUS_COMPLETED


async def test_execution__stream_cut_twice__attaches_again_under_the_same_award(world: World) -> None:
    solver = await world.add_solver(SOLVER, delivering(world, calls=3))
    solver.cuts = 2
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == COMPLETED
    assert [request.award_number for request in solver.requests] == [1, 1, 1]
    assert (row.award_number, row.attempts) == (1, 0)


async def test_execution__solver_fails__next_solver_completes(world: World) -> None:
    first = await world.add_solver(SOLVER, failing())
    await world.add_solver(RIVAL, delivering(world))
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
        await eventually(lambda: len(world.registry.outcomes) == 2)
    assert (row.state.status, row.award_number) == (COMPLETED, 2)
    assert list(world.registry.requests[1].excluded_solver_ids) == [first.solver_id]
    outcome = world.registry.outcomes[0]
    assert (outcome.kind, outcome.cause) == (OutcomeKind.OUTCOME_KIND_FAILED, OutcomeCause.OUTCOME_CAUSE_SOLVER)


async def test_execution__solver_opens_and_releases__next_one_gets_no_signature(world: World) -> None:
    await world.add_solver(SOLVER, opening_only(world))
    second = await world.add_solver(RIVAL, delivering(world))
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == COMPLETED
    assert [request.already_opened for request in world.registry.requests] == [False, True]
    (request,) = second.requests
    assert (request.already_opened, request.signature) == (True, b"")


async def test_execution__solver_silent_past_its_promise__next_solver_completes(world: World) -> None:
    first = await world.add_solver(SOLVER, silent())
    first.promise_seconds = 1.0
    await world.add_solver(RIVAL, delivering(world))
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert (row.state.status, row.award_number) == (COMPLETED, 2)


async def test_execution__solver_unreachable__five_attempts_then_the_next(world: World) -> None:
    first = await world.add_solver(SOLVER, silent())
    first.target = "127.0.0.1:1"
    await world.add_solver(RIVAL, delivering(world))
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert (row.state.status, row.award_number) == (COMPLETED, 2)
    retries = [event.retry.attempt for event in await history(world.pool, intent_id) if event.HasField("retry")]
    assert retries == [1, 2, 3, 4]


async def test_execution__every_award_fails__is_exhausted_and_failed_only_when_final(world: World) -> None:
    await world.add_solver(SOLVER, failing())
    async with world.executor(max_awards=2):
        order = make_order(world.network, seconds=6)
        intent_id = await submit(world.pool, order, world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_EXHAUSTED)
        assert row.state.status == IntentStatus.INTENT_STATUS_EXECUTING
        assert row.state.obligation == Obligation.OBLIGATION_OPENABLE
        await asyncio.sleep(order.fill_deadline - time.time() + 1.2)
        row = await until(world.pool, intent_id, lambda _: True)
        assert not row.state.is_terminal, "no block is dated past the deadline yet"
        await world.hands.mine()
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == IntentStatus.INTENT_STATUS_FAILED
    assert row.reason == ErrorReason.ERROR_REASON_ATTEMPTS_EXHAUSTED


async def test_execution__nobody_quotes__says_why_and_expires(world: World) -> None:
    solver = await world.add_solver(SOLVER, delivering(world))
    solver.willing = False
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network, seconds=3), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert (row.state.status, row.reason) == (
        IntentStatus.INTENT_STATUS_EXPIRED,
        ErrorReason.ERROR_REASON_DEADLINE_PASSED,
    )
    waits = [
        event
        for event in await history(world.pool, intent_id)
        if event.type == IntentEventType.INTENT_EVENT_TYPE_WAITING
    ]
    assert len(waits) >= 2
    assert all(event.reason == ErrorReason.ERROR_REASON_NO_QUOTES for event in waits)
    assert "No solver quoted" in waits[0].message
    assert "next auction in" in waits[0].message
    assert [event.auction.round for event in waits] == list(range(1, len(waits) + 1))
    assert solver.requests == []


async def test_execution__somebody_else_fills__counts(world: World) -> None:
    await world.add_solver(SOLVER, opening_then_silent(world))
    async with world.executor():
        order = make_order(world.network, bridge=True)
        intent_id = await submit(world.pool, order, world.network)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_OPENED)
        await world.hands.fill(order, RIVAL)
        row = await until(world.pool, intent_id, lambda row: row.state.is_terminal)
        await eventually(lambda: len(world.registry.outcomes) == 1)
    assert (row.state.status, row.state.obligation) == (COMPLETED, Obligation.OBLIGATION_UNSETTLED)
    assert world.registry.outcomes[0].cause == OutcomeCause.OUTCOME_CAUSE_CHAIN


async def test_execution__filled_after_the_deadline__does_not_count_and_is_refunded(world: World) -> None:
    await world.add_solver(SOLVER, opening_then_silent(world))
    async with world.executor():
        order = make_order(world.network, bridge=True, seconds=4, expires_after=2)
        intent_id = await submit(world.pool, order, world.network)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_OPENED)
        await asyncio.sleep(order.fill_deadline - time.time() + 1.2)
        await world.hands.fill(order, RIVAL, deadline=order.fill_deadline + 1000)
        row = await until(world.pool, intent_id, lambda row: row.state.is_terminal)
        assert (row.state.status, row.state.obligation) == (
            IntentStatus.INTENT_STATUS_EXPIRED,
            Obligation.OBLIGATION_ESCROWED,
        )
        late = [
            event
            for event in await history(world.pool, intent_id)
            if event.type == IntentEventType.INTENT_EVENT_TYPE_LATE_FILL
        ]
        assert len(late) == 1
        await asyncio.sleep(order.expires - time.time() + 1.2)
        await world.hands.mine()
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.phase == IntentPhase.INTENT_PHASE_REFUNDED
