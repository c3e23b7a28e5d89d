"""The calls in flight, so that a server can wait for them and end the rest in an orderly way."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator

INFRASTRUCTURE = ("/grpc.health.", "/grpc.reflection.")
"""Services whose streams last as long as their clients: nobody waits for them to finish."""


class CallTracker:
    """Knows the tasks of running calls. grpc's own `stop()` cancels calls without giving them a status of ours."""

    def __init__(self) -> None:
        self._calls: dict[asyncio.Task[object], str] = {}
        self._ended: set[asyncio.Task[object]] = set()
        self._changed = asyncio.Event()

    @contextlib.contextmanager
    def running(self, method: str) -> Iterator[None]:
        """Enter the current task as a call of this method."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("calls run in tasks")
        self._calls[task] = method
        try:
            yield
        finally:
            del self._calls[task]
            self._ended.discard(task)
            self._changed.set()

    def was_ended(self) -> bool:
        """The current call's cancellation came from `end_*`, not from its client."""
        return asyncio.current_task() in self._ended

    def count(self) -> int:
        """Running calls of services of ours."""
        return sum(not method.startswith(INFRASTRUCTURE) for method in self._calls.values())

    async def wait_until_idle(self, seconds: float) -> bool:
        """True when no call of ours is left within the time."""
        return await self._wait(lambda: self.count() == 0, seconds)

    async def end_all(self, seconds: float) -> bool:
        """Cancel what runs; each call answers UNAVAILABLE / DRAINING. True when all have ended within the time."""
        for task in self._calls:
            self._ended.add(task)
            task.cancel()
        return await self._wait(lambda: not self._calls, seconds)

    async def _wait(self, done: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not done():
            self._changed.clear()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()
        return True
