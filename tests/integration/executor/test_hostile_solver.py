"""What a solver says goes into the mesh's own records. Nothing that it can say may stop an order."""

from collections.abc import AsyncIterator

import grpc
import pytest
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentPhase
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage

from tests.integration.executor.test_happy_path import delivering
from tests.integration.executor.world import (
    RIVAL,
    SOLVER,
    ScriptedSolver,
    World,
    eventually,
    history,
    make_order,
    submit,
    until,
)

UNHEARD_OF = 987_654


async def _fails_oddly(_solver: ScriptedSolver, _request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
    yield ExecuteResponse(
        update_number=2**32 - 1,
        stage=ExecuteStage.EXECUTE_STAGE_FAILED,
        message="\x00\x1b[31m" + "x" * 3_000_000,
        reason=UNHEARD_OF,  # type: ignore[arg-type]  # the point: enums are open on the wire
    )


async def _claims_what_is_ours_to_say(_solver: ScriptedSolver, _: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
    yield ExecuteResponse(
        stage=ExecuteStage.EXECUTE_STAGE_RELEASED, reason=ErrorReason.ERROR_REASON_FINALITY_VIOLATED, message="\x00"
    )


async def _refuses_oddly(_solver: ScriptedSolver, _: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
    raise _Refusal
    yield


class _Refusal(grpc.RpcError):
    """The scripted solver's server answers UNKNOWN for it, with its text."""

    def __str__(self) -> str:
        return "\x00 refused"


@pytest.mark.parametrize("behaviour", [_fails_oddly, _claims_what_is_ours_to_say, _refuses_oddly])
async def test_execution__solver_says_what_no_store_takes__order_goes_to_another(world: World, behaviour) -> None:
    await world.add_solver(SOLVER, behaviour)
    await world.add_solver(RIVAL, delivering(world))
    order = make_order(world.network)
    async with world.executor():
        intent_id = await submit(world.pool, order, world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
        await eventually(lambda: len(world.registry.outcomes) == 2)
    assert row.state.phase == IntentPhase.INTENT_PHASE_SETTLED
    known = set(ErrorReason.values())
    for event in await history(world.pool, intent_id):
        assert event.reason in known - {ErrorReason.ERROR_REASON_FINALITY_VIOLATED}
    assert all(outcome.message.isprintable() for outcome in world.registry.outcomes)
