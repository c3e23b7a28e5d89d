"""Reputation and availability as arithmetic."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from intentmesh.solver_registry.standing import OPENS_AFTER_FAILURES, Breaker, Standing


def test_p_settle__newcomer_and_veteran__follow_the_formula() -> None:
    assert Standing().p_settle == Fraction(9, 10)
    assert Standing(won=90, settled=81).p_settle == Fraction(90, 100)
    assert Standing().performance_score == 90
    assert (Standing().success_rate, Standing(4, 3).success_rate) == (1.0, 0.75)


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_p_settle__any_history__is_a_probability(a: int, b: int) -> None:
    assert 0 < Standing(max(a, b), min(a, b)).p_settle < 1


def failed(times: int, at: float, breaker: Breaker | None = None) -> Breaker:
    breaker = breaker or Breaker()
    for _ in range(times):
        breaker = breaker.after_failure(at)
    return breaker


def test_breaker__fewer_failures_than_five__stays_closed() -> None:
    breaker = failed(OPENS_AFTER_FAILURES - 1, 100.0)
    assert not breaker.is_open(100.0)
    assert not breaker.is_half_open(1e12)


def test_breaker__five_in_a_row__opens_for_ten_seconds_then_lets_a_probe_through() -> None:
    breaker = failed(5, 100.0)
    assert breaker.is_open(109.9)
    assert not breaker.is_half_open(109.9)
    assert breaker.is_half_open(110.0)
    assert not breaker.is_open(110.0)


def test_breaker__failed_probes__double_the_bench_up_to_ten_minutes() -> None:
    breaker, benches, now = failed(4, 0.0), [], 0.0
    for _ in range(9):
        breaker = breaker.after_failure(now)
        benches.append(breaker.open_until - now)
        now = breaker.open_until
    assert benches == [10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_breaker__an_answer__closes_it_and_forgets() -> None:
    breaker = failed(7, 0.0).after_answer()
    assert breaker == Breaker()
    assert failed(5, 50.0, breaker).open_until == 60.0
