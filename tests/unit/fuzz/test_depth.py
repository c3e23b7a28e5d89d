"""How far an input came is told by what was answered."""

import pytest
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    Refusal,
    SubmitIntentResponse,
    SubmitIntentResult,
    SubmitIntentsResponse,
    ValidateIntentResponse,
    Violation,
)

from tests.fuzz.depth import Depth, depth_of, depth_of_reason
from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.outcomes import NO_GRPC, OPEN, Outcome
from tests.fuzz.surface import Door

SERVICE = "/intentmesh.v1.IntakeService/"


def _depth(outcome: Outcome, method: str = "GetIntent", manner: Manner = Manner.WHOLE) -> Depth:
    return depth_of(FuzzInput(1, Door.INTAKE, SERVICE + method, (b"",), manner=manner), outcome)


@pytest.mark.parametrize(
    ("reason", "depth"),
    [
        ("MISSING_FIELD", Depth.STRUCTURE),
        ("UNAUTHENTICATED", Depth.CALLER),
        ("RATE_LIMITED", Depth.CALLER),
        ("DUPLICATE_OUTPUT", Depth.ORDER),
        ("INSUFFICIENT_EXPIRY_MARGIN", Depth.TIME),
        ("WRONG_OWNER", Depth.SECURITY),
        ("INSUFFICIENT_BALANCE", Depth.FUNDS),
        ("DUPLICATE_NONCE", Depth.STATE),
        ("NOT_FOUND", Depth.STATE),
        ("SERVICE_UNAVAILABLE", Depth.STATE),
    ],
)
def test_depth_of_reason__is_where_it_is_found(reason: str, depth: Depth) -> None:
    assert depth_of_reason(ErrorReason.Value(f"ERROR_REASON_{reason}")) == depth


def test_depth__of_answers_and_open_calls() -> None:
    assert _depth(Outcome("OK", responses=(b"",))) is Depth.DONE
    assert _depth(Outcome(OPEN)) is Depth.DONE
    assert _depth(Outcome(OPEN), manner=Manner.CANCELLED) is Depth.LEFT
    assert _depth(Outcome(OPEN, responses=(b"",)), manner=Manner.CANCELLED) is Depth.DONE
    assert _depth(Outcome(NO_GRPC)) is Depth.TRANSPORT
    assert _depth(Outcome("UNAVAILABLE", "Socket closed")) is Depth.TRANSPORT


def test_depth__of_several_items__is_the_deepest() -> None:
    shallow = SubmitIntentResult(refused=Refusal(reason=ErrorReason.ERROR_REASON_MISSING_FIELD))
    deeper = SubmitIntentResult(refused=Refusal(reason=ErrorReason.ERROR_REASON_WRONG_OWNER))
    stored = SubmitIntentResult(accepted=SubmitIntentResponse(created=True))

    def depth(*results: SubmitIntentResult) -> Depth:
        answer = SubmitIntentsResponse(results=results).SerializeToString()
        return _depth(Outcome("OK", responses=(answer,)), "SubmitIntents")

    assert depth(shallow) is Depth.STRUCTURE
    assert depth(deeper, shallow) is Depth.SECURITY
    assert depth(shallow, stored, deeper) is Depth.DONE
    found = ValidateIntentResponse(violations=[Violation(reason=ErrorReason.ERROR_REASON_ZERO_AMOUNT)])
    assert _depth(Outcome("OK", responses=(found.SerializeToString(),)), "ValidateIntent") is Depth.ORDER
