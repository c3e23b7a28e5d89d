"""The servers under attack: the same processes, SERVING, no call left behind, memory bounded."""

import asyncio
import re
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Sample:
    """Resident memory of every server after a number of inputs."""

    inputs: int
    rss_bytes: dict[Door, int]


@dataclass(slots=True)
class Watcher:
    """Looks at the servers' processes from outside."""

    doors: Doors
    processes: dict[Door, psutil.Process]
    samples: list[Sample] = field(default_factory=list)

    def sample(self, inputs: int) -> Sample:
        """Remember and return how much memory each server holds now."""
        rss = {door: one.memory_info().rss for door, one in self.processes.items() if one.is_running()}
        self.samples.append(Sample(inputs, rss))
        return self.samples[-1]

    async def faults(self) -> list[str]:
        """What is wrong with the servers now; they get some time, since health is checked under load as well."""
        wrong = [f"{door} has died" for door, one in self.processes.items() if not _lives(one)]
        answers = await asyncio.gather(*(self._serves(door) for door in (*SERVICES, Door.GATEWAY)))
        return wrong + [answer for answer in answers if answer]

    async def calls_left(self) -> list[str]:
        """Calls that servers still work on, though nobody waits for them any more. Waits for them to end."""
        deadline = asyncio.get_running_loop().time() + RECOVERY_SECONDS
        while left := await asyncio.to_thread(self._in_flight):
            if asyncio.get_running_loop().time() > deadline:
                return left
            await asyncio.sleep(POLL_SECONDS)
        return []

    def _in_flight(self) -> list[str]:
        left = []
        for door in SERVICES:
            url = self.doors.metrics.get(door.value)
            if url is None:
                continue
            with urllib.request.urlopen(url, timeout=HEALTH_SECONDS) as answer:  # noqa: S310 (the mesh's own page)
                text = answer.read().decode()
            # Others of the mesh call too: the solver is asked by the registry, the executor listens to it.
            left += [
                f"{door}: {match['value']} of {match['labels']}"
                for match in _IN_FLIGHT.finditer(text)
                if float(match["value"]) > 0 and not any(name in match["labels"] for name in _INTERNAL_STREAMS)
            ]
        return left

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


_INTERNAL_STREAMS = ('grpc_method="Execute"',)


def growth_per_1000(samples: Sequence[Sample], door: Door) -> float:
    """Slope of one server's memory in bytes per 1,000 inputs, by least squares; 0 with fewer than three samples."""
    points = [(sample.inputs, sample.rss_bytes[door]) for sample in samples if door in sample.rss_bytes]
    if len(points) < 3:
        return 0.0
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return 1_000 * sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
