"""Pricing: what is offered is never worth more than the inputs pay for."""

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.solver.declined import Declined
from intentmesh.solver.prices import Amount, AskedOutput, PriceList, Terms, Token
from intentmesh.v1 import error_pb2 as reasons

USDC = Token("USDC", 6)
WETH = Token("WETH", 18)
PRICES = {"USDC": Decimal(1), "WETH": Decimal(2000)}
ONE_USDC = 10**6
ONE_WETH = 10**18


def price_list(*, markup_bps: int = 0, gas: str = "0", cap: str = "1000000", share_bps: int = 10_000) -> PriceList:
    return PriceList(PRICES, Terms(markup_bps, Decimal(gas), Decimal(cap), share_bps))


def asked(token: Token, units: int, *, promised: int | None = None, surplus: bool = True) -> AskedOutput:
    return AskedOutput(token, units, units if promised is None else promised, surplus)


def test_offer__swap_at_fair_price__gives_whole_surplus() -> None:
    amounts = price_list().offer([Amount(WETH, ONE_WETH)], [asked(USDC, 1900 * ONE_USDC)])
    assert amounts == (2000 * ONE_USDC,)


def test_offer__markup_and_gas__are_kept_back() -> None:
    prices = price_list(markup_bps=100, gas="0.5")
    assert prices.offer([Amount(USDC, 1000 * ONE_USDC)], [asked(USDC, ONE_USDC)]) == (989_500_000,)


def test_offer__half_of_surplus__is_shared() -> None:
    prices = price_list(share_bps=5_000)
    assert prices.offer([Amount(USDC, 1000 * ONE_USDC)], [asked(USDC, 900 * ONE_USDC)]) == (950 * ONE_USDC,)


def test_offer__settler_without_surplus__is_what_the_order_promises() -> None:
    output = asked(USDC, 950 * ONE_USDC, promised=940 * ONE_USDC, surplus=False)
    assert price_list().offer([Amount(USDC, 1000 * ONE_USDC)], [output]) == (940 * ONE_USDC,)


def test_offer__several_outputs__surplus_follows_their_value() -> None:
    outputs = [asked(USDC, 1000 * ONE_USDC), asked(WETH, ONE_WETH // 2)]
    amounts = price_list().offer([Amount(WETH, 2 * ONE_WETH)], outputs)
    assert amounts == (2000 * ONE_USDC, ONE_WETH)


def test_offer__draft_that_asks_for_the_best__splits_evenly() -> None:
    amounts = price_list().offer([Amount(WETH, ONE_WETH)], [asked(USDC, 0), asked(USDC, 0)])
    assert amounts == (1000 * ONE_USDC, 1000 * ONE_USDC)


def test_offer__minimum_one_unit_above_budget__declined() -> None:
    with pytest.raises(Declined) as declined:
        price_list().offer([Amount(USDC, ONE_USDC)], [asked(USDC, ONE_USDC + 1)])
    assert declined.value.reason == reasons.ERROR_REASON_NO_QUOTES


def test_offer__minimum_equal_to_budget__offered() -> None:
    assert price_list().offer([Amount(USDC, ONE_USDC)], [asked(USDC, ONE_USDC)]) == (ONE_USDC,)


def test_offer__value_above_cap__declined() -> None:
    with pytest.raises(Declined) as declined:
        price_list(cap="1999.99").offer([Amount(WETH, ONE_WETH)], [asked(USDC, 1)])
    assert declined.value.reason == reasons.ERROR_REASON_VALUE_TOO_HIGH


def test_offer__token_without_price__declined() -> None:
    with pytest.raises(Declined) as declined:
        price_list().offer([Amount(Token("DOGE", 8), 1)], [asked(USDC, 1)])
    assert declined.value.reason == reasons.ERROR_REASON_UNSUPPORTED_TOKEN


tokens = st.sampled_from([USDC, WETH])
amounts_of = st.builds(Amount, tokens, st.integers(1, 10**24))


@given(
    inputs=st.lists(amounts_of, min_size=1, max_size=4),
    outputs=st.lists(st.tuples(tokens, st.integers(0, 10**24)), min_size=1, max_size=4),
    markup_bps=st.integers(0, 10_000),
    gas=st.decimals(0, 100, places=2),
    share_bps=st.integers(0, 10_000),
)
def test_offer__any_order__never_below_required_nor_above_budget(
    inputs: list[Amount], outputs: list[tuple[Token, int]], markup_bps: int, gas: Decimal, share_bps: int
) -> None:
    prices = PriceList(PRICES, Terms(markup_bps, gas, Decimal(10**40), share_bps))
    asked_for = [asked(token, units) for token, units in outputs]
    try:
        offered = prices.offer(inputs, asked_for)
    except Declined:
        assert worth(Amount(t, u) for t, u in outputs) > budget(inputs, markup_bps, gas)
        return
    assert all(given_units >= units for given_units, (_, units) in zip(offered, outputs, strict=True))
    paid = [Amount(token, units) for units, (token, _) in zip(offered, outputs, strict=True)]
    assert worth(paid) <= budget(inputs, markup_bps, gas)
    assert prices.covers(inputs, paid)


def worth(amounts: Iterable[Amount]) -> Fraction:
    return sum(
        (Fraction(PRICES[a.token.symbol]) * a.units / 10**a.token.decimals for a in amounts),
        Fraction(),
    )


def budget(inputs: list[Amount], markup_bps: int, gas: Decimal) -> Fraction:
    return worth(inputs) * (10_000 - markup_bps) / 10_000 - Fraction(gas)
