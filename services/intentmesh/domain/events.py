"""Events: one per change of an intent, the same bytes for every subscriber."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.lifecycle import State
from intentmesh.domain.types import Address, IntentId, format_address, format_intent_id
from intentmesh.v1 import event_pb2, intent_pb2
from intentmesh.v1.error_pb2 import ErrorReason

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400

EventDetail = event_pb2.AwardDetail | event_pb2.AuctionDetail | event_pb2.RetryDetail | intent_pb2.ChainTransaction


def build_event(
    *,
    intent_id: IntentId,
    sequence: int,
    type: "event_pb2.IntentEventType.ValueType",  # noqa: A002 - the field's name in the proto
    state: State,
    intent_type: "intent_pb2.IntentType.ValueType",
    user: Address,
    at: datetime,
    message: str,
    reason: "ErrorReason.ValueType" = ErrorReason.ERROR_REASON_UNSPECIFIED,
    trace_id: str = "",
    detail: EventDetail | None = None,
) -> event_pb2.IntentEvent:
    """The event that tells of `state`. `at` is an aware datetime, `sequence` is dense per intent from 1."""
    event = event_pb2.IntentEvent(
        intent_id=format_intent_id(intent_id),
        sequence=sequence,
        type=type,
        status=state.status,
        phase=state.phase,
        obligation=state.obligation,
        message=message,
        reason=reason,
        intent_type=intent_type,
        user=format_address(user),
        trace_id=trace_id,
    )
    set_timestamp(event.create_time, at)
    match detail:
        case event_pb2.AwardDetail():
            event.award.CopyFrom(detail)
        case event_pb2.AuctionDetail():
            event.auction.CopyFrom(detail)
        case event_pb2.RetryDetail():
            event.retry.CopyFrom(detail)
        case intent_pb2.ChainTransaction():
            event.transaction.CopyFrom(detail)
        case None:
            pass
    return event


def set_timestamp(field: Timestamp, at: datetime) -> None:
    """Puts an aware datetime into a message's field. Raises ValueError for one without a time zone."""
    if at.tzinfo is None:
        raise ValueError("an event's time needs a time zone")
    since = at - _EPOCH
    field.seconds = since.days * _DAY_SECONDS + since.seconds
    field.nanos = since.microseconds * 1000
