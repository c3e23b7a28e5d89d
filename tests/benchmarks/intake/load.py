"""The load: raw bytes over gRPC, answers counted. Runs in the benchmark's own process, on the other core."""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc
from intentmesh.v1.intake_service_pb2 import SubmitIntentResponse, SubmitIntentsRequest, SubmitIntentsResponse

UNARY = "/intentmesh.v1.IntakeService/SubmitIntent"
STREAM = "/intentmesh.v1.IntakeService/SubmitIntents"
Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Run:
    """What came of a load. Latencies in seconds, from the moment a request was due."""

    asked: int
    created: int
    seconds: float
    latencies: tuple[float, ...] = ()
    # By message. A refused call ends the run.
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def per_second(self) -> float:
        return self.created / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


@contextmanager
def _no_pauses() -> Iterator[None]:
    """The load's own garbage collector stops it for 50 ms at a time, which would be taken for the server's latency."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Load:
    """Channels to one server, or to the workers that share its port. Use as a context manager."""

    def __init__(self, target: str, metadata: Metadata, channels: int = 4) -> None:
        # Connections of their own, so that workers which share a port get their shares.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(target, options=options) for _ in range(channels)]
        self._metadata = metadata
        self.channels = channels

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            await channel.close()

    async def unary(self, requests: Sequence[bytes], in_flight: int) -> Run:
        """As fast as it goes, with so many calls in flight."""
        calls = [channel.unary_unary(UNARY) for channel in self._channels]
        waiting = iter(requests)
        created = 0

        async def work(number: int) -> None:
            nonlocal created
            call = calls[number % len(calls)]
            for request in waiting:
                answer = await call(request, metadata=self._metadata, timeout=30)
                created += SubmitIntentResponse.FromString(answer).created

        with _no_pauses():
            began = time.perf_counter()
            await asyncio.gather(*(work(number) for number in range(in_flight)))
            return Run(len(requests), created, time.perf_counter() - began)

    async def unary_at(self, requests: Sequence[bytes], per_second: float) -> Run:
        """At a rate, whatever the server does; late answers count from when their request was due."""
        calls = [channel.unary_unary(UNARY) for channel in self._channels]
        latencies: list[float] = []
        created = 0

        async def ask(number: int, request: bytes) -> None:
            nonlocal created
            due = began + number / per_second
            call = calls[number % len(calls)]
            answer = await call(request, metadata=self._metadata, timeout=30)
            latencies.append(time.perf_counter() - due)
            created += SubmitIntentResponse.FromString(answer).created

        asked = []
        with _no_pauses():
            began = time.perf_counter()
            for number, request in enumerate(requests):
                wait = began + number / per_second - time.perf_counter()
                if wait > 0:
                    await asyncio.sleep(wait)
                asked.append(asyncio.ensure_future(ask(number, request)))
            await asyncio.gather(*asked)
            return Run(len(requests), created, time.perf_counter() - began, tuple(latencies))

    async def everywhere(self, messages_of: Sequence[Sequence[bytes]]) -> int:
        """On each channel its own messages, so that every worker behind the port sees some of all users.

        Returns how many orders were not accepted.
        """
        refused = 0

        async def work(channel: grpc.aio.Channel, messages: Sequence[bytes]) -> None:
            nonlocal refused
            call = channel.stream_stream(STREAM)(metadata=self._metadata)
            for message in messages:
                await call.write(message)
                answered = 0
                while answered < len(SubmitIntentsRequest.FromString(message).items):
                    results = SubmitIntentsResponse.FromString(await call.read()).results
                    answered += len(results)
                    refused += sum([not result.accepted.created for result in results])
            await call.done_writing()

        await asyncio.gather(*map(work, self._channels, messages_of))
        return refused

    async def streams(self, messages: Sequence[bytes], items: int, streams: int, window: int) -> Run:
        """Over so many streams, each with at most `window` items unanswered."""
        waiting = iter(messages)
        created = 0
        refusals: Counter[str] = Counter()

        async def work(number: int) -> None:
            nonlocal created
            call = self._channels[number % len(self._channels)].stream_stream(STREAM)(metadata=self._metadata)
            unanswered, room = 0, asyncio.Event()

            async def send() -> None:
                nonlocal unanswered
                for message in waiting:
                    while unanswered and unanswered + items > window:
                        room.clear()
                        await room.wait()
                    unanswered += items
                    await call.write(message)
                await call.done_writing()

            sending = asyncio.ensure_future(send())
            async for raw in call:
                results = SubmitIntentsResponse.FromString(raw).results
                unanswered -= len(results)
                room.set()
                created += sum([result.accepted.created for result in results])
                refusals.update(result.refused.message for result in results if not result.accepted.created)
            await sending

        with _no_pauses():
            began = time.perf_counter()
            await asyncio.gather(*(work(number) for number in range(streams)))
            return Run(items * len(messages), created, time.perf_counter() - began, refusals=refusals)
