import pytest
from intentmesh.domain.lifecycle import accepted
from intentmesh.executor.pace import auction_cap_seconds, displaced_seconds, rest_seconds, until_next

NOW = 1_000.0


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 0.5), (16.0, 2.0), (10_000.0, 5.0)])
def test_rest__the_older_the_last_event__is_the_longer_up_to_a_live_intents_limit(age: float, seconds: float) -> None:
    assert rest_seconds(accepted(), age, 0.5, 60.0) == seconds


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 5.0), (80.0, 10.0), (10_000.0, 60.0)])
def test_displaced__the_older_the_last_event__is_the_longer_up_to_the_longest_between_looks_and_never_short(
    age: float, seconds: float
) -> None:
    assert displaced_seconds(age, 0.5, 60.0) == seconds


@pytest.mark.parametrize(("age", "seconds"), [(0.0, 15.0), (120.0, 15.0), (240.0, 30.0), (10_000.0, 60.0)])
def test_auction_cap__the_longer_nobody_wants_the_order__is_the_longer_up_to_the_longest(
    age: float, seconds: float
) -> None:
    assert auction_cap_seconds(age, 15.0, 60.0) == seconds


def test_auction_cap__longest_is_less_than_the_cap__stays_the_cap() -> None:
    assert auction_cap_seconds(10_000.0, 15.0, 5.0) == 15.0


def test_until_next__a_moment_comes_before_the_end__ends_right_after_it() -> None:
    assert 2.0 < until_next(5.0, NOW, [NOW + 3_000.0, NOW + 2.0]) < 2.5


def test_until_next__no_moment_comes_before_the_end__keeps_the_seconds() -> None:
    assert until_next(5.0, NOW, [NOW - 1.0, NOW + 3_000.0]) == 5.0
    assert until_next(5.0, NOW, []) == 5.0
