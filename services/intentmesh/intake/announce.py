"""Telling of a change after its commit. It cannot undo it, so it neither fails the call nor delays the answer."""

import asyncio
from collections.abc import Sequence

from intentmesh.store.hints import HintPublisher
from intentmesh.v1.event_pb2 import IntentEvent


class Announcer:
    """Publishes hints (and the log line that goes with them) behind the caller's back."""

    def __init__(self, hints: HintPublisher) -> None:
        self._hints = hints
        self._publishing: set[asyncio.Task[None]] = set()

    def announce(self, events: Sequence[IntentEvent]) -> None:
        """Tells of committed events."""
        if not events:
            return
        task = asyncio.ensure_future(self._hints.publish(events))
        self._publishing.add(task)
        task.add_done_callback(self._publishing.discard)

    async def drain(self) -> None:
        """Waits for the hints that are on their way."""
        while self._publishing:
            await asyncio.gather(*self._publishing, return_exceptions=True)
