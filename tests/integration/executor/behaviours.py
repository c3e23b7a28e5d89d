"""What scripted solvers do."""

import asyncio
from collections.abc import AsyncIterator

from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.order import Order
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage

from tests.integration.executor.world import Behaviour, ScriptedSolver, World, eventually, update


def delivering(world: World, pause_seconds: float = 0.0, calls: int = 1) -> Behaviour:
    """Opens, fills, proves and is paid; goes on only once it was called so often."""

    async def behave(solver: ScriptedSolver, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        order = order_from_proto(request.order)
        yield update(ExecuteStage.EXECUTE_STAGE_ACCEPTED)
        await asyncio.sleep(pause_seconds)
        await eventually(lambda: len(solver.requests) >= calls)
        if not request.already_opened:
            await world.hands.open_for(order, request.signature, solver.account)
        yield update(ExecuteStage.EXECUTE_STAGE_OPENED)
        await fill_and_settle(world, order, solver)
        yield update(ExecuteStage.EXECUTE_STAGE_SETTLED)

    return behave


async def fill_and_settle(world: World, order: Order, solver: ScriptedSolver) -> None:
    fills = await world.hands.fill(order, solver.account)
    if order.outputs[0].chain_id == order.origin_chain_id:
        await world.hands.prove_here(order, fills, solver.account)
    else:
        proofs = await world.attestations(world.executors[-1].target, world.hands.intent_id(order))
        await world.hands.prove_there(order, proofs, solver.account)
    await world.hands.finalise(order, fills, solver.account)


def opening_only(world: World) -> Behaviour:
    """Opens and then gives the order back."""

    async def behave(solver: ScriptedSolver, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        await world.hands.open_for(order_from_proto(request.order), request.signature, solver.account)
        yield update(ExecuteStage.EXECUTE_STAGE_OPENED)
        yield update(ExecuteStage.EXECUTE_STAGE_RELEASED, "out of funds")

    return behave


def failing() -> Behaviour:
    """Takes the order on and fails without having done anything."""

    async def behave(_solver: ScriptedSolver, _request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        yield update(ExecuteStage.EXECUTE_STAGE_ACCEPTED)
        failed = update(ExecuteStage.EXECUTE_STAGE_FAILED, "cannot")
        failed.reason = ErrorReason.ERROR_REASON_TRANSACTION_REVERTED
        yield failed

    return behave


def silent() -> Behaviour:
    """Takes the order on and is never heard of again."""

    async def behave(_solver: ScriptedSolver, _request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        yield update(ExecuteStage.EXECUTE_STAGE_ACCEPTED)
        await asyncio.Event().wait()

    return behave


def opening_then_silent(world: World) -> Behaviour:
    """Opens and is never heard of again."""

    async def behave(solver: ScriptedSolver, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        if not request.already_opened:
            await world.hands.open_for(order_from_proto(request.order), request.signature, solver.account)
        yield update(ExecuteStage.EXECUTE_STAGE_OPENED)
        await asyncio.Event().wait()

    return behave
