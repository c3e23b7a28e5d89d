"""The one interceptor of every server. A handler does its work and raises MeshError; all else about a call is here.

Around each call, from the outside in: count it, bind trace and caller, set a deadline, parse and validate the request,
run the handler, turn whatever it raises into a status, serialise the answer. Parsing and serialising happen here, as
grpc does them outside of every interceptor and answers a failure with UNKNOWN and the exception's text. What a handler
never sees counts against its caller's limits all the same: who sends noise is told to slow down like anybody.
"""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NoReturn, TypeAlias

import grpc
import structlog
from google.protobuf.message import DecodeError, Message

from intentmesh.domain.errors import DeadlineExceeded, MeshError, Unavailable
from intentmesh.rpc import metrics
from intentmesh.rpc.calls import CallTracker
from intentmesh.rpc.errors import STATUS_DETAILS_KEY, as_mesh_error, status_code, to_status
from intentmesh.rpc.principals import CallerResolver, bind_caller
from intentmesh.rpc.rate_limits import LimitReached, metadata_of
from intentmesh.rpc.tracing import start_trace, trace_id_from
from intentmesh.rpc.validation import RequestValidator, malformed, too_large
from intentmesh.v1.error_pb2 import ErrorReason

log = structlog.get_logger()

# As text: only the stubs know these classes to be generic.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Trailers: TypeAlias = tuple[tuple[str, str | bytes], ...]
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"

CountRefused: TypeAlias = Callable[[str, "Context"], Awaitable[None]]

UNVALIDATED_METHODS = frozenset(
    f"/intentmesh.v1.IntakeService/{method}" for method in ("SubmitIntent", "SubmitIntents", "ValidateIntent")
)
"""Handlers that validate for themselves: one bad item must spoil nothing, a dry run answers with violations, and all
that is wrong with an order is told at once."""

DRAIN_RETRY_SECONDS = 0.5


class _Refused(Exception):
    """A request that could not be parsed or broke its rules. Handlers never catch it, since it is no MeshError.

    Returned in the place of a lone request: grpc must not see the exception. Raised by a stream of them.
    """

    def __init__(self, error: MeshError) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True, slots=True)
class _Method:
    path: str
    service: str
    name: str
    unary: bool
    """Neither side streams: only such calls get a deadline from the server."""
    to_bytes: Callable[[Any], bytes]

    def begun(self) -> None:
        """Into the metrics."""
        _in_flight(self.service, self.name).inc()

    def ended(self, code: grpc.StatusCode, seconds: float) -> None:
        """Into the metrics."""
        _in_flight(self.service, self.name).dec()
        _handled(self.service, self.name, code.name).inc()
        if self.unary:
            _seconds(self.service, self.name).observe(seconds)


# Kept, since looking up the labels of a metric costs more than counting. Methods and codes are few.
_in_flight = cache(metrics.RPC_IN_FLIGHT.labels)
_handled = cache(metrics.RPC_HANDLED.labels)
_seconds = cache(metrics.RPC_SECONDS.labels)


class MeshInterceptor(grpc.aio.ServerInterceptor):
    """Install as the only interceptor of a server. `count_refused` as in `Service`."""

    def __init__(
        self,
        callers: CallerResolver,
        tracker: CallTracker,
        *,
        max_call_seconds: float,
        max_request_bytes: int,
        count_refused: CountRefused | None = None,
        unvalidated: Collection[str] = UNVALIDATED_METHODS,
    ) -> None:
        self._callers = callers
        self._tracker = tracker
        self._max_call_seconds = max_call_seconds
        self._max_request_bytes = max_request_bytes
        self._count_refused = count_refused
        self._validator = RequestValidator()
        self._unvalidated = unvalidated
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> "Handler | None":
        """Wrap the handler once a method; an unknown method stays None, which grpc answers with UNIMPLEMENTED."""
        path = handler_call_details.method
        wrapped = self._wrapped.get(path)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        self._wrapped[path] = wrapped = self._wrap(path, handler)
        return wrapped

    def _wrap(self, path: str, handler: Handler) -> Handler:
        _, service, name = path.split("/", 2)
        unary = not handler.request_streaming and not handler.response_streaming
        method = _Method(path, service, name, unary, _to_bytes(handler))
        serve = self._serve_stream if handler.response_streaming else self._serve_unary
        behaviour = _behaviour(handler)

        async def call(request: Any, context: Context) -> Any:
            return await serve(method, behaviour, request, context)

        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[bool(handler.request_streaming), bool(handler.response_streaming)]
        return make(
            call,
            request_deserializer=self._deserializer(path, handler),
            response_serializer=method.to_bytes,
        )

    def _deserializer(self, path: str, handler: Handler) -> Callable[[bytes], Any]:
        parse = handler.request_deserializer or (lambda raw: raw)
        validate = path not in self._unvalidated

        def read(raw: bytes) -> Any:
            if len(raw) > self._max_request_bytes:
                raise _Refused(too_large(self._max_request_bytes))
            try:
                message = parse(raw)
            except DecodeError:
                raise _Refused(malformed()) from None
            if validate and isinstance(message, Message):
                try:
                    self._validator.check(message)
                except MeshError as error:
                    raise _Refused(error) from None
            return message

        def read_or_refuse(raw: bytes) -> Any:
            try:
                return read(raw)
            except _Refused as refused:
                return refused

        # Items of a stream are read inside the handler, where raising is right.
        return read if handler.request_streaming else read_or_refuse

    async def _serve_unary(self, method: _Method, behaviour: Any, request: Any, context: Context) -> Any:
        async def run() -> Any:
            return method.to_bytes(await behaviour(request, context))

        return await self._guarded(method, request, context, run)

    async def _serve_stream(self, method: _Method, behaviour: Any, request: Any, context: Context) -> None:
        async def run() -> None:
            if not inspect.isasyncgenfunction(behaviour):
                await behaviour(request, context)
                return
            messages: AsyncIterator[Any] = behaviour(request, context)
            async with aclosing(messages) as open_messages:  # type: ignore[type-var]  # an async generator, by the test above
                async for message in open_messages:
                    await context.write(message)

        await self._guarded(method, request, context, run)

    async def _guarded(self, method: _Method, request: Any, context: Context, run: Callable[[], Awaitable[Any]]) -> Any:
        """Run one call; the only ways out are its answer, a status of ours and the cancellation by its client."""
        trace_id = self._bind(method, context)
        started = time.perf_counter()
        code = grpc.StatusCode.OK
        told: MeshError | None = None
        method.begun()
        try:
            with self._tracker.running(method.path):
                try:
                    return await self._counted(method, request, context, run)
                except asyncio.CancelledError as error:
                    if self._tracker.was_ended():
                        _forget_cancellation()
                        code = grpc.StatusCode.UNAVAILABLE
                        await _abort(context, _draining())
                    if _is_cancelled():
                        code = _code_of_cancellation(context)
                        raise
                    # Not this call was cancelled, but something that its handler waited for (a channel that is closed
                    # does that). grpc would take it for the caller's own wish, send nothing, and let the caller wait.
                    told = _translate(method, error, trace_id)
                    code = status_code(told)
                    await _abort(context, told)
                except (grpc.aio.AbortError, grpc.aio.InternalError):
                    # The handler has aborted by itself, or the client is gone in the middle of a write.
                    code = _code_set(context)
                    raise
                except Exception as error:
                    if context.done():
                        raise
                    # What generated servicers do for a method that this server does not have; any other is a bug.
                    if isinstance(error, NotImplementedError) and context.code() is grpc.StatusCode.UNIMPLEMENTED:
                        code = grpc.StatusCode.UNIMPLEMENTED
                        await _end(context, code, "this server does not implement the method")
                    told = _translate(method, error, trace_id)
                    code = status_code(told)
                    await _abort(context, told)
        finally:
            # Its traceback leads here: together they would keep the call until the garbage collector comes.
            told = None
            method.ended(code, time.perf_counter() - started)

    def _bind(self, method: _Method, context: Context) -> str:
        metadata = context.invocation_metadata() or ()
        trace_id = start_trace(trace_id_from(metadata))
        certified = context.auth_context() if self._callers.trust_certificates else None
        principal, address = self._callers.resolve(context.peer(), metadata, certified)
        bind_caller(principal, address)
        structlog.contextvars.bind_contextvars(trace_id=trace_id, method=f"{method.service}/{method.name}")
        return trace_id

    async def _counted(self, method: _Method, request: Any, context: Context, run: Callable[[], Awaitable[Any]]) -> Any:
        if isinstance(request, _Refused):
            await self._count_what_is_refused(method, context)
            raise request.error from None
        try:
            return await self._with_deadline(method, context, run)
        except _Refused as refused:
            await self._count_what_is_refused(method, context)
            raise refused.error from None

    async def _count_what_is_refused(self, method: _Method, context: Context) -> None:
        if self._count_refused is not None:
            await self._count_refused(method.name, context)

    async def _with_deadline(self, method: _Method, context: Context, run: Callable[[], Awaitable[Any]]) -> Any:
        # A call with a deadline of its own is cancelled by grpc when it passes.
        if not method.unary or context.time_remaining() is not None:
            return await run()
        limit = asyncio.timeout(self._max_call_seconds)
        try:
            async with limit:
                return await run()
        except TimeoutError:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"not done within {self._max_call_seconds:g} s") from None


def _translate(method: _Method, error: BaseException, trace_id: str) -> MeshError:
    told = as_mesh_error(error, trace_id)
    if status_code(told) is grpc.StatusCode.INTERNAL:
        log.error("call_failed", rpc=method.path, exc_info=error)
    elif told is not error:
        log.warning("dependency_failed", rpc=method.path, error=repr(error))
    # It leads to the request, and a request that was refused leads to its error: one more circle.
    error.__traceback__ = None
    return told


async def _abort(context: Context, error: MeshError) -> NoReturn:
    status = to_status(error)
    told = (*_limits_in(error), (STATUS_DETAILS_KEY, status.SerializeToString()))
    # What the handler has set (what is left of another budget, for instance) goes along: abort would replace it.
    ours = {key for key, _ in told}
    kept = tuple((key, value) for key, value in context.trailing_metadata() or () if key not in ours)
    await _end(context, status_code(error), status.message, (*kept, *told))


async def _end(context: Context, code: grpc.StatusCode, message: str, trailers: Trailers = ()) -> NoReturn:
    try:
        await context.abort(code, message, trailers)
    except grpc.aio.AbortError as aborted:
        # The call keeps the error, and the error by its traceback the call with all that it was about, some 8 kB: until
        # the garbage collector comes, unless it is told to let go.
        if (handler := asyncio.current_task()) is not None:
            handler.add_done_callback(partial(_forget_where_from, aborted))
        raise


def _forget_where_from(error: BaseException, _ended: object) -> None:
    error.__traceback__ = error.__context__ = None


def _limits_in(error: MeshError) -> tuple[tuple[str, str], ...]:
    return metadata_of(error.grant) if isinstance(error, LimitReached) else ()


def _draining() -> MeshError:
    reason = ErrorReason.ERROR_REASON_DRAINING
    message = "the server is stopping; another replica will answer"
    return Unavailable(message, reason=reason, retry_after=DRAIN_RETRY_SECONDS)


def _is_cancelled() -> bool:
    """Whether somebody wants the current task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _forget_cancellation() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _code_of_cancellation(context: Context) -> grpc.StatusCode:
    return grpc.StatusCode.DEADLINE_EXCEEDED if context.time_remaining() == 0 else grpc.StatusCode.CANCELLED


def _code_set(context: Context) -> grpc.StatusCode:
    code: grpc.StatusCode | None = context.code()  # the stubs do not know that none may be set
    return code if code is not None else grpc.StatusCode.CANCELLED


def _behaviour(handler: Handler) -> Any:
    return next(
        behaviour
        for behaviour in (handler.unary_unary, handler.unary_stream, handler.stream_unary, handler.stream_stream)
        if behaviour is not None
    )


def _to_bytes(handler: Handler) -> Callable[[Any], bytes]:
    serialise = handler.response_serializer or bytes
    # A handler that has the bytes already (the same event for a thousand readers) may hand them over as they are.
    return lambda message: message if isinstance(message, bytes) else serialise(message)
