"""Joined bytes are the message that the protos describe."""

import pytest
from intentmesh.status.wire import HEARTBEAT, event_frame, with_token
from intentmesh.v1.status_service_pb2 import WatchIntentResponse, WatchIntentsResponse

from tests.unit.status.events import event


@pytest.mark.parametrize("characters", [0, 1, 100, 127, 128, 20_000])
def test_event_frame__events_of_any_size__are_the_repeated_field(characters: int) -> None:
    events = [event(1, message="x" * characters), event(2)]
    joined = b"".join(event_frame(e.SerializeToString()) for e in events)
    assert WatchIntentResponse.FromString(joined) == WatchIntentResponse(events=events)


def test_with_token__events_and_token__are_both_fields() -> None:
    events = [event(1), event(2)]
    joined = with_token([event_frame(e.SerializeToString()) for e in events], "t" * 200)
    assert WatchIntentsResponse.FromString(joined) == WatchIntentsResponse(events=events, resume_token="t" * 200)


def test_heartbeat__is_a_message_without_events() -> None:
    assert WatchIntentResponse.FromString(HEARTBEAT) == WatchIntentResponse()
