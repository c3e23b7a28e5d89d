"""An intent's event as one line, as mark-up and as JSON."""

from collections.abc import Mapping
from datetime import UTC

from google.protobuf import json_format
from rich.markup import escape

from intentmesh.cli.output import PHASE_STYLES, JsonValue, enum_label
from intentmesh.v1 import event_pb2
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus

SHORT_ID_CHARACTERS = 10


def phase_of(event: event_pb2.IntentEvent) -> str:
    """ "FILLED" and so on."""
    return enum_label(IntentPhase.Name(event.phase), "INTENT_PHASE")


def status_of(event: event_pb2.IntentEvent) -> str:
    """ "EXECUTING" and so on."""
    return enum_label(IntentStatus.Name(event.status), "INTENT_STATUS")


def event_record(event: event_pb2.IntentEvent) -> Mapping[str, JsonValue]:
    """The event as proto JSON."""
    record: Mapping[str, JsonValue] = json_format.MessageToDict(event, preserving_proto_field_name=True)
    return record


def event_line(event: event_pb2.IntentEvent) -> str:
    """Time, short id, sequence, status, phase, sentence."""
    return (
        f"{_clock(event)} {event.intent_id[:SHORT_ID_CHARACTERS]} #{event.sequence} "
        f"{status_of(event)}/{phase_of(event)} {event.message}"
    )


def event_styled(event: event_pb2.IntentEvent) -> str:
    """The line with mark-up for a terminal."""
    phase = phase_of(event)
    style = PHASE_STYLES.get(phase, "white")
    return (
        f"[dim]{_clock(event)}[/] [bold]{event.intent_id[:SHORT_ID_CHARACTERS]}[/] [dim]#{event.sequence:<2}[/] "
        f"{status_of(event):<9} [{style}]{phase:<9}[/] {escape(event.message)}"
    )


def _clock(event: event_pb2.IntentEvent) -> str:
    local = event.create_time.ToDatetime(tzinfo=UTC).astimezone()
    return local.strftime("%H:%M:%S.") + f"{local.microsecond // 1000:03d}"
