"""Wakes those who follow a job when something was told. A lost ring only delays: followers also look by themselves."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from intentmesh.domain.types import IntentId


class Ear:
    """One follower's side."""

    def __init__(self) -> None:
        self._rang = asyncio.Event()

    def ring(self) -> None:
        self._rang.set()

    async def wait(self, seconds: float) -> None:
        """Return at the next ring, or one since the last wait, or after the time."""
        try:
            async with asyncio.timeout(seconds):
                await self._rang.wait()
        except TimeoutError:
            return
        finally:
            self._rang.clear()


class Bell:
    """All followers of this process."""

    def __init__(self) -> None:
        self._ears: dict[IntentId, set[Ear]] = defaultdict(set)

    @contextmanager
    def listen(self, intent_id: IntentId) -> Iterator[Ear]:
        ear = Ear()
        self._ears[intent_id].add(ear)
        try:
            yield ear
        finally:
            self._ears[intent_id].discard(ear)
            if not self._ears[intent_id]:
                del self._ears[intent_id]

    def ring(self, intent_id: IntentId) -> None:
        """Something was told about this intent."""
        for ear in self._ears.get(intent_id, ()):
            ear.ring()

    def ring_all(self) -> None:
        """Everybody looks up, as when the service closes."""
        for ears in self._ears.values():
            for ear in ears:
                ear.ring()
