from dataclasses import replace

import pytest
from intentmesh.domain.lifecycle import State, accepted, advance
from intentmesh.executor.evidence import Depth, Evidence, OrderStatus
from intentmesh.executor.moves import Means, Move, next_move, settlement_endangered
from intentmesh.executor.transitions import Situation
from intentmesh.executor.verification import verify
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

from tests.unit.executor.orders import DEADLINE, EXPIRES, evidence, fill, horizon, order

NOW = DEADLINE - 100.0
AWARDED = advance(advance(accepted(), IntentPhase.INTENT_PHASE_AUCTION), IntentPhase.INTENT_PHASE_AWARDED)
FREE = Means(award_stands=False, paused=False, least_seconds=5)
HELD = replace(FREE, award_stands=True)
EXPIRED = State(IntentStatus.INTENT_STATUS_EXPIRED, IntentPhase.INTENT_PHASE_OPENED, Obligation.OBLIGATION_ESCROWED)
AFTER_EXPIRY = horizon(head_time=EXPIRES + 1, final_time=EXPIRES)


def move(
    state: State,
    shown: Evidence | None = None,
    situation: Situation | None = None,
    means: Means = FREE,
    now: float = NOW,
) -> Move:
    shown = shown or evidence()
    return next_move(order(), state, shown, verify(order(), shown), situation or Situation(), means, now)


def test_next_move__accepted__holds_an_auction() -> None:
    assert move(accepted()) is Move.AUCTION


def test_next_move__award_stands__executes() -> None:
    assert move(AWARDED, means=HELD) is Move.EXECUTE


@pytest.mark.parametrize(
    "situation", [Situation(cancel_requested=True), Situation(exhausted=True)], ids=["cancelled", "exhausted"]
)
@pytest.mark.parametrize("means", [FREE, HELD], ids=["free", "held"])
def test_next_move__cancelled_or_exhausted__hands_the_order_to_nobody(situation: Situation, means: Means) -> None:
    assert move(AWARDED, situation=situation, means=means) is Move.FOLLOW


def test_next_move__nonce_gone__hands_the_order_to_nobody() -> None:
    assert move(AWARDED, evidence(nonce_used=True), means=HELD) is Move.FOLLOW


def test_next_move__paused__begins_nothing_but_goes_on() -> None:
    assert move(accepted(), means=replace(FREE, paused=True)) is Move.FOLLOW
    assert move(AWARDED, means=replace(HELD, paused=True)) is Move.EXECUTE


def test_next_move__too_late_to_begin__follows() -> None:
    assert move(accepted(), now=DEADLINE - 5) is Move.FOLLOW
    assert move(AWARDED, means=HELD, now=DEADLINE - 5) is Move.EXECUTE
    assert move(AWARDED, means=HELD, now=DEADLINE) is Move.FOLLOW


def test_next_move__paid_though_shallow__asks_nobody_to_pay_again() -> None:
    shown = evidence(opened=Depth.FINAL, fills=(fill(depth=Depth.SEEN),))
    assert move(AWARDED, shown) is Move.FOLLOW


def test_next_move__opening_too_shallow__asks_nobody_to_open_again() -> None:
    assert move(AWARDED, evidence(opened=Depth.SEEN)) is Move.FOLLOW


def test_next_move__expired_and_unpaid_for_good__refunds() -> None:
    shown = evidence(opened=Depth.FINAL, origin=AFTER_EXPIRY, destination=AFTER_EXPIRY)
    assert move(EXPIRED, shown) is Move.REFUND


@pytest.mark.parametrize(
    "shown",
    [
        evidence(opened=Depth.FINAL, origin=horizon(head_time=EXPIRES), destination=AFTER_EXPIRY),
        evidence(opened=Depth.FINAL, origin=AFTER_EXPIRY, destination=horizon(head_time=EXPIRES, final_time=DEADLINE)),
        evidence(opened=Depth.FINAL, fills=(fill(),), origin=AFTER_EXPIRY, destination=AFTER_EXPIRY),
        evidence(
            status=OrderStatus.REFUNDED,
            opened=Depth.FINAL,
            refunded=Depth.SEEN,
            origin=AFTER_EXPIRY,
            destination=AFTER_EXPIRY,
        ),
    ],
    ids=["not expired", "destination not final", "filled", "refunded already"],
)
def test_next_move__refund_not_certain__never_refunds(shown: Evidence) -> None:
    assert move(EXPIRED, shown) is Move.FOLLOW


def test_next_move__over__finishes() -> None:
    over = replace(EXPIRED, obligation=Obligation.OBLIGATION_NONE)
    assert move(over) is Move.FINISH


def test_settlement_endangered__filled_unsettled_near_expiry__pages() -> None:
    near = horizon(head_time=EXPIRES - 50)
    shown = evidence(opened=Depth.FINAL, fills=(fill(),), origin=near)
    assert settlement_endangered(order(), shown, verify(order(), shown), 60)
    assert not settlement_endangered(order(), shown, verify(order(), shown), 40)
    unfilled = evidence(opened=Depth.FINAL, origin=near)
    assert not settlement_endangered(order(), unfilled, verify(order(), unfilled), 60)
