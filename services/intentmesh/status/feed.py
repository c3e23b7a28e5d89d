"""The feed over all intents: its newest stretch in memory, followed once for all readers; the rest in the store."""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from intentmesh.domain.errors import OutOfRange
from intentmesh.domain.types import Address, IntentId
from intentmesh.status import metrics
from intentmesh.status.told import Told, age_seconds, told
from intentmesh.store import events, intents
from intentmesh.store.events import FeedEntry, FeedState
from intentmesh.store.pool import Connection, Pool
from intentmesh.v1.event_pb2 import IntentEvent

PAGE_EVENTS = 1_000
# Intents, of a user who is watched. Who has more has much of the feed, which is read as a whole for them.
MOST_READ_BY_NAME = 1_000
# Of the pool's connections, which those who stamp, follow and answer need as well.
REPLAYS_AT_A_TIME = 4


@dataclass(frozen=True, slots=True)
class Placed:
    """An event at its place in the feed."""

    position: int
    event: Told


@dataclass(frozen=True, slots=True)
class Page:
    """Events in their order; up to position `upto` none of those that were asked for is missing."""

    events: list[Placed]
    upto: int


class Stretch:
    """The newest events of the feed, bounded in number and bytes, in the order of their positions."""

    def __init__(self, after: int, max_events: int, max_bytes: int) -> None:
        # Everything after this position, up to `newest`, is held.
        self.after_position = after
        self.newest = after
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._placed: list[Placed] = []
        self._positions: list[int] = []
        self._bytes = 0

    def add(self, placed: Placed) -> None:
        """Append an event behind all others."""
        self._placed.append(placed)
        self._positions.append(placed.position)
        self._bytes += len(placed.event.frame)
        self.newest = placed.position
        # In slices, since removing at the head moves everything behind it.
        if len(self._placed) > 2 * self._max_events or self._bytes > 2 * self._max_bytes:
            self._trim()

    def read(self, after: int, limit: int) -> list[Placed] | None:
        """Up to `limit` events after a position; None when the stretch begins too late for it."""
        if after < self.after_position:
            return None
        start = bisect_right(self._positions, after)
        return self._placed[start : start + limit]

    def _trim(self) -> None:
        cut = max(0, len(self._placed) - self._max_events)
        size = sum(len(placed.event.frame) for placed in self._placed[cut:])
        while size > self._max_bytes and cut < len(self._placed) - 1:
            size -= len(self._placed[cut].event.frame)
            cut += 1
        if cut:
            self.after_position = self._positions[cut - 1]
            del self._placed[:cut]
            del self._positions[:cut]
        self._bytes = size


class Feed:
    """`open` before use."""

    def __init__(self, pool: Pool, *, max_events: int, max_bytes: int, poll_seconds: float) -> None:
        self._pool = pool
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._poll_seconds = poll_seconds
        self._listeners: set[asyncio.Event] = set()
        self._look_now = asyncio.Event()
        self._replays = asyncio.Semaphore(REPLAYS_AT_A_TIME)
        self._epoch = UUID(int=0)
        self._stretch = Stretch(0, max_events, max_bytes)

    async def open(self) -> None:
        """Begin at the end of the feed."""
        self._begin(await self.state())

    @property
    def epoch(self) -> UUID:
        """Identity of the database that the positions are of."""
        return self._epoch

    async def state(self) -> FeedState:
        """As the store has it now."""
        async with self._pool.acquire() as conn:
            return await events.feed_state(conn)

    @contextlib.contextmanager
    def listening(self, listener: asyncio.Event) -> Iterator[None]:
        """Have `listener` set at each news for the time of the block."""
        self._listeners.add(listener)
        try:
            yield
        finally:
            self._listeners.discard(listener)

    async def read(self, after: int, limit: int, of: Sequence[IntentId] = (), user: Address | None = None) -> Page:
        """Up to `limit` events after a position, from memory or the store.

        Of the store's, those of other intents than `of` and of other users than `user` may be left out, where given.
        Raises OutOfRange (POSITION_TOO_OLD) when what follows the position is no longer held.
        """
        kept = self._stretch.read(after, limit)
        if kept is not None:
            return Page(kept, kept[-1].position if kept else after)
        async with self._replays, self._pool.acquire() as conn:
            page, upto = await _read(conn, after, limit, of, user)
            # In this sequence: had retention removed something before the page was read, it shows now.
            state = await events.feed_state(conn)
        require_held(after, state)
        metrics.REPLAYED_EVENTS.labels("WatchIntents").inc(len(page))
        return Page([Placed(entry.position, told(entry.payload)) for entry in page], upto)

    def look(self) -> None:
        """There may be news."""
        self._look_now.set()

    async def follow(self) -> None:
        """Background work: take in what was stamped, when told to look and every `poll_seconds`. Never returns."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._look_now.wait()
            self._look_now.clear()
            await self._take_in()

    async def _take_in(self) -> None:
        state = await self.state()
        if state.epoch != self._epoch:
            # Another database under the same name: readers find out by their tokens.
            self._begin(state)
            self._tell()
            return
        while self._stretch.newest < state.last_position:
            async with self._pool.acquire() as conn:
                page = await events.read_feed(conn, self._stretch.newest, PAGE_EVENTS)
            if not page:
                return
            for entry in page:
                self._stretch.add(_placed(entry))
            self._tell()

    def _begin(self, state: FeedState) -> None:
        self._epoch = state.epoch
        self._stretch = Stretch(state.last_position, self._max_events, self._max_bytes)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener.set()


async def _read(
    conn: Connection, after: int, limit: int, of: Sequence[IntentId], user: Address | None
) -> tuple[list[FeedEntry], int]:
    """A page from the store, and the position up to which nothing is missing from it."""
    last = (await events.feed_state(conn)).last_position if of or user is not None else after
    if not of and user is not None:
        # Asked after the position: an event up to there is of an intent that is found now.
        of = await intents.ids_of_user(conn, user, MOST_READ_BY_NAME + 1)
        if not of:
            return [], last
    if of and len(of) <= MOST_READ_BY_NAME:
        page = await events.read_feed_of(conn, of, after, last, limit)
        return page, page[-1].position if len(page) == limit else last
    page = await events.read_feed(conn, after, limit)
    return page, page[-1].position if page else after


def require_held(after: int, state: FeedState) -> None:
    """Raises OutOfRange (POSITION_TOO_OLD) when the event after a position may be gone."""
    if after < state.first_position - 1:
        raise OutOfRange(
            "what follows this position is no longer held; read the intents again and watch anew without the token",
            metadata={"earliest": str(state.first_position)},
        )


def _placed(entry: FeedEntry) -> Placed:
    event = IntentEvent.FromString(entry.payload)
    metrics.EVENT_DELAY_SECONDS.labels("feed").observe(age_seconds(event))
    return Placed(entry.position, told(entry.payload, event))
