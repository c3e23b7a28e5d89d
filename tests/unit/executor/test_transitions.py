from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.lifecycle import State, accepted, advance
from intentmesh.executor.evidence import Depth, Evidence, OrderStatus
from intentmesh.executor.transitions import Situation, Transition, next_transition
from intentmesh.executor.verification import verify
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase as P
from intentmesh.v1.intent_pb2 import IntentStatus as S
from intentmesh.v1.intent_pb2 import Obligation

from tests.unit.executor.orders import DEADLINE, evidence, fill, horizon, order

AWARDED = advance(advance(accepted(), P.INTENT_PHASE_AUCTION), P.INTENT_PHASE_AWARDED)
OPENED = advance(AWARDED, P.INTENT_PHASE_OPENED)
FILLED = advance(OPENED, P.INTENT_PHASE_FILLED)
COMPLETED = advance(FILLED, P.INTENT_PHASE_CONFIRMED)
OUT = Situation(signature_out=True)
PAST = horizon(head_time=DEADLINE + 100, final_time=DEADLINE + 50)


def walk(state: State, shown: Evidence, situation: Situation, outputs: int = 1) -> list[Transition]:
    """All steps until the state says what is proven."""
    proven = verify(order(outputs), shown)
    steps: list[Transition] = []
    while (step := next_transition(state, proven, situation)) is not None:
        steps.append(step)
        state = step.state
        if step.type == IntentEventType.INTENT_EVENT_TYPE_FINALITY_VIOLATED:
            situation = replace(situation, violation_told=True)
        assert len(steps) < 10, "the decisions go round in circles"
    return steps


def end(state: State, shown: Evidence, situation: Situation = OUT) -> State:
    steps = walk(state, shown, situation)
    return steps[-1].state if steps else state


def test_next_transition__everything_proven_at_once__tells_every_phase() -> None:
    shown = evidence(status=OrderStatus.CLAIMED, opened=Depth.FINAL, fills=(fill(),), finalised=Depth.FINAL)
    phases = [step.state.phase for step in walk(AWARDED, shown, OUT)]
    assert phases == [
        P.INTENT_PHASE_OPENED,
        P.INTENT_PHASE_FILLED,
        P.INTENT_PHASE_CONFIRMED,
        P.INTENT_PHASE_SETTLED,
    ]


def test_next_transition__finalised_but_not_final__stays_unsettled() -> None:
    shown = evidence(status=OrderStatus.CLAIMED, opened=Depth.FINAL, fills=(fill(),), finalised=Depth.CONFIRMED)
    state = end(AWARDED, shown)
    assert (state.status, state.obligation) == (S.INTENT_STATUS_COMPLETED, Obligation.OBLIGATION_UNSETTLED)


def test_next_transition__filled_but_not_final__is_not_completed() -> None:
    state = end(AWARDED, evidence(opened=Depth.FINAL, fills=(fill(depth=Depth.CONFIRMED),)))
    assert state == FILLED


def test_next_transition__filled_without_open__is_not_even_opened() -> None:
    assert walk(AWARDED, evidence(fills=(fill(),)), OUT) == []


def test_next_transition__late_fill_only__expires_and_waits_for_the_refund() -> None:
    shown = evidence(opened=Depth.FINAL, fills=(fill(time=DEADLINE + 1),), origin=PAST, destination=PAST)
    state = end(OPENED, shown)
    assert (state.status, state.obligation) == (S.INTENT_STATUS_EXPIRED, Obligation.OBLIGATION_ESCROWED)


def test_next_transition__fill_taken_back__steps_back_as_a_new_event() -> None:
    assert end(FILLED, evidence(opened=Depth.FINAL)) == OPENED


def test_next_transition__open_taken_back__steps_back_to_awarded() -> None:
    state = end(FILLED, evidence())
    assert (state.phase, state.obligation) == (P.INTENT_PHASE_AWARDED, Obligation.OBLIGATION_OPENABLE)


def test_next_transition__open_taken_back_during_the_next_auction__owes_no_escrow() -> None:
    auction = advance(OPENED, P.INTENT_PHASE_AUCTION)
    assert end(auction, evidence()).obligation == Obligation.OBLIGATION_OPENABLE


def test_next_transition__fill_taken_back_after_completion__tells_and_keeps_the_status() -> None:
    steps = walk(COMPLETED, evidence(opened=Depth.FINAL), OUT)
    assert [step.type for step in steps] == [IntentEventType.INTENT_EVENT_TYPE_FINALITY_VIOLATED]
    assert steps[0].state == COMPLETED


def test_next_transition__completed_and_seen_by_an_endpoint_a_block_behind__raises_no_alarm() -> None:
    assert walk(COMPLETED, evidence(opened=Depth.FINAL, fills=(fill(depth=Depth.CONFIRMED),)), OUT) == []


def test_next_transition__deadline_passed_unopened_but_not_final__waits() -> None:
    shown = evidence(origin=horizon(head_time=DEADLINE + 9, final_time=DEADLINE - 1))
    assert walk(AWARDED, shown, replace(OUT, deadline_passed=True)) == []


def test_next_transition__deadline_passed_unopened_finally__expires() -> None:
    state = end(AWARDED, evidence(origin=PAST))
    assert (state.status, state.obligation) == (S.INTENT_STATUS_EXPIRED, Obligation.OBLIGATION_NONE)


def test_next_transition__signature_never_left__expires_at_once() -> None:
    steps = walk(accepted(), evidence(), Situation(deadline_passed=True))
    assert [step.state.status for step in steps] == [S.INTENT_STATUS_EXPIRED]
    assert steps[0].reason == ErrorReason.ERROR_REASON_DEADLINE_PASSED


def test_next_transition__signature_never_left_but_opened_by_the_user__does_not_expire() -> None:
    state = end(accepted(), evidence(opened=Depth.FINAL), Situation(deadline_passed=True))
    assert (state.status, state.obligation) == (S.INTENT_STATUS_EXECUTING, Obligation.OBLIGATION_ESCROWED)


@pytest.mark.parametrize(
    ("situation", "status", "reason"),
    [
        (replace(OUT, exhausted=True), S.INTENT_STATUS_FAILED, ErrorReason.ERROR_REASON_ATTEMPTS_EXHAUSTED),
        (replace(OUT, cancel_requested=True), S.INTENT_STATUS_CANCELLED, ErrorReason.ERROR_REASON_CANCELLED_BY_USER),
        (
            replace(OUT, cancel_requested=True, exhausted=True),
            S.INTENT_STATUS_CANCELLED,
            ErrorReason.ERROR_REASON_CANCELLED_BY_USER,
        ),
    ],
)
def test_next_transition__end_by_deadline__has_the_status_of_its_cause(
    situation: Situation, status: S.ValueType, reason: ErrorReason.ValueType
) -> None:
    (step,) = walk(AWARDED, evidence(origin=PAST), situation)
    assert (step.state.status, step.reason) == (status, reason)


def test_next_transition__nonce_gone_after_cancellation__cancels_only_when_final() -> None:
    asked = replace(OUT, cancel_requested=True)
    assert walk(AWARDED, evidence(nonce_used=True), asked) == []
    state = end(AWARDED, evidence(nonce_used=True, nonce_used_finally=True), asked)
    assert (state.status, state.obligation) == (S.INTENT_STATUS_CANCELLED, Obligation.OBLIGATION_NONE)


def test_next_transition__nonce_gone_unasked_and_signature_kept__fails_at_once() -> None:
    (step,) = walk(accepted(), evidence(nonce_used=True), Situation())
    assert (step.state.status, step.reason) == (S.INTENT_STATUS_FAILED, ErrorReason.ERROR_REASON_NONCE_USED)


def test_next_transition__cancelled_and_the_signature_kept__is_cancelled_at_once_unless_it_was_opened() -> None:
    asked = advance(accepted(), P.INTENT_PHASE_CANCELLATION_REQUESTED)
    (step,) = walk(asked, evidence(), Situation(cancel_requested=True))
    assert (step.state.status, step.reason) == (
        S.INTENT_STATUS_CANCELLED,
        ErrorReason.ERROR_REASON_CANCELLED_BY_USER,
    )
    assert "deadline" not in step.message
    assert walk(asked, evidence(opened=Depth.SEEN), Situation(cancel_requested=True)) == []
    assert walk(asked, evidence(), replace(OUT, cancel_requested=True)) == []


def test_next_transition__refunded_finally__ends_with_nothing_owed() -> None:
    shown = evidence(status=OrderStatus.REFUNDED, opened=Depth.FINAL, refunded=Depth.FINAL)
    state = end(OPENED, shown)
    assert (state.phase, state.obligation) == (P.INTENT_PHASE_REFUNDED, Obligation.OBLIGATION_NONE)
    assert state.is_terminal


def test_next_transition__refunded_after_expiry_was_told__keeps_the_status() -> None:
    expired = end(OPENED, evidence(opened=Depth.FINAL, origin=PAST, destination=PAST))
    shown = evidence(status=OrderStatus.REFUNDED, opened=Depth.FINAL, refunded=Depth.FINAL, destination=PAST)
    state = end(expired, shown)
    assert (state.status, state.phase) == (S.INTENT_STATUS_EXPIRED, P.INTENT_PHASE_REFUNDED)


def test_next_transition__completed_but_refunded_unsettled__owes_nothing_and_stays_completed() -> None:
    shown = evidence(status=OrderStatus.REFUNDED, opened=Depth.FINAL, fills=(fill(),), refunded=Depth.FINAL)
    state = end(COMPLETED, shown)
    assert (state.status, state.phase) == (S.INTENT_STATUS_COMPLETED, P.INTENT_PHASE_REFUNDED)
    assert state.is_over


depths = st.sampled_from(list(Depth))
situations = st.builds(
    Situation,
    signature_out=st.booleans(),
    cancel_requested=st.booleans(),
    exhausted=st.booleans(),
    deadline_passed=st.booleans(),
)
horizons = st.sampled_from([horizon(), PAST, horizon(head_time=DEADLINE + 9, final_time=DEADLINE - 1)])
evidences = st.builds(
    lambda opened, finalised, refunded, fills, origin, destination, used, finally_: evidence(
        status=(OrderStatus.CLAIMED if finalised else OrderStatus.REFUNDED if refunded else OrderStatus.NONE)
        if opened
        else OrderStatus.NONE,
        opened=opened,
        finalised=finalised if opened and not refunded else Depth.ABSENT,
        refunded=refunded if opened else Depth.ABSENT,
        fills=tuple(fill(0, depth, time) for depth, time in fills if depth),
        origin=origin,
        destination=destination,
        nonce_used=(used or finally_) and not opened,
        nonce_used_finally=finally_ and not opened,
    ),
    depths,
    depths,
    depths,
    st.lists(st.tuples(depths, st.integers(DEADLINE - 2, DEADLINE + 2)), max_size=1),
    horizons,
    horizons,
    st.booleans(),
    st.booleans(),
)


@given(st.lists(st.tuples(evidences, situations), min_size=1, max_size=5))
def test_next_transition__any_history_of_evidence__keeps_the_promises(
    history: list[tuple[Evidence, Situation]],
) -> None:
    state = accepted()
    for shown, situation in history:
        proven = verify(order(), shown)
        before = state
        for step in walk(state, shown, situation):
            state = step.state
            if before.is_terminal:
                assert state.status == before.status, "a terminal status changed"
            elif state.status == S.INTENT_STATUS_COMPLETED:
                assert proven.complete or before.is_terminal
            elif state.is_terminal and state.obligation == Obligation.OBLIGATION_NONE:
                assert not proven.complete
                assert proven.unopened or proven.refunded is Depth.FINAL
