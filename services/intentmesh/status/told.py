"""An event as all readers share it: its bytes, ready to be sent, and what decides who gets them."""

import time
from dataclasses import dataclass

from intentmesh.domain.lifecycle import TERMINAL
from intentmesh.status.wire import event_frame
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType, Obligation


@dataclass(frozen=True, slots=True)
class Told:
    """One event. `intent_id` and `user` are lower-case text."""

    frame: bytes
    intent_id: str
    sequence: int
    user: str
    type: "IntentType.ValueType"
    status: "IntentStatus.ValueType"
    # The status never changes again.
    is_terminal: bool
    # Terminal, and nobody owes anything.
    is_over: bool


def told(payload: bytes, event: IntentEvent | None = None) -> Told:
    """From an event's bytes. Raises google.protobuf.message.DecodeError."""
    event = IntentEvent.FromString(payload) if event is None else event
    terminal = event.status in TERMINAL
    return Told(
        frame=event_frame(payload),
        intent_id=event.intent_id,
        sequence=event.sequence,
        user=event.user.lower(),
        type=event.intent_type,
        status=event.status,
        is_terminal=terminal,
        is_over=terminal and event.obligation == Obligation.OBLIGATION_NONE,
    )


def age_seconds(event: IntentEvent) -> float:
    """How long ago it happened; never negative, whatever the clocks say."""
    return max(0.0, time.time() - event.create_time.ToMicroseconds() / 1_000_000)
