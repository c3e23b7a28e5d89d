"""How long an intent holds one of the executor's slots."""

from collections.abc import AsyncIterator

from intentmesh.domain.convert import order_from_proto
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage

from tests.integration.executor.behaviours import silent
from tests.integration.executor.world import SOLVER, Behaviour, ScriptedSolver, World, make_order, submit, until, update


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
