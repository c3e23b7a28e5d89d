import asyncio

import pytest
from intentmesh.intake.ttl_cache import TtlCache


class Source:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.loads = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def load(self) -> int:
        self.loads += 1
        await self.gate.wait()
        return self.loads


async def test_ttl_cache__within_its_time__answers_without_asking():
    now = 0.0
    cache: TtlCache[str, int] = TtlCache(1.0, 10, clock=lambda: now)
    source = Source()
    assert [await cache.get("a", source.load) for _ in range(3)] == [1, 1, 1]
    now = 1.0
    assert await cache.get("a", source.load) == 2


async def test_ttl_cache__asked_at_once__loads_once():
    cache: TtlCache[str, int] = TtlCache(1.0, 10)
    source = Source()
    source.gate.clear()
    waiting = [asyncio.ensure_future(cache.get("a", source.load)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    source.gate.set()
    assert await asyncio.gather(*waiting[1:]) == [1, 1, 1, 1]


async def test_ttl_cache__slow_answer__is_as_old_as_its_question():
    now = 0.0
    cache: TtlCache[str, int] = TtlCache(1.0, 10, clock=lambda: now)

    async def slow() -> int:
        nonlocal now
        now = 0.75
        return 7

    assert await cache.get("a", slow) == 7
    assert cache.peek("a") == 7
    now = 1.0
    assert cache.peek("a") is None


async def test_ttl_cache__failure__is_not_kept():
    cache: TtlCache[str, int] = TtlCache(1.0, 10)

    async def fail() -> int:
        raise OSError("away")

    with pytest.raises(OSError, match="away"):
        await cache.get("a", fail)
    assert await cache.get("a", Source().load) == 1


async def test_ttl_cache__full__drops_the_oldest():
    cache: TtlCache[str, int] = TtlCache(1000.0, 2)
    source = Source()
    for key in ("a", "b", "c"):
        await cache.get(key, source.load)
    assert await cache.get("b", source.load) == 2
    assert await cache.get("a", source.load) == 4
