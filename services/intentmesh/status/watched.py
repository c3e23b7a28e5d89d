"""Which intents are read by name right now, told to the store, so that retention leaves them alone.

A mark is written once for all readers of an intent, some seconds after the first one came, and renewed while there are
any. So the writes are bounded by the number of intents that are watched, whatever the number of readers and reconnects.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from intentmesh.domain.types import IntentId
from intentmesh.rpc.principals import client_address, current_principal
from intentmesh.status.room import Room
from intentmesh.store import retention
from intentmesh.store.pool import Pool

# Between two looks for intents whose mark is missing or old.
LOOK_SECONDS = 2.0
RENEWED_AFTER_SECONDS = 60.0
# Outlives a renewal that came to nothing.
LASTING = timedelta(seconds=180)
_MARKED_AT_A_TIME = 1_000


@dataclass(slots=True)
class _Watch:
    readers: int = 0
    # By the clock; None before the first mark.
    marked_at: float | None = None


class Watched:
    """One stream may name a thousand, each of which takes a place of `room`. `clock` gives monotonic seconds."""

    def __init__(self, pool: Pool, room: Room, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._room = room
        self._clock = clock
        self._watches: dict[IntentId, _Watch] = {}

    @contextlib.contextmanager
    def reading(self, ids: Iterable[IntentId]) -> Iterator[None]:
        """The caller reads these intents for the time of the block. Raises ResourceExhausted (OVERLOADED)."""
        entered = set(ids)
        if not entered:
            yield
            return
        who = self._room.enter(current_principal(), client_address(), len(entered))
        for intent_id in entered:
            self._watches.setdefault(intent_id, _Watch()).readers += 1
        try:
            yield
        finally:
            self._room.leave(who, len(entered))
            for intent_id in entered:
                self._leave(intent_id)

    async def keep_marked(self) -> None:
        """Background work. Never returns."""
        while True:
            await self.mark()
            await asyncio.sleep(LOOK_SECONDS)

    async def mark(self) -> int:
        """Marks what is due and returns how many intents that were. Raises the errors of asyncpg."""
        now = self._clock()
        due = [intent_id for intent_id, watch in self._watches.items() if _is_due(watch, now)]
        for start in range(0, len(due), _MARKED_AT_A_TIME):
            part = due[start : start + _MARKED_AT_A_TIME]
            async with self._pool.acquire() as conn:
                await retention.mark_watched(conn, part, LASTING)
            for intent_id in part:
                watch = self._watches.get(intent_id)
                if watch is not None:
                    watch.marked_at = now
        return len(due)

    def _leave(self, intent_id: IntentId) -> None:
        watch = self._watches[intent_id]
        watch.readers -= 1
        if watch.readers == 0:
            del self._watches[intent_id]


def _is_due(watch: _Watch, now: float) -> bool:
    return watch.marked_at is None or now >= watch.marked_at + RENEWED_AFTER_SECONDS
