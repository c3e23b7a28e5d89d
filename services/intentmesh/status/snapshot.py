"""A status as the cache keeps it: bytes of the answer, ready to be sent but for the level that answers."""

from dataclasses import dataclass
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.lifecycle import TERMINAL
from intentmesh.domain.types import format_intent_id
from intentmesh.store.rows import IntentRow
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import Obligation
from intentmesh.v1.status_service_pb2 import GetIntentStatusResponse, StatusSource

_SOURCE_TAG = bytes([GetIntentStatusResponse.SOURCE_FIELD_NUMBER << 3])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`payload` is a GetIntentStatusResponse without its source. `is_over`: nothing changes any more."""

    sequence: int
    is_over: bool
    payload: bytes

    def response(self, source: "StatusSource.ValueType") -> bytes:
        """The bytes of the answer."""
        return self.payload + _SOURCE_TAG + bytes([source])


def snapshot_of_row(row: IntentRow) -> Snapshot:
    """The status of a stored intent."""
    response = GetIntentStatusResponse(
        intent_id=format_intent_id(row.intent_id),
        type=row.type,
        status=row.state.status,
        phase=row.state.phase,
        obligation=row.state.obligation,
        sequence=row.sequence,
        message=row.message,
        reason=row.reason,
        update_time=_timestamp(row.updated_at),
    )
    return Snapshot(row.sequence, row.state.is_over, response.SerializeToString())


def snapshot_of_event(event: IntentEvent) -> Snapshot:
    """The status after an event."""
    response = GetIntentStatusResponse(
        intent_id=event.intent_id,
        type=event.intent_type,
        status=event.status,
        phase=event.phase,
        obligation=event.obligation,
        sequence=event.sequence,
        message=event.message,
        reason=event.reason,
        update_time=event.create_time,
    )
    over = event.status in TERMINAL and event.obligation == Obligation.OBLIGATION_NONE
    return Snapshot(event.sequence, over, response.SerializeToString())


def _timestamp(at: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(at)
    return timestamp
