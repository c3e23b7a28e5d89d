"""Who works, who waits, and who is displaced."""

import asyncio

from intentmesh.executor.slots import Slot, SlotLimits, Slots, choose

LONG_SECONDS = 60.0


class Crowd:
    """Intents that wait in the same process, each as its machine would."""

    def __init__(self, *, concurrency: int = 4, waiting: int = 100) -> None:
        self.rooms = 0
        self.slots = Slots(SlotLimits(concurrency, waiting), self._on_room)
        self.news: dict[Slot, asyncio.Event] = {}
        self.leave = asyncio.Event()
        self.tasks: list[asyncio.Task[bool]] = []

    def _on_room(self) -> None:
        self.rooms += 1

    async def comes(self, solver_id: str, slot: Slot | None = None) -> tuple[Slot, asyncio.Task[bool]]:
        slot = slot or self.slots.take()
        news = self.news.setdefault(slot, asyncio.Event())
        news.clear()
        task = asyncio.create_task(slot.wait(solver_id, news, self.leave, LONG_SECONDS))
        self.tasks.append(task)
        await asyncio.sleep(0)
        return slot, task

    async def hears(self, slot: Slot, task: asyncio.Task[bool]) -> None:
        self.news[slot].set()
        assert await task


def slot(solver_id: str, last_heard: int, *, idle: bool = True) -> Slot:
    return Slot(Slots(SlotLimits(1, 1), lambda: None), solver_id, last_heard, idle)


def test_choose__one_solver_holds_most__its_longest_silent_goes_though_others_are_silent_for_longer() -> None:
    held = [slot("other", 1), slot("most", 3), slot("most", 2), slot("most", 4)]
    assert choose(held) is held[2]


def test_choose__solvers_hold_the_same__the_longest_silent_of_all_goes() -> None:
    held = [slot("a", 3), slot("a", 5), slot("b", 2), slot("b", 9)]
    assert choose(held) is held[2]


def test_choose__at_work__is_never_displaced_and_still_counts_for_its_solver() -> None:
    held = [slot("other", 1), slot("most", 2, idle=False), slot("most", 3, idle=False), slot("most", 9)]
    assert choose(held) is held[3]


async def test_room__waiting_for_a_solver__takes_none_of_it() -> None:
    crowd = Crowd(concurrency=1)
    for _ in range(10):
        await crowd.comes("mute")
    assert (crowd.slots.room, crowd.slots.waiting, crowd.rooms) == (1, 10, 10)


async def test_room__newly_claimed_and_at_work__is_taken_until_it_leaves() -> None:
    crowd = Crowd(concurrency=2)
    first, _ = crowd.slots.take(), crowd.slots.take()
    assert crowd.slots.room == 0
    first.leave()
    assert (crowd.slots.room, crowd.rooms) == (1, 1)


async def test_wait__more_than_may_be_held__one_of_the_crowd_is_told_to_rest_and_the_others_wait_on() -> None:
    crowd = Crowd(waiting=3)
    _, other = await crowd.comes("other")
    _, oldest = await crowd.comes("mute")
    _, younger = await crowd.comes("mute")
    _, newest = await crowd.comes("mute")
    assert await oldest is False
    assert [task.done() for task in (other, younger, newest)] == [False, False, False]
    assert crowd.slots.waiting == 3


async def test_wait__heard_of_since__another_of_its_solver_is_displaced() -> None:
    crowd = Crowd(waiting=2)
    talker, task = await crowd.comes("mute")
    _, silent = await crowd.comes("mute")
    await crowd.hears(talker, task)
    _, task = await crowd.comes("mute", talker)
    await crowd.comes("mute")
    assert await silent is False
    assert not task.done()


async def test_wait__everything_held_is_at_work__the_newcomer_rests() -> None:
    crowd = Crowd(waiting=1)
    worker, task = await crowd.comes("mute")
    await crowd.hears(worker, task)
    _, newcomer = await crowd.comes("mute")
    assert await newcomer is False


async def test_wait__more_news_than_turns__each_has_its_turn_once_one_before_it_waits_or_leaves() -> None:
    crowd = Crowd(concurrency=1)
    first, first_task = await crowd.comes("a")
    second, second_task = await crowd.comes("b")
    third, third_task = await crowd.comes("c")
    await crowd.hears(first, first_task)
    for one in (second, third):
        crowd.news[one].set()
    await asyncio.wait([second_task, third_task], timeout=0.05)
    assert not second_task.done()
    assert crowd.slots.room == 1, "turns of those that waited take no place from what is newly claimed"
    await crowd.comes("a", first)
    assert await second_task
    assert not third_task.done()
    second.leave()
    assert await third_task


async def test_wait__process_ends__needs_no_turn() -> None:
    crowd = Crowd(concurrency=1)
    busy, task = await crowd.comes("a")
    await crowd.hears(busy, task)
    waiting = [(await crowd.comes("a"))[1] for _ in range(5)]
    crowd.leave.set()
    assert await asyncio.gather(*waiting) == [True] * 5


async def test_leave__cancelled_while_it_waits_for_its_turn__the_turn_goes_to_the_next() -> None:
    crowd = Crowd(concurrency=1)
    busy, task = await crowd.comes("a")
    await crowd.hears(busy, task)
    doomed, doomed_task = await crowd.comes("b")
    heir, heir_task = await crowd.comes("c")
    for one in (doomed, heir):
        crowd.news[one].set()
    await asyncio.wait([doomed_task], timeout=0.05)
    doomed_task.cancel()
    await asyncio.gather(doomed_task, return_exceptions=True)
    doomed.leave()
    busy.leave()
    assert await heir_task
