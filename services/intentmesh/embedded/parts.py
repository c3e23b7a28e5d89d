"""What every part of an embedded mesh has in common, and the stack they are started on and stopped from."""

import asyncio
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from intentmesh.embedded.errors import PartFailedError


class Part(ABC):
    """Something that is started, kept running, and stopped.

    `start` returns when the part is ready; when it raises, or is cancelled, nothing is left running. `stop` may be
    called at any time and more than once. A stopped part may be started again and continues where it was.
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """Its name in logs and messages."""

    @abstractmethod
    async def start(self) -> None:
        """Start and wait until ready. Raises an EmbeddedError."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop and leave no process, port or shared memory behind."""

    @abstractmethod
    async def failed(self) -> PartFailedError:
        """Wait until the part cannot be kept running any more, and return why. Never returns while all is well."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()


class PartStack:
    """Starts parts in steps and stops them in the reverse order, whatever happens in between.

    async with PartStack() as stack:
        await stack.start(postgres, valkey, *chains)
        await stack.start(*services)
        await stack.start(envoy)
        failure = await stack.failed()
    """

    def __init__(self) -> None:
        self._steps: list[tuple[Part, ...]] = []

    async def start(self, *parts: Part) -> None:
        """Start these parts at the same time and wait for all. The first failure is raised as it is; the others are
        cancelled, and what already runs is stopped with the stack."""
        self._steps.append(parts)
        try:
            async with asyncio.TaskGroup() as group:
                for part in parts:
                    group.create_task(part.start(), name=f"start {part.name}")
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def stop(self) -> None:
        """Stop everything, last step first. Every part is stopped even when stopping another one fails."""
        errors: list[BaseException] = []
        while self._steps:
            parts = self._steps.pop()
            results = await asyncio.gather(*(part.stop() for part in parts), return_exceptions=True)
            errors += [result for result in results if isinstance(result, BaseException)]
        if errors:
            raise errors[0]

    async def failed(self) -> PartFailedError:
        """Wait for the first part that cannot be kept running any more."""
        parts = [part for step in self._steps for part in step]
        waits = [asyncio.create_task(part.failed(), name=f"watch {part.name}") for part in parts]
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.stop()
