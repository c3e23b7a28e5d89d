"""Background work of a service: a task that dies is started again with backoff, counted, and seen in the health."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

import structlog

from intentmesh.rpc import metrics
from intentmesh.rpc.tracing import start_trace

log = structlog.get_logger()

Work = Callable[[], Awaitable[None]]

BACKOFF_BASE_SECONDS = 0.2
BACKOFF_CAP_SECONDS = 30.0
UNHEALTHY_AFTER = 3
"""Deaths in a row that turn the health: one is an accident, three are a state."""
CANCEL_AGAIN_SECONDS = 0.5
STEADY_SECONDS = 30.0
"""Work that ran this long before it died starts counting anew."""


class Supervisor:
    """Runs tasks until it is closed. A task that returns has finished its work and is not started again."""

    def __init__(self, work: Sequence[Work]) -> None:
        self._work = tuple(work)
        self._deaths: dict[str, int] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all tasks."""
        self._tasks = [asyncio.create_task(self._keep_running(w), name=name_of(w)) for w in self._work]

    async def stop(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        pending = set(self._tasks)
        while pending:
            for task in pending:
                task.cancel()
            # Until it is heard: before Python 3.12 `asyncio.wait_for`, which the Redis client uses at every write,
            # loses a cancellation that arrives at the moment when its work is done.
            _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
        self._tasks = []

    async def check(self) -> None:
        """Health check: raises RuntimeError naming the tasks that keep dying."""
        dying = [name for name, deaths in self._deaths.items() if deaths >= UNHEALTHY_AFTER]
        if dying:
            raise RuntimeError(f"keeps dying: {', '.join(dying)}")

    async def _keep_running(self, work: Work) -> None:
        name = name_of(work)
        metrics.BACKGROUND_FAILURES.labels(name)
        loop = asyncio.get_running_loop()
        while True:
            start_trace()
            started = loop.time()
            try:
                await work()
            except Exception as error:  # any death of a background task is handled alike
                steady = loop.time() - started >= STEADY_SECONDS
                deaths = self._deaths[name] = 1 if steady else self._deaths.get(name, 0) + 1
                metrics.BACKGROUND_FAILURES.labels(name).inc()
                log.exception("background_task_died", task=name, deaths=deaths, error=repr(error))
                cap = min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2 ** min(deaths, 16))
                await asyncio.sleep(random.uniform(cap / 2, cap))  # noqa: S311 (jitter, not a secret)
            else:
                self._deaths.pop(name, None)
                log.info("background_task_finished", task=name)
                return


def name_of(work: Work) -> str:
    """The function's qualified name: bounded, and says where to look."""
    return str(getattr(work, "__qualname__", type(work).__qualname__))
