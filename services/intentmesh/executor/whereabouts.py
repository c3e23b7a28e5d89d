"""Finds the events of an order that the contracts' state says are there, with few questions however old the order is.

An event is looked for in the blocks where it was seen before, which a reorganisation may have made wrong: so each look
asks the chain again. What is not there is new, or has moved, and both happen near the head. Only what is not found near
it is looked for through the whole chain.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.records import Evidence
from intentmesh.domain.types import ChainId, IntentId

# Of these the newest are always looked through.
NEAR_BLOCKS = 500
# Logs may come some moments after the state that they belong to.
_PATIENCE_SECONDS = 0.5
# A search of the whole chain that came to nothing will not come to more a moment later.
_AGAIN_SECONDS = 600.0
_MOST_REMEMBERED = 10_000

Name = TypeVar("Name")
Event = TypeVar("Event", bound=Evidence)
Find = Callable[[Collection[Name], int, int], Awaitable[Mapping[Name, Event]]]
# What is looked for, of which order, where.
Matter = tuple[ChainId, IntentId, str]


@dataclass(frozen=True, slots=True)
class _Search:
    """What the newest blocks did not show."""

    # When the whole chain may be looked through, if need be.
    not_before: float
    # Where it was when that was done.
    found_in: tuple[int, ...] = ()


class Whereabouts:
    """One per process: it remembers long searches, so that they are not repeated. `monotonic` gives seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._searches: dict[Matter, _Search] = {}

    async def locate(
        self, matter: Matter, names: Collection[Name], seen_at: Collection[int], head: int, find: Find[Name, Event]
    ) -> dict[Name, Event]:
        """All named events, each at its place below `head` now. `find(names, first block, last block)` asks the chain.

        Raises ChainUnavailable when one is not to be found.
        """
        found: dict[Name, Event] = {}

        async def lacking(first: int, last: int) -> bool:
            missing = [name for name in names if name not in found]
            if missing and first <= last <= head:
                found.update(await find(missing, first, last))
            return len(found) < len(names)

        before = self._searches.get(matter)
        for block in dict.fromkeys((*seen_at, *(before.found_in if before else ()))):
            await lacking(block, block)
        near = max(head - NEAR_BLOCKS + 1, 0)
        if not await lacking(near, head):
            if before is not None and not before.found_in:
                self._searches.pop(matter, None)
            return found
        self._have_patience(matter, before)
        if await lacking(0, near - 1):
            self._remember(matter, _Search(self._monotonic() + _AGAIN_SECONDS))
            raise ChainUnavailable(matter[0], "the contract's state and its logs disagree")
        # The look may still fail for something else, and what it found is then nowhere but here.
        self._remember(matter, _Search(0.0, tuple({event.block_number for event in found.values()})))
        return found

    def _have_patience(self, matter: Matter, before: _Search | None) -> None:
        if before is None:
            self._remember(matter, _Search(self._monotonic() + _PATIENCE_SECONDS))
        if before is None or self._monotonic() < before.not_before:
            raise ChainUnavailable(matter[0], "the logs do not show yet what the contract's state says")

    def _remember(self, matter: Matter, search: _Search) -> None:
        # Of too many the oldest are forgotten; what they were about is then looked for again before its time.
        self._searches.pop(matter, None)
        self._searches[matter] = search
        if len(self._searches) > _MOST_REMEMBERED:
            del self._searches[next(iter(self._searches))]
