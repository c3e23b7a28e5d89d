from collections.abc import Collection, Mapping

import pytest
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.records import BlockHash, Evidence, TransactionHash
from intentmesh.domain.types import ChainId, IntentId
from intentmesh.executor.whereabouts import NEAR_BLOCKS, Whereabouts

MATTER = (ChainId(1), IntentId(b"\x11" * 32), "fills")
HEAD = 100_000
LONG_AGO = 17


class Chain:
    """Events by name at blocks, and what was asked for."""

    def __init__(self, **events: int) -> None:
        self.events = events
        self.asked: list[tuple[int, int]] = []
        self.now = 1_000.0
        self.whereabouts = Whereabouts(lambda: self.now)

    async def find(self, names: Collection[str], first: int, last: int) -> Mapping[str, Evidence]:
        self.asked.append((first, last))
        return {
            name: Evidence(TransactionHash(b""), block, BlockHash(b""), 0)
            for name, block in self.events.items()
            if name in names and first <= block <= last
        }

    async def look(self, *seen_at: int) -> dict[str, int]:
        """Where the events are."""
        self.asked.clear()
        found = await self.whereabouts.locate(MATTER, list(self.events), seen_at, HEAD, self.find)
        return {name: event.block_number for name, event in found.items()}


async def test_locate__where_it_was_seen__is_asked_for_there_alone() -> None:
    chain = Chain(fill=LONG_AGO)
    assert await chain.look(LONG_AGO, 30) == {"fill": LONG_AGO}
    assert chain.asked == [(LONG_AGO, LONG_AGO)]


async def test_locate__no_longer_where_it_was_seen__is_found_near_the_head() -> None:
    chain = Chain(one=LONG_AGO, two=HEAD - 3)
    assert await chain.look(LONG_AGO, HEAD - 9, HEAD + 1) == {"one": LONG_AGO, "two": HEAD - 3}
    assert chain.asked == [(LONG_AGO, LONG_AGO), (HEAD - 9, HEAD - 9), (HEAD - NEAR_BLOCKS + 1, HEAD)]


async def test_locate__neither_seen_nor_near__is_looked_for_everywhere_once() -> None:
    chain = Chain(one=LONG_AGO, two=HEAD)
    with pytest.raises(ChainUnavailable):
        # The logs may only be late.
        await chain.look()
    chain.now += 1
    assert await chain.look() == {"one": LONG_AGO, "two": HEAD}
    assert chain.asked[-1] == (0, HEAD - NEAR_BLOCKS)
    assert await chain.look() == {"one": LONG_AGO, "two": HEAD}
    assert sorted(chain.asked) == [(LONG_AGO, LONG_AGO), (HEAD, HEAD)]


async def test_locate__nowhere__is_not_looked_for_everywhere_at_each_look() -> None:
    chain = Chain(fill=HEAD + 1)
    everywhere = []
    for _ in range(600):
        with pytest.raises(ChainUnavailable):
            await chain.look()
        everywhere += [asked for asked in chain.asked if asked[0] == 0]
        assert len(chain.asked) <= 2
        chain.now += 1
    assert len(everywhere) == 1
    chain.events["fill"] = LONG_AGO
    chain.now += 10
    assert await chain.look() == {"fill": LONG_AGO}


async def test_locate__late_and_then_there__is_waited_for_anew_when_it_goes() -> None:
    chain = Chain(fill=HEAD + 1)
    with pytest.raises(ChainUnavailable):
        await chain.look()
    chain.events["fill"] = HEAD
    assert await chain.look() == {"fill": HEAD}
    chain.now += 60
    chain.events["fill"] = HEAD + 1
    with pytest.raises(ChainUnavailable):
        await chain.look()
    assert all(first > 0 for first, _ in chain.asked)
