"""The level in memory: for seconds at most, bounded, and never going back to an older sequence."""

import time
from collections.abc import Callable

from cachetools import TLRUCache

from intentmesh.domain.types import IntentId
from intentmesh.status.snapshot import Snapshot

CHANGING_SECONDS = 1.0
OVER_SECONDS = 60.0
UNKNOWN_SECONDS = 0.25


class Unknown:
    """No such intent, a moment ago."""


_UNKNOWN = Unknown()


class MemoryCache:
    """`timer` gives seconds."""

    def __init__(self, size: int, timer: Callable[[], float] = time.monotonic) -> None:
        self._entries: TLRUCache[IntentId, Snapshot | Unknown] = TLRUCache(size, ttu=_expiry, timer=timer)

    def get(self, intent_id: IntentId) -> Snapshot | Unknown | None:
        """What is known, or None."""
        return self._entries.get(intent_id)

    def put(self, intent_id: IntentId, snapshot: Snapshot) -> Snapshot:
        """Keep a snapshot unless a newer one is kept; returns the newer of both."""
        kept = self._entries.get(intent_id)
        if isinstance(kept, Snapshot) and kept.sequence > snapshot.sequence:
            return kept
        self._entries[intent_id] = snapshot
        return snapshot

    def put_unknown(self, intent_id: IntentId) -> None:
        """Keep for a moment that an intent is unknown, unless it has become known meanwhile."""
        if not isinstance(self._entries.get(intent_id), Snapshot):
            self._entries[intent_id] = _UNKNOWN

    def raise_known(self, intent_id: IntentId, snapshot: Snapshot) -> None:
        """A change was heard of: renew what is kept; what nobody asked for is not kept."""
        if self._entries.get(intent_id) is not None:
            self.put(intent_id, snapshot)


def _expiry(_: IntentId, entry: Snapshot | Unknown, now: float) -> float:
    if isinstance(entry, Unknown):
        return now + UNKNOWN_SECONDS
    return now + (OVER_SECONDS if entry.is_over else CHANGING_SECONDS)
