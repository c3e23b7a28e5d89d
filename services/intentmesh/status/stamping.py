"""Giving events their places in the feed. Every replica tries; the store lets one at a time do it."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from intentmesh.status import metrics
from intentmesh.store import events
from intentmesh.store.pool import Pool

log = structlog.get_logger()

FEED_CHANNEL = "intentmesh:feed"
BATCH_EVENTS = 1_000
BACKLOG_SECONDS = 5.0


class Stamper:
    """`on_stamped` is called on this replica at once; the others are told by Valkey, which may fail."""

    def __init__(self, pool: Pool, valkey: Redis, on_stamped: Callable[[], None], *, interval_seconds: float) -> None:
        self._pool = pool
        self._valkey = valkey
        self._on_stamped = on_stamped
        self._interval_seconds = interval_seconds
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There is something to stamp, most likely."""
        self._wake.set()

    async def run(self) -> None:
        """Background work: stamp when woken and every interval. Never returns."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval_seconds):
                    await self._wake.wait()
            self._wake.clear()
            while await self._stamp():
                self._on_stamped()
                await self._tell_others()

    async def measure(self) -> None:
        """Background work: how far stamping is behind. Never returns."""
        while True:
            async with self._pool.acquire() as conn:
                backlog = await events.feed_backlog(conn)
            metrics.FEED_BACKLOG_EVENTS.set(backlog.events)
            metrics.FEED_BACKLOG_SECONDS.set(backlog.seconds)
            await asyncio.sleep(BACKLOG_SECONDS)

    async def _stamp(self) -> int:
        async with self._pool.acquire() as conn, conn.transaction():
            return await events.stamp_feed(conn, BATCH_EVENTS)

    async def _tell_others(self) -> None:
        try:
            await self._valkey.publish(FEED_CHANNEL, b"")
        except (RedisError, OSError) as error:
            log.debug("feed_hint_lost", error=repr(error))
