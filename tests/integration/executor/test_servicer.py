from collections.abc import AsyncIterator
from typing import Any, ClassVar

import asyncpg
import grpc
import pytest
from intentmesh.domain.errors import MeshError
from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.embedded.postgres import Dsn
from intentmesh.executor.servicer import ExecutorServicer
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1 import executor_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import AwardDetail
from intentmesh.v1.executor_service_pb2_grpc import ExecutorServiceStub
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse

from tests.integration.executor.behaviours import delivering, opening_then_silent
from tests.integration.executor.world import (
    INTERNAL_TOKEN,
    SOLVER,
    ScriptedSolver,
    World,
    history,
    make_order,
    submit,
    until,
)

OPERATOR = Principal(PrincipalKind.OPERATOR, "olga")


async def refusal(call: Any) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return mesh_error_from_rpc(caught.value)


async def test_pause__new_work_waits_over_a_restart__resume_lets_it_go(world: World) -> None:
    solver = await world.add_solver(SOLVER, delivering(world))
    async with (
        world.executor() as running,
        open_channel(running.target, principal=OPERATOR, internal_token=INTERNAL_TOKEN) as channel,
    ):
        await ExecutorServiceStub(channel).PauseExecutions(pb.PauseExecutionsRequest(reason="test"))
    async with world.executor() as running:
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        async with open_channel(running.target, principal=OPERATOR, internal_token=INTERNAL_TOKEN) as channel:
            stub = ExecutorServiceStub(channel)
            # Several polls pass.
            for _ in range(10):
                shown = await stub.GetExecution(pb.GetExecutionRequest(intent_id=format_intent_id(intent_id)))
            assert shown.execution.rounds == 0
            assert solver.requests == []
            await stub.ResumeExecutions(pb.ResumeExecutionsRequest())
            await stub.RetryExecution(pb.RetryExecutionRequest(intent_id=format_intent_id(intent_id)))
        row = await until(world.pool, intent_id, lambda row: row.state.is_over)
    assert row.state.status == IntentStatus.INTENT_STATUS_COMPLETED


async def test_steering__by_anonymous__is_refused(world: World) -> None:
    async with world.executor() as running, open_channel(running.target) as channel:
        stub = ExecutorServiceStub(channel)
        refused = [
            await refusal(stub.PauseExecutions(pb.PauseExecutionsRequest(reason="test"))),
            await refusal(stub.ResumeExecutions(pb.ResumeExecutionsRequest())),
            await refusal(stub.RetryExecution(pb.RetryExecutionRequest(intent_id="0x" + "11" * 32))),
        ]
    assert {error.reason for error in refused} == {ErrorReason.ERROR_REASON_UNAUTHENTICATED}


async def test_get_execution__unknown_and_known__not_found_and_shown(world: World) -> None:
    await world.add_solver(SOLVER, opening_then_silent(world))
    async with world.executor() as running, open_channel(running.target) as channel:
        stub = ExecutorServiceStub(channel)
        unknown = await refusal(stub.GetExecution(pb.GetExecutionRequest(intent_id="0x" + "11" * 32)))
        assert unknown.reason == ErrorReason.ERROR_REASON_NOT_FOUND
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.state.phase == IntentPhase.INTENT_PHASE_OPENED)
        shown = await stub.GetExecution(pb.GetExecutionRequest(intent_id=format_intent_id(intent_id)))
    execution = shown.execution
    assert (execution.phase, execution.rounds) == (IntentPhase.INTENT_PHASE_OPENED, 1)
    assert [award.solver_id for award in execution.awards] == [world.registry.solvers[0].solver_id]
    assert execution.claimed_by


async def test_get_execution__when_the_winner_is_told__shows_the_hash_of_its_token(world: World) -> None:
    shown: list[AwardDetail] = []

    async def checking(solver: ScriptedSolver, request: ExecuteRequest) -> AsyncIterator[ExecuteResponse]:
        async with open_channel(world.executors[-1].target) as channel:
            answer = await ExecutorServiceStub(channel).GetExecution(
                pb.GetExecutionRequest(intent_id=request.intent_id)
            )
        shown.extend(answer.execution.awards)
        async for update in delivering(world)(solver, request):
            yield update

    solver = await world.add_solver(SOLVER, checking)
    async with world.executor():
        intent_id = await submit(world.pool, make_order(world.network), world.network)
        await until(world.pool, intent_id, lambda row: row.state.is_over)
    (told,) = {request.award_token for request in solver.requests}
    (award,) = shown
    assert len(told) == 32
    assert award.token_hash == "0x" + keccak(told).hex()
    (event,) = [event for event in await history(world.pool, intent_id) if event.HasField("award")]
    assert event.award.token_hash == award.token_hash


async def test_get_fill_attestations__not_filled__not_proven_with_retry_info(world: World) -> None:
    await world.add_solver(SOLVER, opening_then_silent(world))
    async with world.executor() as running, open_channel(running.target) as channel:
        stub = ExecutorServiceStub(channel)
        for bridge in (True, False):
            intent_id = await submit(world.pool, make_order(world.network, bridge=bridge), world.network)
            request = pb.GetFillAttestationsRequest(intent_id=format_intent_id(intent_id))
            error = await refusal(stub.GetFillAttestations(request))
            assert error.reason == ErrorReason.ERROR_REASON_NOT_PROVEN
            assert error.retry_after is not None


async def test_list_executions__pages__show_each_once(world: World) -> None:
    submitted: list[IntentId] = [
        await submit(world.pool, make_order(world.network, seconds=600), world.network) for _ in range(5)
    ]
    # Work that is taken up changes its place in the order, so none is due yet.
    await world.pool.execute("UPDATE executions SET due_at = due_at + interval '1 hour'")
    async with world.executor() as running, open_channel(running.target) as channel:
        stub = ExecutorServiceStub(channel)
        token, found = "", []
        while True:
            page = await stub.ListExecutions(pb.ListExecutionsRequest(page_size=2, page_token=token))
            found += [execution.intent_id for execution in page.executions]
            token = page.next_page_token
            if not token:
                break
        wrong = await refusal(stub.ListExecutions(pb.ListExecutionsRequest(page_token="x")))
    assert wrong.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
    assert len(found) == len(submitted)
    assert set(found) == {format_intent_id(intent_id) for intent_id in submitted}


class _Counting(asyncpg.Connection):
    """Remembers what it was asked for rows."""

    asked: ClassVar[list[str]] = []

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        self.asked.append(query)
        return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        self.asked.append(query)
        return await super().fetchrow(query, *args, **options)


async def test_list_executions__many__asks_the_store_no_more_than_for_one(world: World, fresh_database: Dsn) -> None:
    async def questions(intents: int) -> int:
        _Counting.asked.clear()
        page = await servicer.ListExecutions(pb.ListExecutionsRequest(page_size=50), None)
        assert len(page.executions) == intents
        return len(_Counting.asked)

    async with asyncpg.create_pool(fresh_database, min_size=1, connection_class=_Counting) as pool:
        servicer = ExecutorServicer(pool, world.network)
        await submit(world.pool, make_order(world.network, seconds=600), world.network)
        for_one = await questions(1)
        for _ in range(9):
            await submit(world.pool, make_order(world.network, seconds=600), world.network)
        assert await questions(10) == for_one
