"""The one place where domain errors become gRPC statuses, and statuses become domain errors again.

Every error that leaves a server carries one status code, `google.rpc.ErrorInfo` (the reason's name without its prefix,
domain "intentmesh"), `BadRequest` for violated fields and `RetryInfo` where waiting helps. What is not a MeshError or a
known failure of a dependency is a bug: the caller learns a trace id and nothing else, the log learns everything.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias, TypeVar

import asyncpg
import grpc
import redis.exceptions
from asyncpg.exceptions import TargetServerAttributeNotMatched
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from intentmesh.domain.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    MeshError,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from intentmesh.v1.error_pb2 import ErrorReason

Told = TypeVar("Told", bound=Message)
MadeOf: TypeAlias = Callable[[MeshError, Sequence[FieldViolation], Mapping[str, str]], Told]
"""Of an error, those of its violations that are told, and its metadata."""

ERROR_DOMAIN = "intentmesh"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
DEPENDENCY_RETRY_SECONDS = 1.0
MAX_DETAILS_BYTES = 4096
"""Details travel in a header; clients refuse more than 8 KiB of headers in all, and would see no error at all then."""
MAX_MESSAGE_CHARACTERS = 1024

_REASON_PREFIX = "ERROR_REASON_"

STATUS_OF: Mapping[type[MeshError], grpc.StatusCode] = MappingProxyType(
    {
        InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
        NotFound: grpc.StatusCode.NOT_FOUND,
        AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
        FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
        PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
        Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
        Unavailable: grpc.StatusCode.UNAVAILABLE,
        OutOfRange: grpc.StatusCode.OUT_OF_RANGE,
        DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
_CLASS_OF: Mapping[grpc.StatusCode, type[MeshError]] = MappingProxyType(
    {status: kind for kind, status in STATUS_OF.items()} | {grpc.StatusCode.CANCELLED: Unavailable}
)
_CUT_CONNECTION = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
_REASON_WITHOUT_DETAILS: Mapping[grpc.StatusCode, ErrorReason.ValueType] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: ErrorReason.ERROR_REASON_INVALID_FIELD,
        grpc.StatusCode.NOT_FOUND: ErrorReason.ERROR_REASON_NOT_FOUND,
        grpc.StatusCode.PERMISSION_DENIED: ErrorReason.ERROR_REASON_NOT_ALLOWED,
        grpc.StatusCode.UNAUTHENTICATED: ErrorReason.ERROR_REASON_UNAUTHENTICATED,
        grpc.StatusCode.RESOURCE_EXHAUSTED: ErrorReason.ERROR_REASON_OVERLOADED,
        grpc.StatusCode.UNAVAILABLE: ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE,
        grpc.StatusCode.CANCELLED: ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE,
        **dict.fromkeys(_CUT_CONNECTION, ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE),
        grpc.StatusCode.DEADLINE_EXCEEDED: ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
    }
)
# A statement that ran into its time-out, a lost race, a server that starts or stops, is no longer the primary or has no
# room: the store will do it next time, or the next one will.
_STORE_UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.ReadOnlySQLTransactionError,
    TargetServerAttributeNotMatched,
    asyncpg.QueryCanceledError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)
_CONNECTION_GONE = ("connection is closed", "connection was closed", "pool is clos", "connection has been released")
# What a socket tells that has no class of its own: nobody there, no way there, or no socket to be had.
_NO_WAY_THERE = frozenset(
    (
        *(errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET),
        *(errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.EMFILE, errno.ENFILE),
    )
)
_TRANSIENT = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def reason_name(reason: ErrorReason.ValueType) -> str:
    """MISSING_FIELD, NOT_FOUND, …: the reason as it travels."""
    return ErrorReason.Name(reason).removeprefix(_REASON_PREFIX)


def reason_from_name(name: str) -> ErrorReason.ValueType:
    """Inverse; UNSPECIFIED for a name this version does not know."""
    try:
        return ErrorReason.Value(_REASON_PREFIX + name)
    except ValueError:
        return ErrorReason.ERROR_REASON_UNSPECIFIED


def status_code(error: MeshError) -> grpc.StatusCode:
    """The status of an error, by its class; INTERNAL for a bare MeshError."""
    for kind in type(error).__mro__:
        if kind in STATUS_OF:
            return STATUS_OF[kind]
    return grpc.StatusCode.INTERNAL


def as_mesh_error(error: BaseException, trace_id: str) -> MeshError:
    """The error a caller may see. Anything unknown becomes INTERNAL with the trace id as its only content."""
    if isinstance(error, MeshError) and status_code(error) is not grpc.StatusCode.INTERNAL:
        return error
    if isinstance(error, _STORE_UNAVAILABLE) or _is_gone(error):
        return _dependency(ErrorReason.ERROR_REASON_STORE_UNAVAILABLE, "the store did not answer in time; try again")
    if isinstance(error, redis.exceptions.ConnectionError | redis.exceptions.TimeoutError):
        return _dependency(ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE, "a cache did not answer; try again")
    if isinstance(error, grpc.aio.AioRpcError) and error.code() in _TRANSIENT:
        return _dependency(ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE, "another service did not answer; try again")
    # A call of ours on a channel that is closed ends as cancelled.
    if isinstance(error, asyncio.CancelledError) or _is_of_the_network(error):
        return _dependency(
            ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE, "a dependency did not answer in time; try again"
        )
    return MeshError("internal error; give the trace id to the operator", metadata={"trace_id": trace_id})


def _is_of_the_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | socket.gaierror | TimeoutError | ssl.SSLError):
        return True
    # asyncio makes one error without a number of several addresses that it has tried in vain.
    return isinstance(error, OSError) and (
        error.errno in _NO_WAY_THERE or (error.errno is None and str(error).startswith("Multiple exceptions"))
    )


def _is_gone(error: BaseException) -> bool:
    # asyncpg uses one class for a lost connection and for wrong use of it; only the first is somebody else's fault.
    return isinstance(error, asyncpg.InterfaceError) and any(text in str(error).lower() for text in _CONNECTION_GONE)


def _dependency(reason: ErrorReason.ValueType, message: str) -> MeshError:
    return Unavailable(message, reason=reason, retry_after=DEPENDENCY_RETRY_SECONDS)


def to_status(error: MeshError) -> status_pb2.Status:
    """google.rpc.Status with its details, shortened to what a header can carry."""
    return with_what_fits(error, _status)


def with_what_fits(error: MeshError, made_of: MadeOf[Told]) -> Told:
    """The message that is made of an error, with as many of its violations as fit into MAX_DETAILS_BYTES.

    How many are left out stands in its metadata, as `violations_omitted`. Metadata that does not fit is left out.
    """
    violations = error.violations
    told = made_of(error, violations, error.metadata)
    while told.ByteSize() > MAX_DETAILS_BYTES and violations:
        violations = violations[: len(violations) // 2]
        omitted = {"violations_omitted": str(len(error.violations) - len(violations))}
        told = made_of(error, violations, {**error.metadata, **omitted})
    return told if told.ByteSize() <= MAX_DETAILS_BYTES else made_of(error, (), {})


def field_violations(violations: Sequence[FieldViolation]) -> list[error_details_pb2.BadRequest.FieldViolation]:
    """Violations as they travel: the reason is the first word of the description, and a field of its own."""
    return [
        error_details_pb2.BadRequest.FieldViolation(
            field=v.field, reason=reason_name(v.reason), description=f"{reason_name(v.reason)} {v.message}"
        )
        for v in violations
    ]


def _status(error: MeshError, violations: Sequence[FieldViolation], metadata: Mapping[str, str]) -> status_pb2.Status:
    status = status_pb2.Status(code=status_code(error).value[0], message=error.message[:MAX_MESSAGE_CHARACTERS])
    info = error_details_pb2.ErrorInfo(reason=reason_name(error.reason), domain=ERROR_DOMAIN, metadata=metadata)
    status.details.add().Pack(info)
    if violations:
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=field_violations(violations)))
    if error.retry_after is not None:
        delay = Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def mesh_error_from_rpc(error: grpc.aio.AioRpcError) -> MeshError:
    """What a client caught, as the domain error the server raised. Never raises.

    A status without details (a proxy's, the transport's) gets the reason that fits its code best. INTERNAL and UNKNOWN
    without details are a connection that was cut (our servers never send them so), and are told as Unavailable.
    DEADLINE_EXCEEDED is the local deadline as well as the server's.
    """
    status = _status_of(error)
    code = next((c for c in grpc.StatusCode if status and c.value[0] == status.code), error.code())
    kind = _CLASS_OF.get(code, MeshError)
    if status is None:
        if code in _CUT_CONNECTION:
            kind = Unavailable
        return kind(f"{code.name}: {error.details() or 'no details'}", reason=_reason_without_details(error))
    info, bad_request, retry = (
        error_details_pb2.ErrorInfo(),
        error_details_pb2.BadRequest(),
        error_details_pb2.RetryInfo(),
    )
    retry_after: float | None = None
    for detail in status.details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(bad_request.DESCRIPTOR):
            detail.Unpack(bad_request)
        elif detail.Is(retry.DESCRIPTOR):
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    ours = info.domain == ERROR_DOMAIN
    return kind(
        status.message,
        reason=reason_from_name(info.reason) if ours else _reason_without_details(error),
        metadata=dict(info.metadata),
        violations=tuple(_violation(v) for v in bad_request.field_violations),
        retry_after=retry_after,
    )


def _violation(violation: error_details_pb2.BadRequest.FieldViolation) -> FieldViolation:
    first, _, rest = violation.description.partition(" ")
    reason = reason_from_name(first)
    known = reason != ErrorReason.ERROR_REASON_UNSPECIFIED
    return FieldViolation(violation.field, reason, rest if known else violation.description)


def _status_of(error: grpc.aio.AioRpcError) -> status_pb2.Status | None:
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_DETAILS_KEY and isinstance(value, bytes):
            status = status_pb2.Status()
            try:
                status.ParseFromString(value)
            except ValueError:  # google.protobuf's DecodeError is one
                return None
            return status if status.code != code_pb2.OK else None
    return None


def _reason_without_details(error: grpc.aio.AioRpcError) -> ErrorReason.ValueType:
    if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in (error.details() or ""):
        return ErrorReason.ERROR_REASON_TOO_LARGE
    return _REASON_WITHOUT_DETAILS.get(error.code(), ErrorReason.ERROR_REASON_INTERNAL)
