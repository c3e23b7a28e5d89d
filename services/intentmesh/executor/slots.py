"""Which of a process's claimed intents are worked on, and which only wait, mostly for their solver's next word.

A promise may lie an hour ahead and costs its solver nothing, so whoever waits takes no place from the others: what is
newly claimed has places of its own, and so have the turns of those that have waited. Those are held, stream and lease,
up to a number; beyond it one of them rests, which its award survives.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import count


@dataclass(frozen=True, slots=True)
class SlotLimits:
    """How many of each kind at once, in one process."""

    # Newly claimed intents that are worked on, and as many turns of those that have waited.
    concurrency: int
    # Intents held that have waited, turns included.
    waiting: int


class Slots:
    """The places of one process. `on_room` is told when there may be something to claim, and a place for it, again."""

    def __init__(self, limits: SlotLimits, on_room: Callable[[], None]) -> None:
        self._limits = limits
        self._on_room = on_room
        self._turns = asyncio.Semaphore(limits.concurrency)
        self._fresh: set[Slot] = set()
        self._held: set[Slot] = set()
        self._heard = count(1)

    @property
    def room(self) -> int:
        """How many more intents may be claimed now."""
        return self._limits.concurrency - len(self._fresh)

    @property
    def waiting(self) -> int:
        """Intents that wait, and cost next to nothing."""
        return sum(slot.idle for slot in self._held)

    def spread(self, seconds: float) -> float:
        """How long each of those held may rest so that all together are looked at as often as `concurrency` of them are
        every so many seconds: the few are not looked at more seldom for the sake of a crowd that is not there."""
        return seconds * max(1.0, len(self._held) / self._limits.concurrency)

    def take(self) -> "Slot":
        """A place for a newly claimed intent, even where there is no room; `Slot.leave` gives it back."""
        slot = Slot(self)
        self._fresh.add(slot)
        return slot

    async def begin_turn(self) -> None:
        """Waits its turn among those that have waited."""
        await self._turns.acquire()

    def end_turn(self) -> None:
        """Lets the next one begin."""
        self._turns.release()

    def hold(self, slot: "Slot") -> None:
        """From now on it waits; where more do than are held, one of them is displaced, perhaps this one."""
        if slot in self._fresh:
            self._fresh.remove(slot)
            slot.last_heard = self.heard()
            if self.room == 1:
                # As long as there was room, all that was due has been claimed.
                self._on_room()
        self._held.add(slot)
        if len(self._held) > self._limits.waiting:
            displaced = choose(self._held)
            self._held.remove(displaced)
            displaced.displaced.set()

    def drop(self, slot: "Slot") -> None:
        """The intent is given back."""
        self._fresh.discard(slot)
        self._held.discard(slot)
        self._on_room()

    def heard(self) -> int:
        """The next number in the order of all that is heard."""
        return next(self._heard)


@dataclass(slots=True, eq=False)
class Slot:
    """The place of one claimed intent."""

    slots: Slots
    # Whom it waits for; empty for nobody in particular.
    solver_id: str = ""
    # When it was last heard of, in the order of all that is heard.
    last_heard: int = 0
    idle: bool = False
    # Others need the place: rest.
    displaced: asyncio.Event = field(default_factory=asyncio.Event)
    _has_turn: bool = False

    async def wait(self, solver_id: str, news: asyncio.Event, leave: asyncio.Event, seconds: float) -> bool:
        """Until there is news, the process ends or the time is over; others are worked on meanwhile.

        True: it is this intent's turn again. False: others need the place, the intent is to rest.
        """
        self.solver_id, self.idle = solver_id, True
        self._end_turn()
        self.slots.hold(self)
        try:
            await _first_of((news, leave, self.displaced), seconds)
        finally:
            self.idle = False
        if self.displaced.is_set():
            return False
        if news.is_set():
            self.last_heard = self.slots.heard()
        if not leave.is_set():
            await self.slots.begin_turn()
            self._has_turn = True
        return True

    def leave(self) -> None:
        """Gives the place back."""
        self._end_turn()
        self.slots.drop(self)

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            self.slots.end_turn()


def choose(held: Collection[Slot]) -> Slot:
    """Who is displaced: of those that are not at work, one of the solver that holds most, the longest silent.

    So whoever crowds the place loses it, and no other solver's stream is hung up. One of them must be idle.
    """
    holds = Counter(slot.solver_id for slot in held)
    return max((slot for slot in held if slot.idle), key=lambda slot: (holds[slot.solver_id], -slot.last_heard))


async def _first_of(events: Iterable[asyncio.Event], seconds: float) -> None:
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
