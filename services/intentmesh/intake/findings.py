"""What a check finds, and the error that a caller gets for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from intentmesh.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    MeshError,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from intentmesh.v1.error_pb2 import ErrorReason

# How long a caller waits before it asks a switched-off intake again.
_DISABLED_RETRY_SECONDS = 30.0
_OPEN_INTENTS_RETRY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One violated rule. `field` is a path in the request; `metadata` is what the reason promises to carry."""

    field: str
    reason: "ErrorReason.ValueType"
    message: str
    metadata: Mapping[str, str] = dataclass_field(default_factory=dict)

    def as_violation(self) -> FieldViolation:
        return FieldViolation(self.field, self.reason, self.message)


# Every other reason of a check is INVALID_ARGUMENT.
_CLASSES: Mapping["ErrorReason.ValueType", type[MeshError]] = {
    ErrorReason.ERROR_REASON_BANNED: PermissionDenied,
    ErrorReason.ERROR_REASON_NOT_ALLOWED: PermissionDenied,
    ErrorReason.ERROR_REASON_DUPLICATE_NONCE: AlreadyExists,
    ErrorReason.ERROR_REASON_REQUEST_ID_REUSED: AlreadyExists,
    ErrorReason.ERROR_REASON_TOO_MANY_OPEN_INTENTS: ResourceExhausted,
    ErrorReason.ERROR_REASON_INTAKE_DISABLED: Unavailable,
    ErrorReason.ERROR_REASON_INSUFFICIENT_BALANCE: FailedPrecondition,
    ErrorReason.ERROR_REASON_INSUFFICIENT_ALLOWANCE: FailedPrecondition,
    ErrorReason.ERROR_REASON_NONCE_USED: FailedPrecondition,
    ErrorReason.ERROR_REASON_VALUE_TOO_LOW: FailedPrecondition,
    ErrorReason.ERROR_REASON_VALUE_TOO_HIGH: FailedPrecondition,
}
_RETRY_AFTER_SECONDS: Mapping["ErrorReason.ValueType", float] = {
    ErrorReason.ERROR_REASON_INTAKE_DISABLED: _DISABLED_RETRY_SECONDS,
    ErrorReason.ERROR_REASON_TOO_MANY_OPEN_INTENTS: _OPEN_INTENTS_RETRY_SECONDS,
}


def duplicate_nonce(holder: str) -> Finding:
    """Another intent, named by its id, holds the order's Permit2 nonce."""
    return Finding(
        "order.nonce",
        ErrorReason.ERROR_REASON_DUPLICATE_NONCE,
        f"Intent {holder} holds this Permit2 nonce; only one of both could be opened.",
        {"intent_id": holder},
    )


def request_id_reused() -> Finding:
    """The caller has used the request id with another body."""
    return Finding(
        "request_id", ErrorReason.ERROR_REASON_REQUEST_ID_REUSED, "This request id was used with another body."
    )


def refusal(findings: Sequence[Finding]) -> MeshError:
    """The error that tells all findings (at least one); the first decides status, reason and metadata."""
    first = findings[0]
    place = f"{first.field}: " if first.field else ""
    more = f" ({len(findings) - 1} more, see the field violations)" if len(findings) > 1 else ""
    return _CLASSES.get(first.reason, InvalidArgument)(
        f"{place}{first.message}{more}",
        reason=first.reason,
        metadata=first.metadata,
        violations=[finding.as_violation() for finding in findings],
        retry_after=_RETRY_AFTER_SECONDS.get(first.reason),
    )
