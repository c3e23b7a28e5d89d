"""What a solver says goes into the mesh's own records. Nothing that it can say may stop an order."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import grpc
import pytest
from intentmesh.executor.evidence import Evidence
from intentmesh.executor.gather import Gatherer, Subject
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentPhase
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage
from structlog.testing import capture_logs

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


@pytest.mark.parametrize(
    "stage",
    [ExecuteStage.EXECUTE_STAGE_FAILED, ExecuteStage.EXECUTE_STAGE_RELEASED],
    ids=["failed", "released"],
)
async def test_execution__solver_ends_with_words_no_store_takes__order_goes_to_another(
    world: World, stage: ExecuteStage.ValueType
) -> None:
    async def says_odd_things(_: ScriptedSolver, __: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        yield ExecuteResponse(
            update_number=2**32 - 1,
            stage=stage,
            message="\x00\x1b[31m" + "x" * 3_000_000,
            reason=UNHEARD_OF,  # type: ignore[arg-type]  # the point: enums are open on the wire
        )

    await world.add_solver(SOLVER, says_odd_things)
    await world.add_solver(RIVAL, delivering(world))
    order = make_order(world.network)
    async with world.executor():
        intent_id = await submit(world.pool, order, world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
        await eventually(lambda: len(world.registry.outcomes) == 2)
    assert row.state.phase == IntentPhase.INTENT_PHASE_SETTLED
    assert {event.reason for event in await history(world.pool, intent_id)} <= set(ErrorReason.values())
    words = world.registry.outcomes[0].message
    assert words.startswith("[31mxxx"), "its own words, and not that its time ran out"
    assert words.isprintable()
    assert len(words) < 1_000


async def _says_it_is_the_meshs_bug(_: ScriptedSolver, __: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
    yield ExecuteResponse(
        update_number=1, stage=ExecuteStage.EXECUTE_STAGE_FAILED, reason=ErrorReason.ERROR_REASON_INTERNAL
    )


async def _has_no_such_method(_request: bytes, context: grpc.aio.ServicerContext) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")


@pytest.mark.parametrize("refuses", [False, True], ids=["tells it", "refuses without details"])
async def test_execution__solver_fails_with_the_reason_of_a_bug__is_not_told_as_one_of_the_mesh(
    world: World, refuses: bool
) -> None:
    hostile = await world.add_solver(SOLVER, _says_it_is_the_meshs_bug)
    if refuses:
        methods = {"Execute": grpc.unary_unary_rpc_method_handler(_has_no_such_method)}
        handler = grpc.method_handlers_generic_handler("intentmesh.v1.SolverService", methods)
        hostile.target = await world.serve(lambda server: server.add_generic_rpc_handlers((handler,)))
    await world.add_solver(RIVAL, delivering(world))
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.phase == IntentPhase.INTENT_PHASE_SETTLED
    reasons = {event.reason for event in await history(world.pool, intent_id)}
    assert ErrorReason.ERROR_REASON_INTERNAL not in reasons


async def test_execution__solver_streams_without_pause__is_not_looked_after_any_more_often(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    gather = Gatherer.gather

    async def counting(self: Gatherer, subject: Subject, *, fresh: bool = False) -> Evidence:
        nonlocal looks
        looks += 1
        return await gather(self, subject, fresh=fresh)

    async def chatters(_: ScriptedSolver, __: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        stages = [stage for stage in ExecuteStage.values() if stage < ExecuteStage.EXECUTE_STAGE_SETTLED]
        for number in count():
            yield ExecuteResponse(update_number=number, stage=stages[number % len(stages)])
            await asyncio.sleep(0.001)

    monkeypatch.setattr(Gatherer, "gather", counting)
    chatty = await world.add_solver(SOLVER, chatters)
    chatty.promise_seconds = 3.0
    async with world.executor(chain_poll_seconds=1.0):
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_AWARDED)
        await until(world.pool, intent_id, lambda row: row.state.phase != IntentPhase.INTENT_PHASE_AWARDED)
    # One a second for as long as it is waited for, one for each stage, and those around the auctions.
    assert looks <= 4 + len(ExecuteStage.values()) + 8


async def test_execution__solver_answers_noise__order_goes_to_another(world: World) -> None:
    async def noise(_request: bytes, _context: object) -> AsyncIterator[bytes]:
        yield b"\x0a\xff"

    methods = {"Execute": grpc.unary_stream_rpc_method_handler(noise)}
    handler = grpc.method_handlers_generic_handler("intentmesh.v1.SolverService", methods)
    noisy = ScriptedSolver(SOLVER, delivering(world))
    noisy.target = await world.serve(lambda server: server.add_generic_rpc_handlers((handler,)))
    world.registry.solvers.append(noisy)
    await world.add_solver(RIVAL, delivering(world))
    with capture_logs() as logs:
        async with world.executor():
            intent_id = await submit(world.pool, make_order(world.network), world.network)
            row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.phase == IntentPhase.INTENT_PHASE_SETTLED
    assert "execution_failed" not in {line["event"] for line in logs}
