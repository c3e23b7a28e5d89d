"""Every way a call can go wrong reaches the client as one typed status."""

import asyncio
import contextlib
import errno
import gc
import ssl

import asyncpg
import grpc
import pytest
from asyncpg.exceptions import TargetServerAttributeNotMatched
from google.protobuf.message import Message
from intentmesh.domain import errors as domain
from intentmesh.domain.errors import FieldViolation, InvalidArgument, MeshError
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import STATUS_DETAILS_KEY, STATUS_OF, mesh_error_from_rpc
from intentmesh.v1 import intake_service_pb2, order_pb2, status_service_pb2
from intentmesh.v1 import solver_registry_service_pb2 as registry_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2_grpc import (
    IntakeServiceServicer,
    add_IntakeServiceServicer_to_server,
)
from intentmesh.v1.solver_registry_service_pb2_grpc import (
    SolverRegistryServiceServicer,
    SolverRegistryServiceStub,
    add_SolverRegistryServiceServicer_to_server,
)
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer, StatusServiceStub

from tests.integration.rpc.serving import INTENT_ID, status_server

SECRET = "postgres password hunter2"
ASK = status_service_pb2.GetIntentStatusRequest(intent_id=INTENT_ID)
WATCH = status_service_pb2.WatchIntentRequest(intent_id=INTENT_ID)


class Raising(StatusServiceServicer):
    """Both kinds of handler raise what they are given."""

    def __init__(self, error: BaseException, *, after: int = 0) -> None:
        self.error = error
        self.after = after

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        raise self.error

    async def WatchIntent(self, request, context):  # noqa: N802, ARG002
        for _ in range(self.after):
            yield status_service_pb2.WatchIntentResponse()
        raise self.error

    async def WatchIntents(self, request, context):  # noqa: N802, ARG002
        for _ in range(self.after):
            await context.write(status_service_pb2.WatchIntentsResponse())
        raise self.error


async def unary_error(servicer: StatusServiceServicer, request=ASK) -> grpc.aio.AioRpcError:
    async with status_server(servicer) as running, open_channel(running.target) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await StatusServiceStub(channel).GetIntentStatus(request)
        return caught.value


class Refusing(StatusServiceServicer):
    """Has nothing to tell of."""

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        raise domain.NotFound("there is no such intent")

    async def WatchIntents(self, request, context):  # noqa: N802, ARG002
        await context.write(status_service_pb2.WatchIntentsResponse())
        raise domain.NotFound("there is no such intent")


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("GetIntentStatus", ASK),
        ("GetIntentStatus", status_service_pb2.GetIntentStatusRequest(intent_id="no id")),
        ("WatchIntents", status_service_pb2.WatchIntentsRequest()),
    ],
    ids=["by the handler", "by the rules of the request", "a stream"],
)
async def test_refused_calls__are_over__are_not_left_to_the_garbage_collector(method: str, request_: Message) -> None:
    calls = 50

    async def refuse(stub: StatusServiceStub) -> None:
        call = getattr(stub, method)(request_)
        with contextlib.suppress(grpc.aio.AioRpcError):
            if method == "GetIntentStatus":
                await call
            else:
                _ = [message async for message in call]

    async with status_server(Refusing()) as running, grpc.aio.insecure_channel(running.target) as channel:
        stub = StatusServiceStub(channel)
        await refuse(stub)
        gc.collect()
        gc.disable()
        try:
            for _ in range(calls):
                await refuse(stub)
            left = gc.collect()
        finally:
            gc.enable()
    # What grpc itself leaves of each call, and nothing of ours: with an error's frames there are some seventy objects.
    assert left < 20 * calls


ALL_CLASSES = list(STATUS_OF)


def test_status_table__all_classes_of_the_domain__are_in_it() -> None:
    kinds = {kind for kind in vars(domain).values() if isinstance(kind, type) and issubclass(kind, MeshError)}
    assert kinds - {MeshError} == set(ALL_CLASSES)
    assert len(set(STATUS_OF.values())) == len(ALL_CLASSES)


@pytest.mark.parametrize("kind", ALL_CLASSES)
async def test_mesh_error__unary__round_trips_with_all_details(kind: type[MeshError]) -> None:
    violation = FieldViolation("order.inputs[0].amount", ErrorReason.ERROR_REASON_ZERO_AMOUNT, "must not be zero")
    raised = kind(
        "a sentence",
        reason=ErrorReason.ERROR_REASON_DUPLICATE_NONCE,
        metadata={"intent_id": INTENT_ID},
        violations=[violation],
        retry_after=1.25,
    )
    error = await unary_error(Raising(raised))
    back = mesh_error_from_rpc(error)
    assert error.code() is STATUS_OF[kind]
    assert error.details() == "a sentence"
    assert type(back) is kind
    assert (back.message, back.reason, back.metadata) == (raised.message, raised.reason, raised.metadata)
    assert (back.violations, back.retry_after) == ((violation,), 1.25)


@pytest.mark.parametrize("method", ["WatchIntent", "WatchIntents"])
@pytest.mark.parametrize("after", [0, 2])
async def test_mesh_error__in_a_stream__comes_after_what_was_sent(method: str, after: int) -> None:
    servicer = Raising(domain.OutOfRange("too old"), after=after)
    request = WATCH if method == "WatchIntent" else status_service_pb2.WatchIntentsRequest()
    async with status_server(servicer) as running, open_channel(running.target) as channel:
        call = getattr(StatusServiceStub(channel), method)(request)
        for _ in range(after):
            assert await call.read() is not grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_POSITION_TOO_OLD


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        MeshError(SECRET),
        asyncio.QueueFull(SECRET),
        FileNotFoundError(2, SECRET),
        OSError(SECRET),
    ],
)
async def test_unmapped_exception__unary__tells_a_trace_id_and_nothing_else(error: Exception) -> None:
    caught = await unary_error(Raising(error))
    assert caught.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(caught) + repr(caught.trailing_metadata()) + str(caught.debug_error_string())
    back = mesh_error_from_rpc(caught)
    assert back.reason == ErrorReason.ERROR_REASON_INTERNAL
    assert len(back.metadata["trace_id"]) == 32


async def test_unmapped_exception__in_a_stream__tells_nothing() -> None:
    servicer = Raising(ValueError(SECRET), after=1)
    async with status_server(servicer) as running, open_channel(running.target) as channel:
        call = StatusServiceStub(channel).WatchIntent(WATCH)
        await call.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(caught.value) + repr(caught.value.trailing_metadata())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (asyncpg.CannotConnectNowError("starting up"), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (asyncpg.InterfaceError("connection is closed"), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (asyncpg.DiskFullError(SECRET), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (asyncpg.PostgresIOError(SECRET), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (asyncpg.ReadOnlySQLTransactionError(SECRET), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (TargetServerAttributeNotMatched(SECRET), ErrorReason.ERROR_REASON_STORE_UNAVAILABLE),
        (ssl.SSLEOFError(8, SECRET), ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
        (ConnectionRefusedError(111, SECRET), ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
        (OSError(errno.EHOSTUNREACH, SECRET), ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
        (OSError(f"Multiple exceptions: {SECRET}"), ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
        (TimeoutError(), ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
    ],
)
async def test_dependency_failure__unary__is_unavailable_with_retry(error: Exception, reason) -> None:
    caught = await unary_error(Raising(error))
    back = mesh_error_from_rpc(caught)
    assert caught.code() is grpc.StatusCode.UNAVAILABLE
    assert (back.reason, back.retry_after) == (reason, 1.0)
    assert "hunter2" not in repr(caught)


async def test_wrong_use_of_the_store__unary__is_a_bug_and_not_an_outage() -> None:
    caught = await unary_error(Raising(asyncpg.InterfaceError("cannot perform operation: another is in progress")))
    assert caught.code() is grpc.StatusCode.INTERNAL


async def test_unserialisable_answer__unary__is_internal_without_text() -> None:
    class WrongType(StatusServiceServicer):
        async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
            return SECRET

    caught = await unary_error(WrongType())
    assert caught.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in repr(caught)


@pytest.mark.parametrize(
    "path", ["/intentmesh.v1.StatusService/GetIntentStatus", "/intentmesh.v1.StatusService/WatchIntent"]
)
async def test_malformed_request__any_shape__is_invalid_argument(path: str) -> None:
    async with status_server(Raising(ValueError("not reached"))) as running, open_channel(running.target) as channel:
        unary = path.endswith("Status")
        call = (
            channel.unary_unary(path)(b"\xff\xff\xff") if unary else channel.unary_stream(path)(b"\xff\xff\xff").read()
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_INVALID_FIELD


async def test_malformed_item__in_a_request_stream__is_invalid_argument() -> None:
    class Draining(IntakeServiceServicer):
        async def SubmitIntents(self, request_iterator, context):  # noqa: N802, ARG002
            async for _ in request_iterator:
                yield intake_service_pb2.SubmitIntentsResponse()

    async with (
        status_server(
            StatusServiceServicer(), lambda server: add_IntakeServiceServicer_to_server(Draining(), server)
        ) as running,
        open_channel(running.target) as channel,
    ):
        call = channel.stream_stream("/intentmesh.v1.IntakeService/SubmitIntents")()
        await call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_method__any__stays_unimplemented() -> None:
    async with status_server(StatusServiceServicer()) as running, open_channel(running.target) as channel:
        for path in ("/intentmesh.v1.StatusService/Nothing", "/nobody.Knows/Me"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(path)(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("method", ["unary", "stream"])
async def test_unimplemented_method__of_a_known_service__stays_unimplemented(method: str) -> None:
    async with status_server(StatusServiceServicer()) as running, open_channel(running.target) as channel:
        stub = StatusServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await (stub.GetIntentStatus(ASK) if method == "unary" else stub.WatchIntent(WATCH).read())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "NotImplementedError" not in str(caught.value.details())


async def test_validation__absent_wrong_and_too_long_fields__are_named_with_their_reasons() -> None:
    request = registry_pb2.RunAuctionRequest(
        order=order_pb2.Order(user="0xzz", inputs=[order_pb2.OrderInput(token="0x" + "1" * 40, amount="1")] * 17),
        excluded_solver_ids=["one too many"] * 101,
    )
    error = await _refused_auction(request)
    assert isinstance(error, InvalidArgument)
    reasons = {v.field: v.reason for v in error.violations}
    missing, invalid = ErrorReason.ERROR_REASON_MISSING_FIELD, ErrorReason.ERROR_REASON_INVALID_FIELD
    assert reasons["intent_id"] == reasons["order.nonce"] == reasons["order.fill_deadline"] == missing
    assert reasons["order.outputs"] == missing
    assert reasons["order.user"] == invalid
    assert reasons["excluded_solver_ids"] == reasons["order.inputs"] == ErrorReason.ERROR_REASON_TOO_LARGE


async def test_validation__nested_list__names_the_index() -> None:
    order = order_pb2.Order(
        inputs=[order_pb2.OrderInput(token="0x" + "1" * 40, amount="1"), order_pb2.OrderInput(amount="01")]
    )
    error = await _refused_auction(registry_pb2.RunAuctionRequest(order=order))
    fields = {v.field for v in error.violations}
    assert {"order.inputs[1].token", "order.inputs[1].amount"} <= fields


def _add_registry(server: grpc.aio.Server) -> None:
    add_SolverRegistryServiceServicer_to_server(SolverRegistryServiceServicer(), server)


async def _refused_auction(request: registry_pb2.RunAuctionRequest) -> MeshError:
    async with (
        status_server(StatusServiceServicer(), _add_registry) as running,
        open_channel(running.target) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SolverRegistryServiceStub(channel).RunAuction(request)
    return mesh_error_from_rpc(caught.value)


async def test_many_violations__more_than_a_header_holds__are_shortened_and_still_typed() -> None:
    many = [
        FieldViolation(f"order.outputs[{i}].amount", ErrorReason.ERROR_REASON_ZERO_AMOUNT, "x" * 80) for i in range(500)
    ]
    error = mesh_error_from_rpc(await unary_error(Raising(InvalidArgument("all wrong", violations=many))))
    assert isinstance(error, InvalidArgument)
    assert 0 < len(error.violations) < 500
    assert int(error.metadata["violations_omitted"]) + len(error.violations) == 500


async def test_request_above_the_limit__unary__is_resource_exhausted_too_large() -> None:
    request = status_service_pb2.GetIntentStatusRequest(intent_id="x" * 1_100_000)
    caught = await unary_error(Raising(ValueError("not reached")), request)
    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert any(key == STATUS_DETAILS_KEY for key, _ in caught.trailing_metadata() or ())
    error = mesh_error_from_rpc(caught)
    assert (error.reason, error.metadata) == (ErrorReason.ERROR_REASON_TOO_LARGE, {"limit": "1048576"})


async def test_request_far_above_the_limit__is_refused_by_the_transport_and_read_as_too_large() -> None:
    request = status_service_pb2.GetIntentStatusRequest(intent_id="x" * 5_000_000)
    caught = await unary_error(Raising(ValueError("not reached")), request)
    assert caught.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert mesh_error_from_rpc(caught).reason == ErrorReason.ERROR_REASON_TOO_LARGE


async def test_call_without_deadline__slower_than_the_servers__is_deadline_exceeded() -> None:
    class Slow(StatusServiceServicer):
        async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
            await asyncio.sleep(60)

    async with (
        status_server(Slow(), max_call_seconds=0.1) as running,
        grpc.aio.insecure_channel(running.target) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await StatusServiceStub(channel).GetIntentStatus(ASK)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED


async def test_client_that_goes_away__in_a_handler__cancels_it_and_lets_it_clean_up() -> None:
    started, cleaned = asyncio.Event(), asyncio.Event()

    class Waiting(StatusServiceServicer):
        async def WatchIntent(self, request, context):  # noqa: N802, ARG002
            try:
                started.set()
                yield status_service_pb2.WatchIntentResponse()
                await asyncio.sleep(60)
            finally:
                cleaned.set()

    async with status_server(Waiting()) as running, open_channel(running.target) as channel:
        call = StatusServiceStub(channel).WatchIntent(WATCH)
        await started.wait()
        call.cancel()
        await asyncio.wait_for(cleaned.wait(), 5)


async def test_metadata_set_by_a_handler__then_an_error__arrives_with_it() -> None:
    class Limited(StatusServiceServicer):
        async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
            context.set_trailing_metadata((("ratelimit-remaining", "0"),))
            raise domain.ResourceExhausted("too many", retry_after=2.0)

    caught = await unary_error(Limited())
    assert dict(caught.trailing_metadata())["ratelimit-remaining"] == "0"
    assert mesh_error_from_rpc(caught).retry_after == 2.0


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancellation_inside_the_handler__that_its_caller_did_not_ask_for__is_unavailable(streamed: bool) -> None:
    """Something that the handler waits for was cancelled: a channel that is closed does that to its calls."""
    error = asyncio.CancelledError()
    async with status_server(Raising(error)) as running, open_channel(running.target) as channel:
        stub = StatusServiceStub(channel)
        # Not by its own deadline, which would come after 30 s.
        async with asyncio.timeout(5):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (stub.WatchIntent(WATCH).read() if streamed else stub.GetIntentStatus(ASK))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE
