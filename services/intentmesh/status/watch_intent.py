"""WatchIntent: the events of one intent after a sequence, without a hole, until all is told."""

from collections.abc import Mapping

from intentmesh.domain.errors import FieldViolation, InvalidArgument
from intentmesh.domain.types import IntentId
from intentmesh.status.hub import History, Hub
from intentmesh.status.streams import Stream, Streams
from intentmesh.status.told import Told
from intentmesh.status.wire import HEARTBEAT
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchEnd


async def watch_intent(
    hub: Hub, streams: Streams, stream: Stream, intent_id: IntentId, after: int, end: "WatchEnd.ValueType"
) -> None:
    """Returns when all is told.

    Raises NotFound, InvalidArgument (`after` is yet to come), and what ends a stream: SLOW_READER, STREAM_CLOSED.
    """
    async with hub.reading(intent_id, stream.wake) as history:
        await _require_past(hub, history, after)
        cursor = after
        if _has_told_all(history.at(cursor), end):
            return
        # Tells the client that the watch stands; small, so that what opens the answer never waits behind what is large.
        await stream.write(HEARTBEAT, _place(cursor))
        while True:
            stream.wake.clear()
            batch = _until_end(await hub.read(history, cursor, stream.limits.message_events), end)
            batch = _within_bytes(batch, stream.limits.message_bytes)
            if batch:
                await stream.write(b"".join(event.frame for event in batch), _place(cursor), len(batch))
                cursor = batch[-1].sequence
                if _has_told_all(batch[-1], end):
                    return
            if stream.must_close:
                raise streams.closed(_place(cursor))
            if batch:
                continue
            if stream.heartbeat_due:
                await stream.write(HEARTBEAT, _place(cursor))
            await stream.wait()


async def _require_past(hub: Hub, history: History, after: int) -> None:
    if after > history.newest:
        # The caller may have heard of an event before this replica has.
        await hub.refresh(history)
    if after > history.newest:
        message = f"the newest sequence of this intent is {history.newest}"
        violation = FieldViolation("after_sequence", ErrorReason.ERROR_REASON_INVALID_FIELD, message)
        raise InvalidArgument(f"there is no sequence {after} yet; {message}", violations=(violation,))


def _has_told_all(event: Told | None, end: "WatchEnd.ValueType") -> bool:
    if event is None:
        return False
    return event.is_over if end == WatchEnd.WATCH_END_SETTLED else event.is_terminal


def _until_end(events: list[Told], end: "WatchEnd.ValueType") -> list[Told]:
    for place, event in enumerate(events):
        if _has_told_all(event, end):
            return events[: place + 1]
    return events


def _within_bytes(events: list[Told], limit: int) -> list[Told]:
    """At least one event, however large."""
    size = 0
    for place, event in enumerate(events):
        size += len(event.frame)
        if size > limit and place:
            return events[:place]
    return events


def _place(cursor: int) -> Mapping[str, str]:
    return {"after_sequence": str(cursor)}
