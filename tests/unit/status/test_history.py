"""A history is dense whatever is added, and bounded; so is the stretch of the feed."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.types import IntentId
from intentmesh.status.feed import Placed, Stretch
from intentmesh.status.hub import KEPT_BYTES, KEPT_EVENTS, History

from tests.unit.status.events import told_event

ONE = IntentId(b"\x01" * 32)


@given(st.lists(st.integers(1, 12), max_size=60))
def test_add__hints_in_any_order_and_number__keeps_a_dense_beginning(sequences: list[int]) -> None:
    history = History(ONE)
    for sequence in sequences:
        history.add(told_event(sequence))
    kept = history.after(0, 100)
    assert kept is not None
    assert [event.sequence for event in kept] == list(range(1, history.newest + 1))


def test_add__overlap_of_history_and_hints__is_dropped() -> None:
    history = History(ONE)
    assert [history.add(told_event(sequence)) for sequence in (1, 2, 2, 1, 4, 3)] == [
        *(True, True),
        *(False, False, False),
        True,
    ]
    assert history.newest == 3


def test_add__news__sets_every_listener() -> None:
    history, listener = History(ONE), asyncio.Event()
    history.listeners.add(listener)
    history.add(told_event(2))
    assert not listener.is_set()
    history.add(told_event(1))
    assert listener.is_set()


@pytest.mark.parametrize("characters", [0, 2_000])
def test_add__more_than_is_kept__is_bounded_and_says_where_it_begins(characters: int) -> None:
    history = History(ONE)
    for sequence in range(1, 501):
        history.add(told_event(sequence, message="x" * characters))
    kept = history.after(history.oldest - 1, 1_000)
    assert kept is not None
    assert [event.sequence for event in kept] == list(range(history.oldest, 501))
    assert len(kept) <= KEPT_EVENTS
    assert sum(len(event.frame) for event in kept) <= KEPT_BYTES
    assert history.after(history.oldest - 2, 10) is None
    assert history.at(history.oldest - 1) is None
    newest = history.at(500)
    assert newest is not None
    assert newest.sequence == 500


def test_after__limit_and_the_end__are_respected() -> None:
    history = History(ONE)
    for sequence in range(1, 6):
        history.add(told_event(sequence))
    page = history.after(2, 2)
    assert page is not None
    assert [event.sequence for event in page] == [3, 4]
    assert history.after(5, 2) == []
    assert history.after(9, 2) == []


@given(st.lists(st.integers(1, 3), min_size=1, max_size=80), st.integers(0, 250))
def test_stretch__read_from_anywhere__gives_all_that_follows_or_says_that_it_cannot(
    steps: list[int], after: int
) -> None:
    stretch = Stretch(10, max_events=8, max_bytes=1_000_000)
    position, positions = 10, []
    for step in steps:
        position += step
        positions.append(position)
        stretch.add(Placed(position, told_event()))
    read = stretch.read(after, 1_000)
    if after < stretch.after_position:
        assert read is None
    else:
        assert read is not None
        assert [placed.position for placed in read] == [p for p in positions if p > after]
    assert stretch.newest == position


def test_stretch__large_events__is_bounded_in_bytes() -> None:
    stretch = Stretch(0, max_events=1_000, max_bytes=50_000)
    for position in range(1, 301):
        stretch.add(Placed(position, told_event(message="x" * 1_000)))
        kept = stretch.read(stretch.after_position, 1_000)
        assert kept is not None
        assert sum(len(placed.event.frame) for placed in kept) <= 100_000
