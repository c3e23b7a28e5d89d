"""The open streams of this process: each has a place and time limits of its own, and is ended in order.

A stream has one message in hand and nothing queued. What its reader has not taken stays where all readers share it.
Its place is held until its call has ended: a reader who takes nothing does not take the reason of the close either.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

import grpc
import structlog

from intentmesh.domain.errors import MeshError, ResourceExhausted, Unavailable
from intentmesh.rpc.cutting import Task, cut_off
from intentmesh.rpc.errors import reason_name
from intentmesh.rpc.principals import client_address, current_principal
from intentmesh.status import metrics
from intentmesh.status.room import Room
from intentmesh.v1.error_pb2 import ErrorReason

log = structlog.get_logger()

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

RECONNECT_MIN_SECONDS = 0.1
RECONNECT_MAX_SECONDS = 1.0
# Between two looks for calls that outlast their streams. Those that end them hold up everybody for a moment.
LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Times in seconds. The message limits bound what one stream has in hand."""

    heartbeat: float
    write_timeout: float
    last_word: float
    age: float
    message_events: int
    message_bytes: int


class Stream:
    """One open stream. `wake` is set by whoever has news; the reader's loop waits on it.

    `give_up` is called where the reader cannot even be told that the stream is closed.
    """

    def __init__(
        self,
        method: str,
        context: Context,
        limits: StreamLimits,
        age_seconds: float,
        give_up: Callable[["Stream"], None],
    ) -> None:
        self.wake = asyncio.Event()
        self.limits = limits
        self._method = method
        self._context = context
        self._give_up = give_up
        self._now = asyncio.get_running_loop().time
        self._ends_at = self._now() + age_seconds
        self._written_at = self._now()
        self._told_to_close = False
        self._begun = False

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
                if not self._begun:
                    # Not with a message, which may wait for its reader: while this is not out, grpc takes no status.
                    await self._context.send_initial_metadata(())
                    self._begun = True
                await self._context.write(message)
        except TimeoutError:
            if not self._begun:
                # grpc takes no status yet, and would forget a call that goes on without a handler. So this one waits.
                self._give_up(self)
                await asyncio.Event().wait()
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

    def __init__(self, limits: StreamLimits, room: Room, random: Random) -> None:
        self._limits = limits
        self._room = room
        self._random = random
        self._open: set[Stream] = set()
        # Handlers of calls whose streams are over or given up, and since when, by the clock of the loop.
        self._leaving: dict[Task, float] = {}
        self._draining = False
        self._all_closed = asyncio.Event()
        self._all_closed.set()

    @asynccontextmanager
    async def open(self, method: str, context: Context) -> AsyncIterator[Stream]:
        """A stream for the time of the block, counted in and out. Raises ResourceExhausted (OVERLOADED)."""
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
        handler = asyncio.current_task()
        if handler is None:
            raise RuntimeError("calls run in tasks")
        self._take_place(method, handler)
        # Streams opened together must not all come back together.
        age_seconds = self._limits.age * self._random.uniform(0.8, 1.0)
        stream = Stream(method, context, self._limits, age_seconds, lambda given_up: self._leaves(given_up, handler))
        if self._draining:
            stream.close_soon()
        self._open.add(stream)
        self._all_closed.clear()
        try:
            yield stream
        finally:
            self._leaves(stream, handler)

    def _take_place(self, method: str, handler: Task) -> None:
        """Until the handler's task ends, which grpc lets go on until the call's status is on its way.

        Raises ResourceExhausted (OVERLOADED).
        """
        who = self._room.enter(current_principal(), client_address())

        def give_back(ended: Task) -> None:
            self._room.leave(who)
            self._leaving.pop(ended, None)
            metrics.OPEN_STREAMS.labels(method).dec()

        metrics.OPEN_STREAMS.labels(method).inc()
        handler.add_done_callback(give_back)

    def _leaves(self, stream: Stream, handler: Task) -> None:
        """Nothing more is to be told on it. What is left of its call has a time limit."""
        self._leaving[handler] = asyncio.get_running_loop().time()
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

    async def cut_off_stalled(self) -> None:
        """Background work: end the calls whose readers do not take their streams' last word in time. Never returns."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        now = asyncio.get_running_loop().time()
        stalled = [handler for handler, since in self._leaving.items() if now >= since + self._limits.last_word]
        if not stalled:
            return
        # For those that are not found, the time begins anew.
        self._leaving.update(dict.fromkeys(stalled, now))
        metrics.CUT_OFF_STREAMS.inc(cut := await cut_off(stalled))
        log.warning("stalled_streams_cut_off", stalled=len(stalled), cut_off=cut)
