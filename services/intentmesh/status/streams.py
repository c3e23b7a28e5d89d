"""The open streams of this process: bounded in number, ended in order, each with time limits of its own.

A stream has one message in hand and nothing queued. What its reader has not taken stays where all readers share it.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import grpc

from intentmesh.domain.errors import MeshError, ResourceExhausted, Unavailable
from intentmesh.rpc.errors import reason_name
from intentmesh.status import metrics
from intentmesh.v1.error_pb2 import ErrorReason

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RECONNECT_MIN_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 1.0
OVERLOADED_RETRY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Times in seconds. The message limits bound what one stream has in hand."""

    max_streams: int
    heartbeat: float
    write_timeout: float
    age: float
    message_events: int
    message_bytes: int


class Stream:
    """One open stream. `wake` is set by whoever has news; the reader's loop waits on it."""

    def __init__(self, method: str, context: Context, limits: StreamLimits, age_seconds: float) -> None:
        self.wake = asyncio.Event()
        self.limits = limits
        self._method = method
        self._context = context
        self._now = asyncio.get_running_loop().time
        self._ends_at = self._now() + age_seconds
        self._written_at = self._now()
        self._told_to_close = False

    @property
    def must_close(self) -> bool:
        """It has reached its age, or the server is being drained."""
        return self._told_to_close or self._now() >= self._ends_at

    @property
    def heartbeat_due(self) -> bool:
        """Nothing was written for the heartbeat's interval."""
        return self._now() >= self._written_at + self.limits.heartbeat

    def close_soon(self) -> None:
        """Make the reader's loop see `must_close`."""
        self._told_to_close = True
        self.wake.set()

    async def write(self, message: bytes, place: Mapping[str, str], events: int = 0) -> None:
        """Send one message. Raises ResourceExhausted (SLOW_READER) when the reader does not take it in time.

        `place` is where the reader may go on if it does not get this message; it becomes the error's metadata.
        """
        try:
            async with asyncio.timeout(self.limits.write_timeout):
                await self._context.write(message)
        except TimeoutError:
            raise ResourceExhausted(
                f"the stream was not read for {self.limits.write_timeout:g} s; go on where it stopped, and read faster",
                reason=ErrorReason.ERROR_REASON_SLOW_READER,
                metadata=place,
            ) from None
        self._written_at = self._now()
        if events:
            metrics.EVENTS_SENT.labels(self._method).inc(events)

    async def wait(self) -> None:
        """Until there is news, a heartbeat is due or the stream must close. Clear `wake` before looking for news."""
        until = min(self._written_at + self.limits.heartbeat, self._ends_at)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - self._now()):
                await self.wake.wait()


class Streams:
    """All streams of the process."""

    def __init__(self, limits: StreamLimits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._open: set[Stream] = set()
        self._draining = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    @asynccontextmanager
    async def open(self, method: str, context: Context) -> AsyncIterator[Stream]:
        """A stream for the time of the block, counted in and out. Raises ResourceExhausted when there are too many."""
        reason = "OTHER"
        try:
            with self._entered(method, context) as stream:
                yield stream
            reason = "ENDED"
        except MeshError as error:
            name = reason_name(error.reason)
            reason = name if name in metrics.CLOSES else "OTHER"
            raise
        except (asyncio.CancelledError, grpc.aio.AbortError, grpc.aio.InternalError):
            reason = "CLIENT_GONE"
            raise
        finally:
            metrics.STREAM_CLOSES.labels(method, reason).inc()

    @contextlib.contextmanager
    def _entered(self, method: str, context: Context) -> Iterator[Stream]:
        if len(self._open) >= self._limits.max_streams:
            raise ResourceExhausted(
                "this server has no room for another stream",
                reason=ErrorReason.ERROR_REASON_OVERLOADED,
                retry_after=OVERLOADED_RETRY_SECONDS,
            )
        # Streams opened together must not all come back together.
        stream = Stream(method, context, self._limits, self._limits.age * self._random.uniform(0.8, 1.0))
        if self._draining:
            stream.close_soon()
        self._open.add(stream)
        self._all_closed.clear()
        metrics.OPEN_STREAMS.labels(method).inc()
        try:
            yield stream
        finally:
            metrics.OPEN_STREAMS.labels(method).dec()
            self._open.discard(stream)
            if not self._open:
                self._all_closed.set()

    def closed(self, place: Mapping[str, str]) -> Unavailable:
        """What ends a stream as planned. Readers come back at different times."""
        return Unavailable(
            "the server ends this stream as planned; connect again and go on where it stopped",
            reason=ErrorReason.ERROR_REASON_STREAM_CLOSED,
            metadata=place,
            retry_after=self._random.uniform(RECONNECT_MIN_SECONDS, RECONNECT_MAX_SECONDS),
        )

    async def close_all(self) -> None:
        """End every stream as planned, those that open meanwhile included, and wait until all have ended."""
        self._draining = True
        for stream in self._open:
            stream.close_soon()
        await self._all_closed.wait()
