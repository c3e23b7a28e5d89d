from random import Random

import pytest
from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.lifecycle import IllegalTransition, State, accepted, advance, retreat, terminate
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

P, S, D = IntentPhase, IntentStatus, Obligation


def _walk(*phases: "IntentPhase.ValueType") -> State:
    state = accepted()
    for phase in phases:
        state = advance(state, phase)
    return state


def test_advance__straight_way__completes_and_settles():
    state = _walk(P.INTENT_PHASE_AUCTION)
    assert state == State(S.INTENT_STATUS_PENDING, P.INTENT_PHASE_AUCTION, D.OBLIGATION_NONE)
    state = advance(state, P.INTENT_PHASE_AWARDED)
    assert state == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_AWARDED, D.OBLIGATION_OPENABLE)
    state = advance(state, P.INTENT_PHASE_OPENED)
    assert state == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_OPENED, D.OBLIGATION_ESCROWED)
    state = advance(state, P.INTENT_PHASE_FILLED)
    assert state == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_FILLED, D.OBLIGATION_UNSETTLED)
    state = advance(state, P.INTENT_PHASE_CONFIRMED)
    assert state == State(S.INTENT_STATUS_COMPLETED, P.INTENT_PHASE_CONFIRMED, D.OBLIGATION_UNSETTLED)
    state = advance(state, P.INTENT_PHASE_SETTLED)
    assert state == State(S.INTENT_STATUS_COMPLETED, P.INTENT_PHASE_SETTLED, D.OBLIGATION_NONE)
    assert state.is_over


def test_advance__next_solver_after_opening__keeps_the_escrow_owed():
    state = _walk(P.INTENT_PHASE_AWARDED, P.INTENT_PHASE_OPENED, P.INTENT_PHASE_AUCTION, P.INTENT_PHASE_AWARDED)
    assert state == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_AWARDED, D.OBLIGATION_ESCROWED)


@pytest.mark.parametrize(
    ("way", "phase"),
    [
        ((), P.INTENT_PHASE_ACCEPTED),
        ((), P.INTENT_PHASE_SETTLED),
        ((), P.INTENT_PHASE_REFUNDED),
        ((P.INTENT_PHASE_FILLED,), P.INTENT_PHASE_AWARDED),
        ((P.INTENT_PHASE_CANCELLATION_REQUESTED,), P.INTENT_PHASE_AWARDED),
        ((P.INTENT_PHASE_CONFIRMED,), P.INTENT_PHASE_FILLED),
        ((P.INTENT_PHASE_CONFIRMED, P.INTENT_PHASE_SETTLED), P.INTENT_PHASE_REFUNDED),
        ((P.INTENT_PHASE_CONFIRMED, P.INTENT_PHASE_SETTLED), P.INTENT_PHASE_SETTLED),
    ],
)
def test_advance__not_in_the_table__is_illegal(way, phase):
    with pytest.raises(IllegalTransition):
        advance(_walk(*way), phase)


def test_advance__completed_but_refunded_before_it_was_settled__owes_nothing_and_stays_completed():
    state = advance(_walk(P.INTENT_PHASE_CONFIRMED), P.INTENT_PHASE_REFUNDED)
    assert state == State(S.INTENT_STATUS_COMPLETED, P.INTENT_PHASE_REFUNDED, D.OBLIGATION_NONE)


def test_retreat__opening_undone_during_the_next_auction__no_escrow_is_owed():
    auction = _walk(P.INTENT_PHASE_AWARDED, P.INTENT_PHASE_OPENED, P.INTENT_PHASE_AUCTION)
    awarded = retreat(auction, P.INTENT_PHASE_AWARDED)
    assert awarded == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_AWARDED, D.OBLIGATION_OPENABLE)


def test_retreat__reorganisation__falls_back_to_what_is_proven():
    filled = _walk(P.INTENT_PHASE_AWARDED, P.INTENT_PHASE_OPENED, P.INTENT_PHASE_FILLED)
    opened = retreat(filled, P.INTENT_PHASE_OPENED)
    assert opened == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_OPENED, D.OBLIGATION_ESCROWED)
    awarded = retreat(opened, P.INTENT_PHASE_AWARDED)
    assert awarded == State(S.INTENT_STATUS_EXECUTING, P.INTENT_PHASE_AWARDED, D.OBLIGATION_OPENABLE)


def test_retreat__completed__is_illegal():
    with pytest.raises(IllegalTransition):
        retreat(_walk(P.INTENT_PHASE_CONFIRMED), P.INTENT_PHASE_OPENED)


def test_terminate__before_any_award__owes_nothing():
    state = terminate(accepted(), S.INTENT_STATUS_CANCELLED)
    assert state == State(S.INTENT_STATUS_CANCELLED, P.INTENT_PHASE_ACCEPTED, D.OBLIGATION_NONE)
    with pytest.raises(IllegalTransition):
        terminate(state, S.INTENT_STATUS_FAILED)
    with pytest.raises(IllegalTransition):
        advance(state, P.INTENT_PHASE_AUCTION)


def test_terminate__escrowed_past_the_deadline__still_gets_its_refund():
    state = terminate(_walk(P.INTENT_PHASE_OPENED), S.INTENT_STATUS_EXPIRED, obligation=D.OBLIGATION_ESCROWED)
    assert state.is_terminal
    assert not state.is_over
    refunded = advance(state, P.INTENT_PHASE_REFUNDED)
    assert refunded == State(S.INTENT_STATUS_EXPIRED, P.INTENT_PHASE_REFUNDED, D.OBLIGATION_NONE)


@pytest.mark.parametrize("obligation", [D.OBLIGATION_OPENABLE, D.OBLIGATION_UNSETTLED])
def test_terminate__something_can_still_happen__is_illegal(obligation):
    with pytest.raises(IllegalTransition):
        terminate(_walk(P.INTENT_PHASE_AWARDED), S.INTENT_STATUS_FAILED, obligation=obligation)


@pytest.mark.parametrize("status", [S.INTENT_STATUS_COMPLETED, S.INTENT_STATUS_PENDING, S.INTENT_STATUS_EXECUTING])
def test_terminate__no_failure_status__is_illegal(status):
    with pytest.raises(IllegalTransition):
        terminate(accepted(), status)


def test_advance__every_pair_of_phases__is_answered():
    """No phase is missing from the tables: each pair is a transition or IllegalTransition, never a KeyError."""
    phases = [value for value in P.values() if value != P.INTENT_PHASE_UNSPECIFIED]
    for before in phases:
        status = S.INTENT_STATUS_EXECUTING
        if before in (P.INTENT_PHASE_CONFIRMED, P.INTENT_PHASE_SETTLED, P.INTENT_PHASE_REFUNDED):
            status = S.INTENT_STATUS_COMPLETED
        for after in phases:
            state = State(status, before, D.OBLIGATION_NONE)
            try:
                assert advance(state, after).phase == after
            except IllegalTransition:
                continue


def test_full_jitter__growing_attempts__stays_under_base_doubled_and_cap():
    random = Random(7)
    for attempt, ceiling in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (10_000, 5.0)]:
        waits = [full_jitter(attempt, 1.0, 5.0, random) for _ in range(200)]
        assert 0.0 <= min(waits) < ceiling * 0.2
        assert ceiling * 0.8 < max(waits) <= ceiling
