"""Which orders the solver wants, and what it offers for them."""

from dataclasses import replace

import pytest
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.order import Order
from intentmesh.domain.types import Address, ChainId, to_bytes32
from intentmesh.solver.appraisal import amounts_due, needs, settle_seconds
from intentmesh.solver.declined import Declined
from intentmesh.v1 import error_pb2 as reasons

from tests.unit.solver.orders import (
    ALPHA,
    BETA,
    NOW,
    ONE_USDC,
    OTHER,
    SOLVER,
    USDC,
    WETH,
    appraiser,
    bridge,
    network,
    swap,
    with_output,
)


def dutch(start: int, stop: int, slope: int) -> bytes:
    return OrderContext(ContextKind.DUTCH, start=start, stop=stop, slope=slope).encode()


def exclusive(solver: Address, until: int) -> bytes:
    return OrderContext(ContextKind.EXCLUSIVE_LIMIT, exclusive_solver=to_bytes32(solver), until=until).encode()


@pytest.mark.parametrize("order", [swap(), bridge()])
def test_offer__profitable_order__offers_surplus_and_a_time(order: Order) -> None:
    offer = appraiser().offer(order, NOW, draft=False, already_opened=False)
    assert offer.amounts[0] > order.outputs[0].amount
    assert NOW < offer.fill_time < order.fill_deadline


def test_offer__settler_without_surplus__offers_exactly_the_order() -> None:
    offer = appraiser(surplus=False).offer(swap(), NOW, draft=False, already_opened=False)
    assert offer.amounts == (1900 * ONE_USDC,)


def test_offer__draft_for_settler_without_surplus__offers_the_best() -> None:
    offer = appraiser(surplus=False).offer(swap(out=0), NOW, draft=True, already_opened=False)
    assert offer.amounts == (2000 * ONE_USDC,)


def test_offer__already_opened__promises_an_earlier_fill() -> None:
    opened = appraiser().offer(swap(), NOW, draft=False, already_opened=True)
    unopened = appraiser().offer(swap(), NOW, draft=False, already_opened=False)
    assert opened.fill_time < unopened.fill_time


def test_offer__dutch_order_still_too_dear__declined_until_it_has_fallen() -> None:
    order = swap(context=dutch(NOW, NOW + 200, ONE_USDC))
    with pytest.raises(Declined):
        appraiser().offer(order, NOW, draft=False, already_opened=False)
    assert appraiser().offer(order, NOW + 100, draft=False, already_opened=False).amounts == (2000 * ONE_USDC,)


def test_offer__dutch_order_without_surplus__promises_the_curve_at_the_fill_time() -> None:
    order = swap(context=dutch(NOW, NOW + 100, ONE_USDC))
    offer = appraiser(surplus=False).offer(order, NOW, draft=False, already_opened=False)
    assert offer.amounts == (1900 * ONE_USDC + (NOW + 100 - offer.fill_time) * ONE_USDC,)


def test_offer__exclusive_to_this_solver__offered() -> None:
    order = swap(context=exclusive(SOLVER, NOW + 100))
    assert appraiser().offer(order, NOW, draft=False, already_opened=False).amounts


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (swap(context=exclusive(OTHER, NOW + 100)), reasons.ERROR_REASON_INVALID_CONTEXT),
        (swap(context=b"\x07"), reasons.ERROR_REASON_INVALID_CONTEXT),
        (with_output(swap(), callback_data=b"\x01"), reasons.ERROR_REASON_CALLBACK_NOT_ALLOWED),
        (with_output(swap(), token=to_bytes32(OTHER)), reasons.ERROR_REASON_UNSUPPORTED_TOKEN),
        (with_output(swap(), token=b"\x01" * 32), reasons.ERROR_REASON_UNSUPPORTED_TOKEN),
        (with_output(swap(), settler=to_bytes32(OTHER)), reasons.ERROR_REASON_UNSUPPORTED_ORACLE),
        (replace(bridge(), input_oracle=OTHER), reasons.ERROR_REASON_UNSUPPORTED_ORACLE),
        (replace(swap(), origin_chain_id=ChainId(1)), reasons.ERROR_REASON_UNSUPPORTED_CHAIN),
        (replace(swap(), outputs=(*swap().outputs, *bridge().outputs)), reasons.ERROR_REASON_UNSUPPORTED_ROUTE),
        (replace(swap(), fill_deadline=NOW + 15), reasons.ERROR_REASON_INSUFFICIENT_VALID_TO),
        (replace(swap(), fill_deadline=NOW + 40, expires=NOW + 60), reasons.ERROR_REASON_INSUFFICIENT_EXPIRY_MARGIN),
        (swap(out=2001 * ONE_USDC), reasons.ERROR_REASON_NO_QUOTES),
        (replace(swap(out=1), outputs=swap(out=1).outputs * 2), reasons.ERROR_REASON_DUPLICATE_OUTPUT),
    ],
)
def test_offer__order_it_cannot_serve__declined_with_reason(order: Order, reason: int) -> None:
    with pytest.raises(Declined) as declined:
        appraiser().offer(order, NOW, draft=False, already_opened=False)
    assert declined.value.reason == reason


def test_offer__expires_before_the_fill_is_final_on_a_slow_chain__declined() -> None:
    # Attesters sign once the fill is 801 blocks of a second deep; the order expires 700 s from now.
    order = replace(bridge(), fill_deadline=NOW + 600, expires=NOW + 700)
    appraiser().offer(order, NOW, draft=False, already_opened=False)
    with pytest.raises(Declined) as declined:
        appraiser(max_reorg_depth=800).offer(order, NOW, draft=False, already_opened=False)
    assert declined.value.reason == reasons.ERROR_REASON_INSUFFICIENT_EXPIRY_MARGIN


def test_settle_seconds__attested_route__adds_the_finality_of_the_destination() -> None:
    there = network(max_reorg_depth=800).chain(BETA)
    assert settle_seconds(bridge(), there, 60) == 801 + 60
    assert settle_seconds(swap(), there, 60) == 60


def test_check_award__own_offer__accepted() -> None:
    offer = appraiser().offer(swap(), NOW, draft=False, already_opened=False)
    appraiser().check_award(swap(), offer.amounts, NOW + 5, already_opened=False)


@pytest.mark.parametrize("amounts", [(2001 * ONE_USDC,), (), (1, 1)])
def test_check_award__amounts_nobody_offered__declined(amounts: tuple[int, ...]) -> None:
    with pytest.raises(Declined):
        appraiser().check_award(swap(), amounts, NOW, already_opened=False)


def test_amounts_due__curve_above_the_quote__is_the_curve() -> None:
    order = swap(context=dutch(NOW, NOW + 100, ONE_USDC))
    assert amounts_due(order, (1950 * ONE_USDC,), NOW) == (2000 * ONE_USDC,)
    assert amounts_due(order, (1950 * ONE_USDC,), NOW + 90) == (1950 * ONE_USDC,)


def test_needs__outputs_of_one_token__are_summed() -> None:
    order = replace(
        swap(), outputs=(*swap().outputs, *swap(out=5).outputs, *with_output(swap(), token=to_bytes32(WETH)).outputs)
    )
    assert needs(order, (10**10, 7, 10**10), NOW) == {(ALPHA, USDC): 10**10 + 7, (ALPHA, WETH): 10**10}
    assert set(needs(bridge(), (1,), NOW)) == {(BETA, USDC)}
