"""A server that answers with bytes that are no message fails its caller's call, and nothing else of the caller."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from intentmesh.domain.errors import Unavailable
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1.intake_service_pb2 import SubmitIntentsRequest
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceStub
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, QuoteRequest, QuoteResponse
from intentmesh.v1.solver_service_pb2_grpc import SolverServiceStub

NOISE = b"\x0a\xff"
SOUND = ExecuteResponse(update_number=1).SerializeToString()


async def _quote(request: bytes, _context: Any) -> bytes:
    return QuoteResponse(decline_reason="no").SerializeToString() if request else NOISE


async def _execute(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    for answer in (SOUND, NOISE, SOUND):
        yield answer


async def _submit(requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
    async for _ in requests:
        yield NOISE


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    """To a server that answers everything with noise, but for quotes that ask for something."""
    server = grpc.aio.server()
    solver = {
        "Quote": grpc.unary_unary_rpc_method_handler(_quote),
        "Execute": grpc.unary_stream_rpc_method_handler(_execute),
    }
    intake = {"SubmitIntents": grpc.stream_stream_rpc_method_handler(_submit)}
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler("intentmesh.v1.SolverService", solver),
            grpc.method_handlers_generic_handler("intentmesh.v1.IntakeService", intake),
        )
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    await server.stop(None)


async def test_unary__answer_that_is_no_message__fails_the_call(channel: grpc.aio.Channel) -> None:
    stub = SolverServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Quote(QuoteRequest())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert isinstance(mesh_error_from_rpc(caught.value), Unavailable)
    # The next one is heard.
    call = stub.Quote(QuoteRequest(intent_id="one"))
    assert (await call).decline_reason == "no"
    assert await call.code() is grpc.StatusCode.OK


async def test_server_stream__message_that_is_none__fails_the_call_there(channel: grpc.aio.Channel) -> None:
    updates = aiter(SolverServiceStub(channel).Execute(ExecuteRequest()))
    assert (await anext(updates)).update_number == 1
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(updates)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    call = SolverServiceStub(channel).Execute(ExecuteRequest())
    assert (await call.read()).update_number == 1
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    call.cancel()


async def test_both_stream__message_that_is_none__fails_the_call_there(channel: grpc.aio.Channel) -> None:
    call = IntakeServiceStub(channel).SubmitIntents()
    await call.write(SubmitIntentsRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await call.read()
    call.cancel()
