"""The product's series: bounded labels, all of them there from the beginning."""

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import IntentId
from intentmesh.intake import answers
from intentmesh.intake.waiting import Acceptance
from intentmesh.rpc.metrics import INTENT_ERRORS, INTENTS_SUBMITTED, start_intent_series_at_zero
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentStatus

TYPES = ("SWAP", "BRIDGE", "TRANSFER", "UNSPECIFIED")


def _labels(counter: object, *names: str) -> set[tuple[str, ...]]:
    (family,) = counter.collect()  # type: ignore[attr-defined]
    return {tuple(sample.labels[name] for name in names) for sample in family.samples if sample.name.endswith("_total")}


def test_series__before_the_first_intent__are_there_for_every_pair() -> None:
    start_intent_series_at_zero()
    answers.start_error_series_at_zero()
    statuses = ("accepted", "duplicate", "refused")
    assert {(t, s) for t in TYPES for s in statuses} <= _labels(INTENTS_SUBMITTED, "type", "status")
    names = {ErrorReason.Name(reason).removeprefix("ERROR_REASON_") for reason in answers.REASONS}
    assert {(t, n) for t in TYPES for n in names} <= _labels(INTENT_ERRORS, "type", "error_code")


def test_series__types_that_nobody_knows_and_every_reason__make_no_new_ones() -> None:
    start_intent_series_at_zero()
    answers.start_error_series_at_zero()
    submitted, errors = _labels(INTENTS_SUBMITTED, "type", "status"), _labels(INTENT_ERRORS, "type", "error_code")
    for declared in (0, 1, 2, 3, 7, 12345, -1):
        answers.count(declared, Acceptance(IntentId(bytes(32)), IntentStatus.INTENT_STATUS_PENDING, 1, created=True))
        answers.count(declared, RuntimeError("a bug"))
        for reason in answers.REASONS:
            answers.count(declared, InvalidArgument("", reason=reason))
    assert _labels(INTENTS_SUBMITTED, "type", "status") == submitted
    assert _labels(INTENT_ERRORS, "type", "error_code") == errors
