"""The cache in memory: short-lived, and never going back."""

from intentmesh.domain.types import IntentId
from intentmesh.status.memory_cache import CHANGING_SECONDS, OVER_SECONDS, UNKNOWN_SECONDS, MemoryCache, Unknown
from intentmesh.status.snapshot import Snapshot

ONE = IntentId(b"\x01" * 32)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def snapshot(sequence: int, *, over: bool = False) -> Snapshot:
    return Snapshot(sequence, over, b"%d" % sequence)


def test_put__older_over_newer__keeps_the_newer_and_returns_it() -> None:
    cache = MemoryCache(10, Clock())
    assert cache.put(ONE, snapshot(5)) == snapshot(5)
    assert cache.put(ONE, snapshot(4)) == snapshot(5)
    assert cache.get(ONE) == snapshot(5)
    assert cache.put(ONE, snapshot(6)) == snapshot(6)


def test_get__times__are_short_for_what_changes_and_shorter_for_the_unknown() -> None:
    for entry, seconds in ((snapshot(1), CHANGING_SECONDS), (snapshot(1, over=True), OVER_SECONDS)):
        clock = Clock()
        cache = MemoryCache(10, clock)
        cache.put(ONE, entry)
        clock.now += seconds - 0.01
        assert cache.get(ONE) == entry
        clock.now += 0.02
        assert cache.get(ONE) is None
    clock = Clock()
    cache = MemoryCache(10, clock)
    cache.put_unknown(ONE)
    clock.now += UNKNOWN_SECONDS - 0.01
    assert isinstance(cache.get(ONE), Unknown)
    clock.now += 0.02
    assert cache.get(ONE) is None
    assert CHANGING_SECONDS <= 1.0
    assert UNKNOWN_SECONDS <= 0.25


def test_put_unknown__by_a_slow_loader__does_not_hide_what_became_known() -> None:
    cache = MemoryCache(10, Clock())
    cache.put(ONE, snapshot(1))
    cache.put_unknown(ONE)
    assert cache.get(ONE) == snapshot(1)


def test_raise_known__of_what_nobody_asked_for__is_not_kept() -> None:
    cache = MemoryCache(10, Clock())
    cache.raise_known(ONE, snapshot(1))
    assert cache.get(ONE) is None
    cache.put_unknown(ONE)
    cache.raise_known(ONE, snapshot(1))
    assert cache.get(ONE) == snapshot(1)
    cache.raise_known(ONE, snapshot(3))
    cache.raise_known(ONE, snapshot(2))
    assert cache.get(ONE) == snapshot(3)


def test_put__more_than_fit__stays_bounded() -> None:
    cache = MemoryCache(3, Clock())
    for number in range(10):
        cache.put(IntentId(bytes([number]) * 32), snapshot(1))
    assert sum(cache.get(IntentId(bytes([number]) * 32)) is not None for number in range(10)) == 3
