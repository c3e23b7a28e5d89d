"""Typed errors. The class decides the gRPC status, the reason tells a program why, the message is safe for the caller.

MeshError
├── InvalidArgument
│   ├── InvalidOrder          (domain/convert.py)
│   ├── InvalidContext        (domain/context.py)
│   └── InvalidSignature      (domain/signatures.py)
├── NotFound
├── AlreadyExists
├── FailedPrecondition
├── PermissionDenied
├── Unauthenticated
├── ResourceExhausted
├── OutOfRange
├── DeadlineExceeded
└── Unavailable
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from intentmesh.v1.error_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One failed check. `field` is a path such as `order.inputs[0].amount`; empty for the whole message."""

    field: str
    reason: "ErrorReason.ValueType"
    message: str


class MeshError(Exception):
    """What the mesh tells a caller. `retry_after` is in seconds, None where waiting does not help."""

    default_reason: ClassVar["ErrorReason.ValueType"] = ErrorReason.ERROR_REASON_INTERNAL

    def __init__(
        self,
        message: str,
        *,
        reason: "ErrorReason.ValueType | None" = None,
        metadata: Mapping[str, str] | None = None,
        violations: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason: ErrorReason.ValueType = self.default_reason if reason is None else reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations: tuple[FieldViolation, ...] = tuple(violations)
        self.retry_after = retry_after


class InvalidArgument(MeshError):
    """The request itself is wrong; the same request never succeeds."""

    default_reason = ErrorReason.ERROR_REASON_INVALID_FIELD


class NotFound(MeshError):
    """No such thing."""

    default_reason = ErrorReason.ERROR_REASON_NOT_FOUND


class AlreadyExists(MeshError):
    """Something else holds the name, nonce or request id."""

    default_reason = ErrorReason.ERROR_REASON_REQUEST_ID_REUSED


class FailedPrecondition(MeshError):
    """Right request, wrong state of the mesh or of a chain."""

    default_reason = ErrorReason.ERROR_REASON_ALREADY_TERMINAL


class PermissionDenied(MeshError):
    """The caller may not do this."""

    default_reason = ErrorReason.ERROR_REASON_NOT_ALLOWED


class Unauthenticated(MeshError):
    """The call needs a principal and has none."""

    default_reason = ErrorReason.ERROR_REASON_UNAUTHENTICATED


class ResourceExhausted(MeshError):
    """A limit was reached."""

    default_reason = ErrorReason.ERROR_REASON_RATE_LIMITED


class OutOfRange(MeshError):
    """The position asked for is not held."""

    default_reason = ErrorReason.ERROR_REASON_POSITION_TOO_OLD


class DeadlineExceeded(MeshError):
    """The call's deadline passed; whether it had an effect is unknown."""

    default_reason = ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED


class Unavailable(MeshError):
    """A dependency did not answer; the same request may succeed later."""

    default_reason = ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE
