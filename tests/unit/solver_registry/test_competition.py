"""The decision of an auction, on its own."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import UINT256_MAX, Address, Bytes32, ChainId, to_bytes32
from intentmesh.solver_registry.competition import Terms, UnscoredOffer, arbitrate, broken_rule, format_score, value
from intentmesh.solver_registry.standing import Standing

NOW_MS = 1_700_000_000_000
DEADLINE = 1_700_000_600
LONGEST_FILL_MS = 900_000
TOKEN_A, TOKEN_B = Bytes32(b"\0" * 12 + b"\xaa" * 20), Bytes32(b"\0" * 12 + b"\xbb" * 20)


def output(amount: int = 1_000, token: Bytes32 = TOKEN_A, context: bytes = b"") -> OrderOutput:
    word = Bytes32(b"\x01" * 32)
    return OrderOutput(word, word, ChainId(31338), token, amount, word, b"", context)


def order(*outputs: OrderOutput) -> Order:
    user = Address(b"\x11" * 20)
    inputs = (OrderInput(user, 1),)
    return Order(user, 1, ChainId(31337), DEADLINE + 600, DEADLINE, user, inputs, outputs or (output(),))


def terms(wanted: Order | None = None, *, accepts_surplus: bool = True) -> Terms:
    return Terms(wanted or order(), NOW_MS, accepts_surplus, LONGEST_FILL_MS)


def address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def offer(number: int = 1, amounts: tuple[int, ...] = (1_000,), **changes) -> UnscoredOffer:  # noqa: ANN003
    made = UnscoredOffer(
        solver_id=f"0x{number:040x}",
        solver=address(number),
        quote_id="q",
        amounts=amounts,
        fill_time_ms=NOW_MS + 5_000,
        valid_until_ms=NOW_MS + 30_000,
        standing=Standing(),
    )
    return replace(made, **changes)


standings = st.tuples(st.integers(0, 500), st.integers(0, 500)).map(lambda t: Standing(max(t), min(t)))
offers = st.lists(
    st.builds(
        offer,
        number=st.integers(1, 50),
        amounts=st.tuples(st.integers(900, 1_100)),
        fill_time_ms=st.integers(NOW_MS - 1_000, DEADLINE * 1_000 + 1_000),
        standing=standings,
    ),
    max_size=12,
    unique_by=lambda o: o.solver_id,
)


@given(offers, st.randoms())
def test_arbitrate__any_order_of_arrival__decides_the_same(given_offers, random) -> None:
    shuffled = list(given_offers)
    random.shuffle(shuffled)
    assert arbitrate(terms(), shuffled) == arbitrate(terms(), given_offers)


@given(offers)
def test_arbitrate__any_offers__ranks_or_refuses_each_once(given_offers) -> None:
    ranking = arbitrate(terms(), given_offers)
    told = [s.offer for s in ranking.ranked] + [r.offer for r in ranking.refused]
    assert sorted(told, key=lambda o: o.solver_id) == sorted(given_offers, key=lambda o: o.solver_id)
    scores = [s.score for s in ranking.ranked]
    assert scores == sorted(scores, reverse=True)


def place(given_offers: list[UnscoredOffer], solver_id: str) -> int:
    return [s.offer.solver_id for s in arbitrate(terms(), given_offers).ranked].index(solver_id)


@given(offers, st.data())
def test_arbitrate__a_better_offer__never_ranks_lower(given_offers, data) -> None:
    ranked = arbitrate(terms(), given_offers).ranked
    assume(ranked)
    chosen = data.draw(st.sampled_from([s.offer for s in ranked]))
    won, settled = chosen.standing.won, chosen.standing.settled
    better = data.draw(
        st.sampled_from(
            [
                replace(chosen, amounts=(chosen.amounts[0] + data.draw(st.integers(1, 10**30)),)),
                replace(chosen, standing=Standing(won + 1, settled + 1)),
                replace(chosen, standing=Standing(max(0, won - 1), min(settled, max(0, won - 1)))),
                replace(chosen, fill_time_ms=data.draw(st.integers(NOW_MS + 1, chosen.fill_time_ms))),
            ]
        )
    )
    assume(better.standing.p_settle >= chosen.standing.p_settle)
    others = [o for o in given_offers if o.solver_id != chosen.solver_id]
    assert place([*others, better], chosen.solver_id) <= place(given_offers, chosen.solver_id)


def test_arbitrate__reliable_against_generous__weighs_value_by_probability() -> None:
    generous = offer(1, (1_050,), standing=Standing(won=10, settled=5))  # 1050 · 14/20 = 735
    reliable = offer(2, (1_000,), standing=Standing(won=10, settled=9))  # 1000 · 18/20 = 900
    ranked = arbitrate(terms(), [generous, reliable]).ranked
    assert [s.offer for s in ranked] == [reliable, generous]
    assert [s.score for s in ranked] == [900, 735]


def test_arbitrate__equal_scores__go_to_the_earlier_fill_then_the_smaller_id() -> None:
    late, early_b, early_a = offer(1, fill_time_ms=NOW_MS + 9_000), offer(3), offer(2)
    ranked = arbitrate(terms(), [late, early_b, early_a]).ranked
    assert [s.offer for s in ranked] == [early_a, early_b, late]


def test_arbitrate__amounts_beyond_double_precision__are_told_apart() -> None:
    big = UINT256_MAX - 1
    ranked = arbitrate(terms(), [offer(1, (big,)), offer(2, (big + 1,))]).ranked
    assert ranked[0].offer.solver_id == offer(2).solver_id


def test_arbitrate__settler_without_surplus__clips_to_what_it_pays() -> None:
    greedy, honest = offer(1, (5_000,), fill_time_ms=NOW_MS + 9_000), offer(2, (1_000,))
    ranked = arbitrate(terms(accepts_surplus=False), [greedy, honest]).ranked
    assert [s.offer for s in ranked] == [honest, greedy]
    assert [s.paid for s in ranked] == [(1_000,), (1_000,)]


def dutch(start: int, stop: int, slope: int) -> bytes:
    return OrderContext(ContextKind.DUTCH, start=start, stop=stop, slope=slope).encode()


def test_arbitrate__dutch_without_surplus__is_clipped_at_the_promised_fill_time() -> None:
    at = NOW_MS // 1000 + 5
    wanted = order(output(1_000, context=dutch(at - 10, at + 10, 3)))
    ranked = arbitrate(terms(wanted, accepts_surplus=False), [offer(amounts=(2_000,))]).ranked
    assert ranked[0].paid == (1_030,)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"amounts": (999,)}, "asks for 1000"),
        ({"amounts": ()}, "0 amounts for 1 outputs"),
        ({"amounts": (1_000, 1_000)}, "2 amounts for 1 outputs"),
        ({"amounts": (UINT256_MAX + 1,)}, "uint256"),
        ({"quote_id": ""}, "no id"),
        ({"fill_time_ms": NOW_MS}, "has passed"),
        ({"fill_time_ms": DEADLINE * 1_000 + 1}, "after the fill deadline"),
        ({"valid_until_ms": NOW_MS}, "lapsed"),
    ],
)
def test_broken_rule__each_rule__is_named(changes, sentence: str) -> None:
    assert sentence in broken_rule(terms(), offer(**changes))
    assert broken_rule(terms(), offer()) == ""


def test_broken_rule__promise_longer_than_the_mesh_waits__is_named_whatever_the_deadline() -> None:
    patient = replace(terms(), order=replace(order(), fill_deadline=DEADLINE + 3_000))
    assert broken_rule(patient, offer(fill_time_ms=NOW_MS + LONGEST_FILL_MS)) == ""
    sentence = "the promised fill is 901 s away, and no fill is waited for longer than 900 s"
    assert broken_rule(patient, offer(fill_time_ms=NOW_MS + LONGEST_FILL_MS + 1)) == sentence
    assert "after the fill deadline" in broken_rule(terms(), offer(fill_time_ms=NOW_MS + LONGEST_FILL_MS + 1))


def test_broken_rule__dutch_price_at_the_promised_time__is_the_least() -> None:
    at = NOW_MS // 1000 + 5
    wanted = order(output(1_000, context=dutch(at - 10, at + 10, 3)))
    assert "asks for 1030" in broken_rule(terms(wanted), offer(amounts=(1_029,)))
    assert broken_rule(terms(wanted), offer(amounts=(1_030,))) == ""


def test_broken_rule__exclusive_order__is_for_its_solver_until_the_time() -> None:
    until = NOW_MS // 1000 + 60
    context = OrderContext(ContextKind.EXCLUSIVE_LIMIT, exclusive_solver=to_bytes32(address(7)), until=until).encode()
    wanted = order(output(context=context))
    assert "exclusive" in broken_rule(terms(wanted), offer(1))
    assert broken_rule(terms(wanted), offer(7)) == ""
    assert broken_rule(terms(wanted), offer(1, fill_time_ms=until * 1000)) == ""


def test_value__one_token_and_several__sums_or_counts_multiples() -> None:
    assert value(order(output(1_000), output(500)), (1_100, 500)) == 1_600
    mixed = order(output(1_000, TOKEN_A), output(10, TOKEN_B))
    assert value(mixed, (1_100, 20)) == Fraction(11, 10) + 2


@given(st.fractions(0, 10**80))
def test_format_score__any__is_decimal_and_rounded_down(score: Fraction) -> None:
    assert 0 <= score - Fraction(format_score(score)) < Fraction(1, 10**6)
