"""How far into the mesh an input came, by what was answered: a campaign that dies at the door shows nothing."""

from enum import StrEnum

from intentmesh.rpc.errors import reason_from_name
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentsResponse, ValidateIntentResponse

from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.oracle import is_transport, reason_of
from tests.fuzz.outcomes import HANG, NO_GRPC, OPEN, Outcome
from tests.fuzz.surface import rpc_of


class Depth(StrEnum):
    """From the outside in. Of several items the deepest counts."""

    TRANSPORT = "transport"
    """Answered by a library, or by nothing that can be read."""
    LEFT = "left"
    """The caller went away before there was an answer; how far it came is not known."""
    STRUCTURE = "structure"
    """Not the message it should be, or against the rules of its fields."""
    CALLER = "caller"
    """Well formed; the caller may not do this, or not so often."""
    ORDER = "order"
    TIME = "time"
    SECURITY = "security"
    FUNDS = "funds"
    """Business and chain."""
    STATE = "state"
    """The handler asked the store, the chain or another service, and what it found was in the way."""
    DONE = "done"


DEPTHS = tuple(Depth)
_CALLERS = (
    ErrorReason.ERROR_REASON_NOT_ALLOWED,
    ErrorReason.ERROR_REASON_UNAUTHENTICATED,
    ErrorReason.ERROR_REASON_RATE_LIMITED,
    ErrorReason.ERROR_REASON_TOO_MANY_INTENTS_CREATED,
    ErrorReason.ERROR_REASON_OVERLOADED,
)
_STORED_ALREADY = (ErrorReason.ERROR_REASON_DUPLICATE_NONCE, ErrorReason.ERROR_REASON_REQUEST_ID_REUSED)
# The blocks of the enum in error.proto, by the first number of the next one.
_BLOCKS = ((10, Depth.STRUCTURE), (30, Depth.ORDER), (40, Depth.TIME), (60, Depth.SECURITY), (80, Depth.FUNDS))


def depth_of(one: FuzzInput, outcome: Outcome) -> Depth:
    """Of one input."""
    if outcome.status in (NO_GRPC, HANG) or is_transport(one, outcome):
        return Depth.TRANSPORT
    if outcome.status == "OK":
        return max((_depth_of_answer(one, raw) for raw in outcome.responses), key=DEPTHS.index, default=Depth.DONE)
    if outcome.status == OPEN:
        # A stream that goes on was taken in; one that its caller left may have been anywhere.
        stays = one.manner in (Manner.WHOLE, Manner.COMPRESSED)
        return Depth.DONE if outcome.responses or stays else Depth.LEFT
    return depth_of_reason(reason_from_name(reason_of(outcome)))


def depth_of_reason(reason: "ErrorReason.ValueType") -> Depth:
    """Where in the mesh somebody is refused for it."""
    if reason in _CALLERS:
        return Depth.CALLER
    if reason in _STORED_ALREADY:
        return Depth.STATE
    if reason == ErrorReason.ERROR_REASON_UNSPECIFIED:
        return Depth.TRANSPORT
    return next((depth for end, depth in _BLOCKS if reason < end), Depth.STATE)


def _depth_of_answer(one: FuzzInput, raw: bytes) -> Depth:
    rpc = rpc_of(one.path)
    if rpc is None or one.manner is Manner.FRAMES:
        return Depth.DONE
    reasons: list[ErrorReason.ValueType] = []
    if rpc.response is SubmitIntentsResponse:
        results = SubmitIntentsResponse.FromString(raw).results
        if any(result.HasField("accepted") for result in results):
            return Depth.DONE
        reasons = [result.refused.reason for result in results]
    elif rpc.response is ValidateIntentResponse:
        reasons = [violation.reason for violation in ValidateIntentResponse.FromString(raw).violations]
    return max((depth_of_reason(reason) for reason in reasons), key=DEPTHS.index, default=Depth.DONE)
