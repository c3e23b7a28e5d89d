"""WatchIntents: the events of all intents that match a filter, in the feed order, resumable on any replica."""

from collections.abc import Mapping
from uuid import UUID

from intentmesh.domain.errors import FailedPrecondition, InvalidArgument, MeshError
from intentmesh.domain.types import parse_address, parse_intent_id
from intentmesh.rpc.errors import reason_name
from intentmesh.status import metrics
from intentmesh.status.feed import Feed, Page, require_held
from intentmesh.status.filters import WatchFilter
from intentmesh.status.streams import Stream, Streams
from intentmesh.status.tokens import ResumeToken
from intentmesh.status.wire import with_token
from intentmesh.v1.error_pb2 import ErrorReason


class _Cursor:
    """How far the reader has come, and the token that says so."""

    def __init__(self, epoch: UUID, fingerprint: bytes, position: int) -> None:
        self.epoch = epoch
        self.position = position
        self._fingerprint = fingerprint
        # The position of the newest token that was handed to the transport.
        self.told_position = -1

    @property
    def token(self) -> str:
        return ResumeToken(self.epoch, self.position, self._fingerprint).encode()

    @property
    def place(self) -> Mapping[str, str]:
        return {"resume_token": self.token}


async def watch_intents(
    feed: Feed, streams: Streams, stream: Stream, wanted: WatchFilter, resume_token: str, *, from_start: bool
) -> None:
    """Never returns. Raises the typed refusals of a token, SLOW_READER and STREAM_CLOSED."""
    with feed.listening(stream.wake):
        cursor = await _start(feed, wanted, resume_token, from_start=from_start)
        # At once, so that the client has a token and knows that the watch stands.
        await _bookmark(stream, cursor)
        ids = tuple(map(parse_intent_id, wanted.intent_ids))
        user = parse_address(wanted.user) if wanted.user else None
        while True:
            stream.wake.clear()
            if feed.epoch != cursor.epoch:
                raise _epoch_changed()
            read = await feed.read(cursor.position, stream.limits.message_events, ids, user)
            page = _within_bytes(read, stream.limits.message_bytes)
            is_behind = page.upto != cursor.position
            await _send(stream, cursor, page, wanted)
            if stream.must_close:
                if cursor.told_position != cursor.position:
                    await _bookmark(stream, cursor)
                raise streams.closed(cursor.place)
            if stream.heartbeat_due:
                await _bookmark(stream, cursor)
            if not is_behind:
                await stream.wait()


async def _start(feed: Feed, wanted: WatchFilter, resume_token: str, *, from_start: bool) -> _Cursor:
    state = await feed.state()
    fingerprint = wanted.fingerprint()
    if not resume_token:
        # "What comes next" includes what is committed and not stamped yet: rather too much than a hole.
        position = state.first_position - 1 if from_start else state.last_position
        return _Cursor(state.epoch, fingerprint, position)
    try:
        token = ResumeToken.decode(resume_token)
        token.check(state.epoch, fingerprint)
        require_held(token.position, state)
        if token.position > state.last_position:
            raise InvalidArgument(
                "the resume token is of a position yet to come", reason=ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN
            )
    except MeshError as error:
        metrics.REFUSED_TOKENS.labels(reason_name(error.reason)).inc()
        raise
    return _Cursor(token.epoch, fingerprint, token.position)


async def _send(stream: Stream, cursor: _Cursor, page: Page, wanted: WatchFilter) -> None:
    """Move the cursor over a page and send what matches; the token covers what did not match, too."""
    before = cursor.place
    frames = [placed.event.frame for placed in page.events if wanted.wants(placed.event)]
    cursor.position = page.upto
    if frames:
        await stream.write(with_token(frames, cursor.token), before, len(frames))
        cursor.told_position = cursor.position


async def _bookmark(stream: Stream, cursor: _Cursor) -> None:
    await stream.write(with_token((), cursor.token), cursor.place)
    cursor.told_position = cursor.position


def _within_bytes(page: Page, limit: int) -> Page:
    """At least one event, however large."""
    size = 0
    for count, placed in enumerate(page.events):
        size += len(placed.event.frame)
        if size > limit and count:
            return Page(page.events[:count], page.events[count - 1].position)
    return page


def _epoch_changed() -> FailedPrecondition:
    return FailedPrecondition(
        "the database was replaced; read the intents again and watch anew without a token",
        reason=ErrorReason.ERROR_REASON_EPOCH_CHANGED,
    )
