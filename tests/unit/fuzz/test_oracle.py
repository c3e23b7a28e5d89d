"""The fuzzer's oracle sees what it is there for, and forgives only what was earned."""

import pytest
from google.rpc import error_details_pb2, status_pb2
from intentmesh.v1.intake_service_pb2 import Refusal, SubmitIntentResult, SubmitIntentsResponse

from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.oracle import judge
from tests.fuzz.outcomes import HANG, OPEN, Outcome
from tests.fuzz.surface import Door, all_rpcs

GET = "/intentmesh.v1.IntakeService/GetIntent"
SUBMIT_MANY = "/intentmesh.v1.IntakeService/SubmitIntents"


def _input(path: str = GET, manner: Manner = Manner.WHOLE, message: bytes = b"") -> FuzzInput:
    return FuzzInput(1, Door.INTAKE, path, (message,), manner=manner)


def _error(code: int, name: str, message: str, reason: str = "", domain: str = "intentmesh") -> Outcome:
    status = status_pb2.Status(code=code, message=message)
    if reason:
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return Outcome(name, message, (("grpc-status-details-bin", status.SerializeToString()),))


def _rules(one: FuzzInput, outcome: Outcome) -> set[str]:
    return {violation.rule for violation in judge(one, outcome)}


def test_judge__refusal_as_promised__is_fine() -> None:
    assert _rules(_input(), _error(3, "INVALID_ARGUMENT", "the request breaks rules", "INVALID_FIELD")) == set()


@pytest.mark.parametrize(
    ("outcome", "rule"),
    [
        (_error(13, "INTERNAL", "internal error", "INTERNAL"), "bug-status"),
        (Outcome("UNKNOWN", "Unexpected <class 'KeyError'>: 'x'"), "bug-status"),
        (Outcome("UNKNOWN", "Unexpected <class 'KeyError'>: 'x'"), "leak"),
        (Outcome("INVALID_ARGUMENT", "bare"), "no-reason"),
        (_error(3, "INVALID_ARGUMENT", "m", "NO_SUCH_REASON"), "no-reason"),
        (_error(3, "INVALID_ARGUMENT", "m", "INVALID_FIELD", domain="elsewhere"), "no-reason"),
        (_error(5, "NOT_FOUND", 'relation "intents" does not exist', "NOT_FOUND"), "leak"),
        (_error(5, "NOT_FOUND", "see /usr/lib/python3/x", "NOT_FOUND"), "leak"),
        (Outcome("NOT_FOUND", "one", _error(5, "NOT_FOUND", "another", "NOT_FOUND").trailers), "damaged"),
        (Outcome("OK", responses=(b"\xff\xff",)), "damaged"),
        (Outcome(HANG), "hang"),
    ],
)
def test_judge__broken_promise__is_seen(outcome: Outcome, rule: str) -> None:
    assert rule in _rules(_input(), outcome)


@pytest.mark.parametrize("refused", [Refusal(code=13, reason=200), Refusal(code=2), Refusal(code=3)])
def test_judge__item_refused_by_a_bug__is_seen(refused: Refusal) -> None:
    answer = SubmitIntentsResponse(results=[SubmitIntentResult(item_id=1, refused=refused)])
    outcome = Outcome("OK", responses=(answer.SerializeToString(),))
    assert _rules(_input(SUBMIT_MANY), outcome) == {"bug-status"}


def test_judge__words_of_the_caller_itself__are_no_leak() -> None:
    outcome = _error(5, "NOT_FOUND", "no solver /etc/passwd", "NOT_FOUND")
    assert _rules(_input(message=b"/etc/passwd"), outcome) == set()
    assert _rules(_input(message=b"passwd"), outcome) == {"leak"}


def test_judge__error_of_the_transport__is_excused_only_where_it_was_earned() -> None:
    large = Outcome("RESOURCE_EXHAUSTED", "SERVER: Received message larger than max (1100000 vs. 1048576)")
    assert _rules(_input(message=bytes(1_100_000)), large) == set()
    assert _rules(_input(), large) == {"no-reason"}
    timeout = Outcome("INTERNAL", "Error parsing 'grpc-timeout' metadata: invalid value")
    assert _rules(_input(manner=Manner.FRAMES), timeout) == set()
    assert _rules(_input(), timeout) == {"bug-status"}
    # An error with details is a service's, whatever it looks like.
    ours = _error(13, "INTERNAL", "Error parsing 'grpc-timeout' metadata", "INTERNAL")
    assert _rules(_input(manner=Manner.FRAMES), ours) == {"bug-status"}


def test_judge__call_that_was_left__is_fine() -> None:
    assert _rules(_input(manner=Manner.CANCELLED), Outcome(OPEN)) == set()
    assert _rules(_input(manner=Manner.CANCELLED), Outcome("CANCELLED")) == set()
    assert _rules(_input(), Outcome("CANCELLED")) == {"no-reason"}


def test_surface__all_services_of_the_mesh__are_there() -> None:
    services = {rpc.path.split("/")[1] for rpc in all_rpcs()}
    ours = ("Intake", "SolverRegistry", "Executor", "Status", "Attester", "Solver")
    assert {f"intentmesh.v1.{name}Service" for name in ours} <= services
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} <= services
