"""The servers under attack: the same processes, SERVING, no call left behind, memory bounded."""

import asyncio
import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import linear_regression, median

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fuzz.doors import Doors
from tests.fuzz.surface import SERVICES, Door

HEALTH_SECONDS = 5.0
RECOVERY_SECONDS = 30.0
POLL_SECONDS = 0.2
# Names in endpoints.json's `metrics` are the doors' own, but for a mesh of one attester.
_IN_FLIGHT = re.compile(r"^grpc_server_in_flight\{(?P<labels>.*)\} (?P<value>\S+)$", re.MULTILINE)
# What a service itself counts as a bug of its own, whether the caller was still there to be told or not.
_BUGS = re.compile(
    r"^(?P<series>(?:grpc_server_handled_total|intent_errors_total)\{[^}]*\"(?:INTERNAL|UNKNOWN)\"[^}]*\})"
    r" (?P<value>\S+)$",
    re.MULTILINE,
)
_FREE = re.compile(r"^process_heap_free_bytes (?P<value>\S+)$", re.MULTILINE)

MEANINGFUL_INPUTS = 150_000
"""Below, caches still fill, each server has had some thousand inputs only, and a slope over them says nothing."""
WARM_UP_SHARE = 0.4
"""Caches, pools and allocators fill first; the slope is taken over the rest of the run."""
PARTS = 3
# Of what one server holds, for each input that it got itself, after the warm-up. A leak of 1,000 bytes an input is
# twice as much.
MAX_GROWTH_BYTES_PER_INPUT = 512
# Of all its resident memory, from the first input on.
MAX_GROWTH_BYTES = 192 * 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """Memory of every server after a number of inputs; `received` are those that a server got itself.

    `free_bytes` is what the C allocator keeps for requests to come: it changes by MiB with the sizes of what is asked
    for, and says nothing of what a server holds.
    """

    inputs: int
    received: Mapping[Door, int]
    rss_bytes: Mapping[Door, int]
    free_bytes: Mapping[Door, int] = field(default_factory=dict)

    def held_bytes(self, door: Door) -> int:
        """What a server holds."""
        return self.rss_bytes[door] - self.free_bytes.get(door, 0)


@dataclass(slots=True)
class Watcher:
    """Looks at the servers' processes from outside."""

    doors: Doors
    processes: dict[Door, psutil.Process]
    samples: list[Sample] = field(default_factory=list)
    _bugs: dict[str, float] = field(default_factory=dict)

    async def sample(self, received: Mapping[Door, int], inputs: int) -> Sample:
        """Remember and return how much memory each server holds now."""
        free = free_bytes_of(await asyncio.to_thread(self._scrape))
        rss = {door: one.memory_info().rss for door, one in self.processes.items() if one.is_running()}
        self.samples.append(Sample(inputs, dict(received), rss, free))
        return self.samples[-1]

    async def faults(self) -> list[str]:
        """What is wrong with the servers now; they get some time, since health is checked under load as well."""
        wrong = [f"{door} has died" for door, one in self.processes.items() if not _lives(one)]
        answers = await asyncio.gather(*(self._serves(door) for door in (*SERVICES, Door.GATEWAY)))
        return wrong + [answer for answer in answers if answer]

    async def calls_left(self) -> list[str]:
        """Calls that servers still work on, though nobody waits for them any more. Waits for them to end."""
        deadline = asyncio.get_running_loop().time() + RECOVERY_SECONDS
        while left := calls_in_flight(await asyncio.to_thread(self._scrape)):
            if asyncio.get_running_loop().time() > deadline:
                return left
            await asyncio.sleep(POLL_SECONDS)
        return []

    async def bugs_counted(self) -> list[str]:
        """Calls since the last look that a service has ended with INTERNAL or UNKNOWN."""
        counted = bugs_of(await asyncio.to_thread(self._scrape))
        new = [f"{series}: {value:.0f}" for series, value in counted.items() if value > self._bugs.get(series, 0.0)]
        self._bugs |= counted
        return new

    def _scrape(self) -> dict[Door, str]:
        pages = {}
        for door in SERVICES:
            url = self.doors.metrics.get(door.value)
            if url is not None and _lives(self.processes[door]):
                with urllib.request.urlopen(url, timeout=HEALTH_SECONDS) as answer:  # noqa: S310 (the mesh's own page)
                    pages[door] = answer.read().decode()
        return pages

    async def _serves(self, door: Door) -> str:
        stub = health_pb2_grpc.HealthStub(self.doors.channel(door))
        deadline = asyncio.get_running_loop().time() + RECOVERY_SECONDS
        said = ""
        while asyncio.get_running_loop().time() < deadline:
            try:
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
            except grpc.aio.AioRpcError as error:
                said = f"{error.code().name} {error.details()}"
            else:
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    return ""
                said = "NOT_SERVING"
            await asyncio.sleep(POLL_SECONDS)
        return f"{door} does not serve: {said}"


# Others of the mesh call too: the solver is asked by the registry, the executor listens to it.
_INTERNAL_STREAMS = ('grpc_method="Execute"',)


def calls_in_flight(pages: Mapping[Door, str]) -> list[str]:
    """From each server's metrics: what it works on."""
    return [
        f"{door}: {match['value']} of {match['labels']}"
        for door, page in pages.items()
        for match in _IN_FLIGHT.finditer(page)
        if float(match["value"]) > 0 and not any(name in match["labels"] for name in _INTERNAL_STREAMS)
    ]


def free_bytes_of(pages: Mapping[Door, str]) -> dict[Door, int]:
    """From each server's metrics: what its allocator keeps for requests to come."""
    return {door: int(float(match["value"])) for door, page in pages.items() if (match := _FREE.search(page))}


def bugs_of(pages: Mapping[Door, str]) -> dict[str, float]:
    """From each server's metrics: the series that count its bugs, above zero."""
    return {
        f"{door} {match['series']}": float(match["value"])
        for door, page in pages.items()
        for match in _BUGS.finditer(page)
        if float(match["value"]) > 0
    }


def growth_per_input(samples: Sequence[Sample], door: Door) -> float:
    """Bytes that a server held more with each input that it got, after the warm-up; 0 with too few samples.

    Of what it never gave back: at each moment the least that it held from then on, since garbage may wait long for its
    collector. Least squares over all of that time and over each third of it: the former, or the median of the latter
    where that is less. A leak is in all of them, a step that an allocator takes once in one third.
    """
    last = samples[-1].inputs if samples else 0
    warm = [sample for sample in samples if sample.inputs >= WARM_UP_SHARE * last and door in sample.rss_bytes]
    kept = list(accumulate((sample.held_bytes(door) for sample in reversed(warm)), min))[::-1]
    points = [(sample.received.get(door, 0), held) for sample, held in zip(warm, kept, strict=True)]
    size = len(points) // PARTS
    parts = [points[start : start + size] for start in range(0, PARTS * size, max(size, 1))]
    slopes = [_slope(part) for part in parts if len({x for x, _ in part}) > 1]
    return min(median(slopes), _slope(points)) if len(slopes) == PARTS else 0.0


def _slope(points: Sequence[tuple[int, int]]) -> float:
    return linear_regression(*zip(*points, strict=True)).slope


def memory_faults(samples: Sequence[Sample]) -> list[str]:
    """Servers that grow without end; nothing is said of campaigns that are too short."""
    if not samples or samples[-1].inputs < MEANINGFUL_INPUTS:
        return []
    first, last = samples[0], samples[-1]
    found = []
    for door in first.rss_bytes:
        slope, grown = growth_per_input(samples, door), last.rss_bytes.get(door, 0) - first.rss_bytes[door]
        if slope > MAX_GROWTH_BYTES_PER_INPUT or grown > MAX_GROWTH_BYTES:
            found.append(f"{door} grew by {grown / 2**20:.0f} MiB, by {slope:.0f} bytes with each of its inputs")
    return found


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
