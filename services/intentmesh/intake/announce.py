"""Telling of a change after its commit. It cannot undo it, so it neither fails the call nor delays the answer."""

import asyncio
from collections.abc import Sequence
from contextvars import Context

from intentmesh.store.hints import HintPublisher
from intentmesh.v1.event_pb2 import IntentEvent

MAX_AT_ONCE = 1_000
# Between two publications. A command costs some 0.3 ms of a core whatever is in it, which this bounds; an event that
# comes alone is told at once.
REST_SECONDS = 0.01


class Announcer:
    """Publishes hints (and the log line that goes with them) behind the caller's back, in the order of their commits.

    One publication is under way at a time, and rests follow: what is committed meanwhile goes out in the next.
    """

    def __init__(self, hints: HintPublisher) -> None:
        self._hints = hints
        self._waiting: list[IntentEvent] = []
        self._publishing: asyncio.Task[None] | None = None

    def announce(self, events: Sequence[IntentEvent]) -> None:
        """Tells of committed events."""
        self._waiting += events
        if self._waiting and self._publishing is None:
            # In no call's context: it publishes what others commit as well.
            self._publishing = asyncio.get_running_loop().create_task(self._publish(), context=Context())

    async def drain(self) -> None:
        """Waits for the hints that are on their way."""
        while self._publishing is not None:
            await asyncio.wait([self._publishing])

    async def _publish(self) -> None:
        try:
            while self._waiting:
                events, self._waiting = self._waiting[:MAX_AT_ONCE], self._waiting[MAX_AT_ONCE:]
                await self._hints.publish(events)
                await asyncio.sleep(REST_SECONDS)
        finally:
            self._publishing = None
