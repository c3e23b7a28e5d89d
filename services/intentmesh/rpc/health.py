"""Health is the AND of named checks; being told to stop is one of them."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer

from intentmesh.rpc import metrics

log = structlog.get_logger()

Check = Callable[[], Awaitable[None]]
"""Returns when all is well, raises otherwise."""

CHECK_TIMEOUT_SECONDS = 2.0
STOPPING = "stopping"
LIVENESS = "liveness"
"""SERVING as long as the process answers, whatever the checks say: a store that is away must not restart the fleet."""


class Health:
    """Runs the checks and tells their result under the server's name "" and each of its services' names."""

    def __init__(self, servicer: HealthServicer, services: Sequence[str], checks: Mapping[str, Check]) -> None:
        self._servicer = servicer
        self._names = ("", *services)
        self._checks = dict(checks)
        self._failing: frozenset[str] = frozenset({"starting"})
        self._stopping = False
        for name in (*self._checks, STOPPING):
            metrics.HEALTH_CHECK.labels(name).set(0)
        metrics.HEALTH_CHECK.labels(STOPPING).set(1)

    @property
    def failing(self) -> frozenset[str]:
        """Names of the checks that do not pass; empty means SERVING."""
        return self._failing

    async def watch(self, interval_seconds: float) -> None:
        """Check again and again; never returns."""
        while True:
            await self.check_now()
            await asyncio.sleep(interval_seconds)

    async def check_now(self) -> None:
        """Run every check once, at the same time, and publish the result."""
        names = list(self._checks)
        results = await asyncio.gather(*(_passes(self._checks[name]) for name in names))
        failing = {name for name, problem in zip(names, results, strict=True) if problem}
        if self._stopping:
            failing.add(STOPPING)
        for name, problem in zip(names, results, strict=True):
            metrics.HEALTH_CHECK.labels(name).set(0 if problem else 1)
            if problem and name not in self._failing:
                log.warning("health_check_failed", check=name, problem=problem)
        await self._publish(frozenset(failing))

    async def stop(self) -> None:
        """NOT_SERVING from here on, whatever the checks say."""
        self._stopping = True
        metrics.HEALTH_CHECK.labels(STOPPING).set(0)
        await self._publish(self._failing | {STOPPING})

    async def _publish(self, failing: frozenset[str]) -> None:
        self._failing = failing
        serving = health_pb2.HealthCheckResponse.SERVING
        status = health_pb2.HealthCheckResponse.NOT_SERVING if failing else serving
        for name in self._names:
            await self._servicer.set(name, status)
        await self._servicer.set(LIVENESS, serving)


async def _passes(check: Check) -> str:
    """Empty when it passes, else what is wrong, for the log."""
    problem = "no answer in time"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            try:
                await check()
            except Exception as error:  # noqa: BLE001 (whatever a check raises means that it failed)
                return repr(error)
            return ""
    return problem
