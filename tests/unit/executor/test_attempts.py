import pytest
from intentmesh.domain.lifecycle import accepted
from intentmesh.executor.attempts import CallAgain, GiveUp, RetryPolicy, StreamEnd, judge, overdue
from intentmesh.executor.pace import rest_seconds
from intentmesh.v1.error_pb2 import ErrorReason

POLICY = RetryPolicy()
NONE = ErrorReason.ERROR_REASON_UNSPECIFIED
FAILED = ErrorReason.ERROR_REASON_SOLVER_FAILED


@pytest.mark.parametrize("attempts", [0, 4])
def test_judge__cut__is_never_a_failure(attempts: int) -> None:
    assert judge(StreamEnd.CUT, NONE, attempts, True, POLICY) == CallAgain(attempts)


def test_judge__unreached__five_attempts_then_gives_up() -> None:
    verdicts = [judge(StreamEnd.UNREACHED, NONE, attempts, False, POLICY) for attempts in range(5)]
    assert verdicts == [CallAgain(1), CallAgain(2), CallAgain(3), CallAgain(4), GiveUp(FAILED)]


def test_judge__unreached_after_it_took_the_order_on__keeps_trying() -> None:
    assert judge(StreamEnd.UNREACHED, NONE, 5, True, POLICY) == CallAgain(5)


def test_judge__released_or_failed_or_refused__gives_up_with_its_reason() -> None:
    reason = ErrorReason.ERROR_REASON_INSUFFICIENT_BALANCE
    assert judge(StreamEnd.RELEASED, reason, 0, True, POLICY) == GiveUp(reason, released=True)
    assert judge(StreamEnd.FAILED, reason, 0, True, POLICY) == GiveUp(reason)
    assert judge(StreamEnd.REFUSED, NONE, 0, False, POLICY) == GiveUp(FAILED)


def test_overdue__within_grace_and_after__only_after() -> None:
    assert not overdue(100.0, 105.0, POLICY)
    assert overdue(100.0, 105.1, POLICY)


def test_rest_seconds__older_events__rest_longer_within_bounds() -> None:
    assert rest_seconds(accepted(), 0, 0.5, 60) == 0.5
    assert rest_seconds(accepted(), 16, 0.5, 60) == 2
    assert rest_seconds(accepted(), 10_000, 0.5, 60) == 5
