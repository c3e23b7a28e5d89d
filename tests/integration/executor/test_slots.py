"""How long an intent holds one of the executor's slots."""

from collections.abc import AsyncIterator

from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.store import executions
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus
from intentmesh.v1.solver_registry_service_pb2 import OutcomeKind
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage
from prometheus_client import REGISTRY

from tests.integration.executor.behaviours import delivering, silent
from tests.integration.executor.world import (
    RIVAL,
    SOLVER,
    Behaviour,
    ScriptedSolver,
    World,
    eventually,
    make_order,
    submit,
    until,
    update,
)

COMPLETED = IntentStatus.INTENT_STATUS_COMPLETED


def filling_then_silent(world: World) -> Behaviour:
    """Opens, fills, and keeps the stream open, as a solver does that waits for its payment."""

    async def behave(solver: ScriptedSolver, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        order = order_from_proto(request.order)
        await world.hands.open_for(order, request.signature, solver.account)
        await world.hands.fill(order, solver.account)
        yield update(ExecuteStage.EXECUTE_STAGE_FILLED)
        async for more in silent()(solver, request):
            yield more

    return behave


async def test_slot__fill_is_confirmed_and_far_from_final__is_free_for_another_intent(world: World) -> None:
    world = world.with_network(max_reorg_depth=500)
    await world.add_solver(SOLVER, filling_then_silent(world))
    async with world.executor(concurrency=1):
        for _ in range(2):
            intent_id = await submit(world.pool, make_order(world.network), world.network)
            row = await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_FILLED)
    assert row.state.status == IntentStatus.INTENT_STATUS_EXECUTING


async def test_slots__as_many_silent_awards_as_there_are_and_more__another_solvers_order_is_executed(
    world: World,
) -> None:
    mute = await world.add_solver(SOLVER, silent())
    mute.promise_seconds = 3_000.0
    rival = await world.add_solver(RIVAL, delivering(world))
    async with world.executor(concurrency=4):
        await submit_many(world, 12)
        await eventually(lambda: len(asked(mute)) == 12)
        await eventually(lambda: held("waiting") > 4)
        mute.willing = False
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.status == COMPLETED)
    assert (row.award_number, asked(rival)) == (1, {format_intent_id(intent_id)})


async def test_slots__more_silent_awards_than_may_wait__all_are_called_again_and_no_other_solver_is_hung_up_on(
    world: World,
) -> None:
    rival = await world.add_solver(RIVAL, silent())
    rival.promise_seconds = 3_000.0
    async with world.executor(concurrency=2, max_waiting=3):
        (kept,) = await submit_many(world, 1)
        await eventually(lambda: asked(rival) == {format_intent_id(kept)})
        rival.willing = False
        mute = await world.add_solver(SOLVER, silent())
        mute.promise_seconds = 3_000.0
        crowd = await submit_many(world, 8)
        # Each rests and is taken up again, under the award that it has.
        await eventually(lambda: all(calls(mute, intent_id) >= 3 for intent_id in crowd))
        assert len(mute.jobs) == len(crowd)
        assert calls(rival, kept) == 1
        mute.willing, rival.willing, rival.behaviour = False, True, delivering(world)
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.state.status == COMPLETED)
    assert [(await world.awards(one))[-1].award_number for one in crowd] == [1] * len(crowd)


async def test_slots__place_lost_while_the_solver_works__its_fill_completes_the_order_under_the_same_award(
    world: World,
) -> None:
    solver = await world.add_solver(SOLVER, delivering(world, pause_seconds=1.0))
    async with world.executor(concurrency=4, max_waiting=1):
        ids = await submit_many(world, 4, seconds=60)
        for intent_id in ids:
            row = await until(world.pool, intent_id, lambda row: row.state.is_over)
            assert (row.state.status, row.award_number) == (COMPLETED, 1)
    assert len(solver.jobs) == len(ids)
    assert all(outcome.kind == OutcomeKind.OUTCOME_KIND_SETTLED for outcome in world.registry.outcomes)


async def test_slots__drained_with_more_waiting_than_are_worked_on_at_once__all_claims_are_given_back(
    world: World,
) -> None:
    mute = await world.add_solver(SOLVER, silent())
    mute.promise_seconds = 3_000.0
    async with world.executor(concurrency=2, lease_seconds=600):
        ids = await submit_many(world, 9)
        await eventually(lambda: len(asked(mute)) == len(ids))
    async with world.pool.acquire() as conn:
        left = [await executions.get_execution(conn, intent_id) for intent_id in ids]
    assert [one is not None and one.claimed_by for one in left] == [None] * len(ids)


async def submit_many(world: World, count: int, seconds: float = 3_600) -> list[IntentId]:
    return [await submit(world.pool, make_order(world.network, seconds=seconds), world.network) for _ in range(count)]


def asked(solver: ScriptedSolver) -> set[str]:
    return {request.intent_id for request in solver.requests}


def calls(solver: ScriptedSolver, intent_id: IntentId) -> int:
    return sum(request.intent_id == format_intent_id(intent_id) for request in solver.requests)


def held(state: str) -> float:
    return REGISTRY.get_sample_value("executor_intents_held", {"state": state}) or 0.0
