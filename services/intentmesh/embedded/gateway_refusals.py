"""What the gateway says when it refuses a call itself, in the form every service of the mesh uses.

A client cannot tell, and need not, whether the gateway or a service refused: one gRPC status, `google.rpc.ErrorInfo`
with a reason of the mesh, and `RetryInfo` where waiting helps.
"""

import base64
from dataclasses import dataclass

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from intentmesh.v1.error_pb2 import ErrorReason

ERROR_DOMAIN = "intentmesh"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One kind of refusal. `name` is how the template calls it: ${NAME_status}, ${NAME_message}, ${NAME_details}."""

    name: str
    status: grpc.StatusCode
    reason: ErrorReason.ValueType
    message: str
    # None: waiting does not help.
    retry_after_s: int | None = None

    def template_values(self) -> dict[str, str]:
        """The values of the template's placeholders; `details` is a google.rpc.Status in base64."""
        code: int = self.status.value[0]
        reason = ErrorReason.Name(self.reason).removeprefix("ERROR_REASON_")
        details: list[error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo] = [
            error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN)
        ]
        if self.retry_after_s is not None:
            delay = duration_pb2.Duration(seconds=self.retry_after_s)
            details.append(error_details_pb2.RetryInfo(retry_delay=delay))
        status = status_pb2.Status(code=code, message=self.message)
        for detail in details:
            packed = any_pb2.Any()
            packed.Pack(detail)
            status.details.append(packed)
        return {
            f"{self.name}_status": str(code),
            f"{self.name}_message": self.message,
            f"{self.name}_details": base64.b64encode(status.SerializeToString(deterministic=True)).decode("ascii"),
        }


REFUSALS = (
    Refusal(
        "malformed",
        grpc.StatusCode.INVALID_ARGUMENT,
        ErrorReason.ERROR_REASON_INVALID_FIELD,
        "the headers of the request are not those of a gRPC call",
    ),
    Refusal(
        "unauthenticated",
        grpc.StatusCode.UNAUTHENTICATED,
        ErrorReason.ERROR_REASON_UNAUTHENTICATED,
        "the token of the request does not hold",
    ),
    Refusal(
        "too_large",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_TOO_LARGE,
        "the request is larger than 1 MiB",
    ),
    Refusal(
        "overloaded",
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        ErrorReason.ERROR_REASON_OVERLOADED,
        "the gateway takes no more requests at the moment; please try again",
        retry_after_s=1,
    ),
    Refusal(
        "unavailable",
        grpc.StatusCode.UNAVAILABLE,
        ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE,
        "the service cannot be reached at the moment; please try again",
        retry_after_s=1,
    ),
    Refusal(
        "deadline",
        grpc.StatusCode.DEADLINE_EXCEEDED,
        ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED,
        "the call's deadline passed before it was answered",
    ),
)
