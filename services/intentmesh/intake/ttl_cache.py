"""A small cache for answers that stay true for a moment, and for callers that ask the same at once."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class TtlCache(Generic[Key, Value]):
    """Keeps values for `seconds`, at most `capacity` of them; concurrent misses on one key share one load.

    Failures are not kept: everyone who waited gets the exception, and the next caller loads again.
    """

    def __init__(self, seconds: float, capacity: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._capacity = capacity
        self._clock = clock
        # When it was loaded, and the value. Insertion order is expiry order, since all entries live equally long.
        self._entries: dict[Key, tuple[float, Value]] = {}
        self._loads: dict[Key, asyncio.Task[Value]] = {}

    def peek(self, key: Key) -> Value | None:
        """The kept value, if there is one. For caches that keep no None."""
        entry = self._entries.get(key)
        return entry[1] if entry is not None and self._clock() < entry[0] + self._seconds else None

    async def get(self, key: Key, load: Callable[[], Awaitable[Value]], max_age: float = math.inf) -> Value:
        """The kept value, at most `max_age` seconds old, else what `load` returns."""
        entry = self._entries.get(key)
        if entry is not None and self._clock() < entry[0] + min(self._seconds, max_age):
            return entry[1]
        task = self._loads.get(key)
        if task is None:
            task = asyncio.ensure_future(self._load(key, load))
            self._loads[key] = task
            task.add_done_callback(lambda done: self._loaded(key, done))
        # A caller that goes away must not take the answer from the others.
        return await asyncio.shield(task)

    async def _load(self, key: Key, load: Callable[[], Awaitable[Value]]) -> Value:
        # As old as the question: what changed while the answer was on its way is not in it.
        asked_at = self._clock()
        value = await load()
        self._entries.pop(key, None)
        self._entries[key] = (asked_at, value)
        while len(self._entries) > self._capacity:
            del self._entries[next(iter(self._entries))]
        return value

    def _loaded(self, key: Key, task: "asyncio.Task[Value]") -> None:
        self._loads.pop(key, None)
        if not task.cancelled():
            # Seen by whoever waited; if nobody does any more, it is not a failure that anybody has to hear of.
            task.exception()
