"""What the machine does right before an effect that no fence can stop, and how long it waits after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from intentmesh.domain.lifecycle import accepted
from intentmesh.executor.journal import Overtaken
from intentmesh.executor.machine import Next, Pace, Rest, Signals, _Run
from intentmesh.executor.slots import SlotLimits, Slots
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
        signals = Signals(asyncio.Event(), asyncio.Event(), Slots(SlotLimits(1, 1), lambda: None).take())
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


class Waiter:
    """An intent that waits for the holder of its award, in a process in which so many may wait, and so many do."""

    def __init__(self, *, waiting: int, others: int = 0) -> None:
        self.now = 10_000.0
        self.overdue_at = self.now + 3_000.0
        slots = Slots(SlotLimits(1, waiting), lambda: None)
        self.slot, self.rival = slots.take(), slots.take()
        for _ in range(others):
            slots.hold(slots.take())
        self.signals = Signals(asyncio.Event(), asyncio.Event(), self.slot)
        steps: Any = SimpleNamespace(award=SimpleNamespace(overdue_at=lambda _award: self.overdue_at))
        claim: Any = None
        # The last event is long ago.
        self.run = _Run(steps, Pace(0.5, 60.0, 2.0), lambda: self.now, claim, self.signals, AsyncExitStack())
        self.work: Any = SimpleNamespace(
            standing_award=SimpleNamespace(solver_id="mute"),
            state=accepted(),
            order=SimpleNamespace(fill_deadline=self.now + 4_000.0),
            age=lambda _now: 1_000.0,
        )

    async def displaced(self) -> Any:
        """What the wait comes to when a newer stream of the same solver needs its place."""
        turn = asyncio.create_task(self.run._wait(self.work, 60.0))
        await asyncio.sleep(0)
        rival = asyncio.create_task(self.rival.wait("mute", asyncio.Event(), self.signals.leave, 60.0))
        try:
            return await turn
        finally:
            rival.cancel()


def test_pause__nothing_new_for_long_among_many__is_longer_than_a_poll_and_ends_when_the_promise_does() -> None:
    waiter = Waiter(waiting=100, others=100)
    assert waiter.run._pause(waiter.work) == 5.0
    waiter.overdue_at = waiter.now + 1.0
    assert 1.0 < waiter.run._pause(waiter.work) < 1.5


@pytest.mark.parametrize(("others", "seconds"), [(0, 0.5), (1, 0.5), (4, 2.0), (10, 5.0), (100, 5.0)])
def test_pause__fewer_wait__is_no_longer_than_the_looks_at_all_of_them_need(others: int, seconds: float) -> None:
    waiter = Waiter(waiting=100, others=others)
    assert waiter.run._pause(waiter.work) == seconds


def test_pause__next_call_is_due__ends_right_after_it() -> None:
    waiter = Waiter(waiting=100, others=100)
    waiter.run._call_again_at = waiter.now + 0.2
    assert 0.2 < waiter.run._pause(waiter.work) < 0.5


async def test_wait__news__is_another_turn() -> None:
    waiter = Waiter(waiting=1)
    waiter.signals.news.set()
    assert await waiter.run._wait(waiter.work, 60.0) is Next.AGAIN


async def test_pause__news_that_the_chains_do_not_show_yet__is_that_after_an_event() -> None:
    waiter = Waiter(waiting=101, others=100)
    waiter.signals.news.set()
    await waiter.run._wait(waiter.work, 60.0)
    assert waiter.run._pause(waiter.work) == 0.5
    waiter.now += 16.0
    assert waiter.run._pause(waiter.work) == 2.0


async def test_wait__others_need_the_place__rests_until_a_look_is_worth_it_or_something_is_due() -> None:
    assert await Waiter(waiting=1).displaced() == Rest(60.0)
    waiter = Waiter(waiting=1)
    waiter.overdue_at = waiter.now + 3.0
    assert 3.0 < (await waiter.displaced()).seconds < 4.0


async def test_wait__others_need_the_place_before_the_next_call_may_be_made__rests_at_least_until_then() -> None:
    waiter = Waiter(waiting=1)
    waiter.run._call_again_at = waiter.now + 90.0
    assert (await waiter.displaced()).seconds >= 90.0


async def test_wait__others_need_the_place_as_there_is_news__is_due_again_at_once() -> None:
    waiter = Waiter(waiting=1)
    turn = asyncio.create_task(waiter.run._wait(waiter.work, 60.0))
    await asyncio.sleep(0)
    waiter.signals.news.set()
    waiter.slot.displaced.set()
    assert await turn == Rest(0.0)
