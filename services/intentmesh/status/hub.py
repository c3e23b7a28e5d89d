"""Histories of watched intents, each read from the store once and shared by all its readers.

A history grows by hints, as long as each is the next event; after a gap, and in a slow poll behind it all, from the
store. Readers come with a cursor, so there is no seam between what was stored and what comes.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from itertools import islice

from intentmesh.domain.errors import NotFound
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.status import metrics
from intentmesh.status.told import Told, told
from intentmesh.store import events
from intentmesh.store.pool import Pool

KEPT_EVENTS = 256
KEPT_BYTES = 131_072
PAGE_EVENTS = 1_000
POLLED_INTENTS = 1_000


class History:
    """The newest stretch of one intent's events, dense, in the order of their sequence."""

    def __init__(self, intent_id: IntentId) -> None:
        self.intent_id = intent_id
        self.listeners: set[asyncio.Event] = set()
        self.loading = asyncio.Lock()
        # How many loads have begun.
        self.loads = 0
        self._kept: deque[Told] = deque()
        self._bytes = 0
        self.newest = 0

    @property
    def oldest(self) -> int:
        """Sequence of the first event kept."""
        return self.newest - len(self._kept) + 1

    def add(self, event: Told) -> bool:
        """Append the next event. False, and nothing happens, when it is another one."""
        if event.sequence != self.newest + 1:
            return False
        self._kept.append(event)
        self._bytes += len(event.frame)
        self.newest = event.sequence
        while len(self._kept) > KEPT_EVENTS or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft().frame)
        for listener in self.listeners:
            listener.set()
        return True

    def after(self, sequence: int, limit: int) -> list[Told] | None:
        """Events after a sequence; None when the stretch begins too late for it."""
        if sequence + 1 < self.oldest:
            return None
        skip = sequence + 1 - self.oldest
        return list(islice(self._kept, skip, skip + limit))

    def at(self, sequence: int) -> Told | None:
        """One event, where it is kept."""
        place = sequence - self.oldest
        return self._kept[place] if 0 <= place < len(self._kept) else None


class Hub:
    """The histories. `idle_kept` of them stay when nobody reads them, so that a storm of reconnects finds them."""

    def __init__(self, pool: Pool, *, idle_kept: int, poll_seconds: float) -> None:
        self._pool = pool
        self._idle_kept = idle_kept
        self._poll_seconds = poll_seconds
        self._histories: dict[str, History] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._gaps: set[str] = set()
        self._look_now = asyncio.Event()

    @asynccontextmanager
    async def reading(self, intent_id: IntentId, listener: asyncio.Event) -> AsyncIterator[History]:
        """The history of an intent for a reader; `listener` is set at each news. Raises NotFound."""
        key = format_intent_id(intent_id)
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = History(intent_id)
        self._idle.pop(key, None)
        history.listeners.add(listener)
        try:
            if history.newest == 0:
                await self._load_first(history)
            if history.newest == 0:
                raise NotFound("there is no such intent", metadata={"resource": key})
            yield history
        finally:
            history.listeners.discard(listener)
            if not history.listeners:
                self._leave(key, history)

    async def read(self, history: History, after: int, limit: int) -> list[Told]:
        """Events after a sequence, from memory or, for a reader that is far behind, from the store."""
        kept = history.after(after, limit)
        if kept is not None:
            return kept
        async with self._pool.acquire() as conn:
            page = await events.read_events(conn, history.intent_id, after, limit)
        metrics.REPLAYED_EVENTS.labels("WatchIntent").inc(len(page))
        return [told(event.payload) for event in page]

    async def refresh(self, history: History) -> None:
        """Read what the store has and the history has not. Callers that wait at once share the load that follows."""
        loads = history.loads
        async with history.loading:
            # A load that was under way at the call may have read too early; one that began after it has not.
            if history.loads == loads:
                await self._load(history)

    async def _load_first(self, history: History) -> None:
        async with history.loading:
            if history.newest == 0:
                await self._load(history)

    async def _load(self, history: History) -> None:
        history.loads += 1
        while True:
            async with self._pool.acquire() as conn:
                page = await events.read_events(conn, history.intent_id, history.newest, PAGE_EVENTS)
            for event in page:
                history.add(told(event.payload))
            if len(page) < PAGE_EVENTS:
                return

    def hear(self, event: Told) -> None:
        """A hint. Events of intents that nobody watches are of no interest."""
        history = self._histories.get(event.intent_id)
        if history is None or history.add(event) or event.sequence <= history.newest:
            return
        self._gaps.add(event.intent_id)
        self._look_now.set()

    def hints_were_lost(self) -> None:
        """Look at everything now."""
        self._gaps.update(self._histories)
        self._look_now.set()

    async def heal(self) -> None:
        """Background work: close gaps at once, and look at everything every `poll_seconds`. Never returns."""
        loop = asyncio.get_running_loop()
        next_poll = loop.time() + self._poll_seconds
        while True:
            try:
                async with asyncio.timeout_at(next_poll):
                    await self._look_now.wait()
            except TimeoutError:
                next_poll = loop.time() + self._poll_seconds
                self._gaps.update(self._histories)
            self._look_now.clear()
            gaps, self._gaps = self._gaps, set()
            await self._catch_up(gaps)

    async def _catch_up(self, keys: Iterable[str]) -> None:
        found = [self._histories[key] for key in keys if key in self._histories]
        for start in range(0, len(found), POLLED_INTENTS):
            part = found[start : start + POLLED_INTENTS]
            async with self._pool.acquire() as conn:
                newest = await events.newest_sequences(conn, [history.intent_id for history in part])
            for history in part:
                missing = newest.get(history.intent_id, 0) - history.newest
                if missing > 0:
                    metrics.GAPS.inc(missing)
                    await self.refresh(history)

    def _leave(self, key: str, history: History) -> None:
        if history.newest == 0:
            self._histories.pop(key, None)
            return
        self._idle[key] = None
        while len(self._idle) > self._idle_kept:
            del self._histories[self._idle.popitem(last=False)[0]]
