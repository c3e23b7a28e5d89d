"""What the machine does right before an effect that no fence can stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from intentmesh.executor.journal import Overtaken
from intentmesh.executor.machine import Pace, Signals, _Run
from intentmesh.v1.solver_service_pb2 import ExecuteRequest


class Surroundings:
    """Journal, award step and solvers in one."""

    def __init__(self, *, overtaken: bool) -> None:
        self.overtaken = overtaken
        self.called = 0

    async def confirm(self, _work: object) -> None:
        if self.overtaken:
            raise Overtaken

    def request(self, *_: object) -> ExecuteRequest:
        return ExecuteRequest(award_number=1)

    @asynccontextmanager
    async def execute(self, *_: object) -> AsyncIterator[AsyncIterator[Any]]:
        self.called += 1

        async def silence() -> AsyncIterator[Any]:
            await asyncio.Event().wait()
            yield

        yield silence()

    async def attach(self) -> None:
        """Up to the moment at which a solver has been called, or could have been."""
        steps: Any = SimpleNamespace(journal=self, award=self, solvers=self)
        signals = Signals(asyncio.Event(), asyncio.Event())
        work: Any = None
        async with AsyncExitStack() as stack:
            run = _Run(steps, Pace(1, 1, 1), lambda: 0.0, work, signals, stack)
            award: Any = SimpleNamespace(number=1, solver_id="0xaa")
            await run._attach(work, work, award)
            await asyncio.sleep(0)


async def test_attach__cancelled_since_it_was_read__hands_the_order_to_nobody() -> None:
    here = Surroundings(overtaken=True)
    with pytest.raises(Overtaken):
        await here.attach()
    assert here.called == 0


async def test_attach__unchanged__calls_the_solver() -> None:
    here = Surroundings(overtaken=False)
    await here.attach()
    assert here.called == 1
