"""How outcomes are worded for callers, and counted."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import structlog
from prometheus_client import Counter

from intentmesh.domain.errors import FieldViolation, MeshError
from intentmesh.domain.types import format_intent_id
from intentmesh.intake.waiting import Acceptance, Outcome
from intentmesh.rpc import metrics
from intentmesh.rpc.errors import (
    MAX_MESSAGE_CHARACTERS,
    as_mesh_error,
    field_violations,
    reason_name,
    status_code,
    with_what_fits,
)
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.v1 import intake_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentType

log = structlog.get_logger()

# Of one message; stands in the protos, and a test compares.
MAX_ITEMS = 256


def accepted(acceptance: Acceptance) -> pb.SubmitIntentResponse:
    """The answer to a caller whose intent is stored."""
    answer = pb.SubmitIntentResponse()
    _write(answer, acceptance)
    return answer


def refused(error: Exception) -> pb.Refusal:
    """An error in the middle of a stream, no larger than it would be as a status.

    Bugs tell nothing but their trace id, and leave a line in the log.
    """
    told = as_mesh_error(error, current_trace_id())
    if told.reason == ErrorReason.ERROR_REASON_INTERNAL:
        log.error("item_failed", exc_info=error)
    return with_what_fits(told, _refusal)


def _refusal(told: MeshError, violations: Sequence[FieldViolation], metadata: Mapping[str, str]) -> pb.Refusal:
    return pb.Refusal(
        code=status_code(told).value[0],
        reason=told.reason,
        message=told.message[:MAX_MESSAGE_CHARACTERS],
        field_violations=field_violations(violations),
        retry_after_ms=0 if told.retry_after is None else int(told.retry_after * 1000),
        metadata=metadata,
    )


def results(done: Iterable[tuple[int, Outcome]]) -> pb.SubmitIntentsResponse:
    """The results of some items. Call it in the call that they belong to, whose trace id tells of a bug."""
    answer = pb.SubmitIntentsResponse()
    for item_id, outcome in done:
        # Written in place: made apart, each would be copied into the message.
        result = answer.results.add()
        result.item_id = item_id
        if isinstance(outcome, Acceptance):
            _write(result.accepted, outcome)
        else:
            result.refused.CopyFrom(refused(outcome))
    return answer


def _write(answer: pb.SubmitIntentResponse, acceptance: Acceptance) -> None:
    answer.intent_id = format_intent_id(acceptance.intent_id)
    answer.status = acceptance.status
    answer.sequence = acceptance.sequence
    answer.created = acceptance.created


def count(declared: "IntentType.ValueType", outcome: Outcome) -> None:
    """Into the product's metrics."""
    label = _type_label(declared)
    if isinstance(outcome, Acceptance):
        _submitted(label, "accepted" if outcome.created else "duplicate").inc()
        return
    reason = outcome.reason if isinstance(outcome, MeshError) else as_mesh_error(outcome, "").reason
    _submitted(label, "refused").inc()
    metrics.INTENT_ERRORS.labels(label, reason_name(reason)).inc()


def start_error_series_at_zero() -> None:
    """A rate over a series that appears with its first refusal misses that refusal."""
    for intent_type in IntentType.values():
        for reason in REASONS:
            metrics.INTENT_ERRORS.labels(metrics.type_label(intent_type), reason_name(reason))


# Every reason that a submission can be refused for.
REASONS: tuple["ErrorReason.ValueType", ...] = tuple(
    reason for reason in ErrorReason.values() if 1 <= reason <= 82 or reason in (160, 161, 162, 164, 200)
)


_TYPE_LABELS = {value: metrics.type_label(value) for value in IntentType.values()}


def _type_label(declared: "IntentType.ValueType") -> str:
    """Callers may send any number, and labels are kept for ever."""
    return _TYPE_LABELS.get(declared) or _TYPE_LABELS[IntentType.INTENT_TYPE_UNSPECIFIED]


@cache
def _submitted(type_label: str, status: str) -> Counter:
    return metrics.INTENTS_SUBMITTED.labels(type_label, status)
