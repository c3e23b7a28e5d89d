"""Results of items: a bug is told to the caller by its trace id alone, and to the operator with all there is."""

import tracemalloc

from intentmesh.domain.errors import FieldViolation, InvalidArgument, NotFound
from intentmesh.intake import answers
from intentmesh.rpc.errors import MAX_DETAILS_BYTES
from intentmesh.v1.error_pb2 import ErrorReason
from structlog.testing import capture_logs


def test_refused__by_a_bug__is_logged_with_its_cause_and_told_without() -> None:
    bug = KeyError("the cause")
    with capture_logs() as logs:
        refusal = answers.refused(bug)
    assert refusal.reason == ErrorReason.ERROR_REASON_INTERNAL
    assert "the cause" not in str(refusal)
    assert [(line["log_level"], line["event"], line["exc_info"]) for line in logs] == [("error", "item_failed", bug)]


def test_refused__for_a_reason__is_not_logged() -> None:
    with capture_logs() as logs:
        answers.refused(NotFound("nothing here"))
    assert logs == []


def test_refused__for_more_than_fits__tells_as_much_as_a_status_does() -> None:
    reason = ErrorReason.ERROR_REASON_MISSING_FIELD
    violations = [FieldViolation(f"order.outputs[{number}].recipient", reason, "is required") for number in range(500)]
    refusal = answers.refused(InvalidArgument("x" * 10_000, reason=reason, violations=violations))
    assert refusal.ByteSize() <= MAX_DETAILS_BYTES
    assert len(refusal.field_violations) > 10
    assert int(refusal.metadata["violations_omitted"]) + len(refusal.field_violations) == 500


def test_count__of_any_number_as_type__keeps_nothing_of_it() -> None:
    error = NotFound("nothing here")
    answers.count(-1, error)  # type: ignore[arg-type]  # any int32 comes through
    tracemalloc.start()
    try:
        for number in range(1_000, 21_000):
            answers.count(number, error)  # type: ignore[arg-type]
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000
