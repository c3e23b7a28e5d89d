"""The decision of an auction: offers go in unscored and come out ranked. Pure, exact, and independent of their order.

The score is the value paid to the user times `p_settle`, both exact (integers and fractions of integers); ties go to
the earlier promised fill, then to the smaller solver id. All outputs of an order go to one solver: an offer
covers all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from intentmesh.domain.context import may_fill, resolve_amount
from intentmesh.domain.order import Order
from intentmesh.domain.types import UINT256_MAX, Address, to_bytes32
from intentmesh.solver_registry.standing import Standing

MILLISECONDS = 1000
SCORE_DIGITS = 6


@dataclass(frozen=True, slots=True)
class Terms:
    """What is competed for. `now_ms` is Unix milliseconds."""

    order: Order
    now_ms: int
    accepts_surplus: bool
    """The output settler pays what is offered above the order's amount; else the offer is worth the order's amount."""
    longest_fill_ms: int
    """No promise may reach further ahead: until its time has passed, the order waits for its winner alone."""


@dataclass(frozen=True, slots=True)
class UnscoredOffer:
    """What a solver promises, as it came. Amounts in the order of the outputs, in each token's smallest unit."""

    solver_id: str
    solver: Address
    quote_id: str
    amounts: tuple[int, ...]
    fill_time_ms: int
    valid_until_ms: int
    standing: Standing


@dataclass(frozen=True, slots=True)
class RefusedOffer:
    """An offer that broke a rule."""

    offer: UnscoredOffer
    message: str


@dataclass(frozen=True, slots=True)
class ScoredOffer:
    """An offer that keeps the rules. `paid` is what reaches the recipients: clipped where the settler clips it."""

    offer: UnscoredOffer
    paid: tuple[int, ...]
    score: Fraction


@dataclass(frozen=True, slots=True)
class Ranking:
    """The result: best first."""

    ranked: tuple[ScoredOffer, ...]
    refused: tuple[RefusedOffer, ...]


def arbitrate(terms: Terms, offers: Iterable[UnscoredOffer]) -> Ranking:
    """Decide a competition. Raises InvalidContext when the order itself cannot be priced."""
    scored: list[ScoredOffer] = []
    refused: list[RefusedOffer] = []
    for offer in offers:
        problem = broken_rule(terms, offer)
        if problem:
            refused.append(RefusedOffer(offer, problem))
        else:
            scored.append(_score(terms, offer))
    return Ranking(rank(scored), tuple(sorted(refused, key=lambda r: r.offer.solver_id)))


def broken_rule(terms: Terms, offer: UnscoredOffer) -> str:
    """Which rule the offer breaks, as a sentence for a person; empty when it keeps them all."""
    outputs = terms.order.outputs
    if not offer.quote_id:
        return "the quote has no id"
    if len(offer.amounts) != len(outputs):
        return f"the quote names {len(offer.amounts)} amounts for {len(outputs)} outputs"
    if any(not 0 <= amount <= UINT256_MAX for amount in offer.amounts):
        return "an amount of the quote is not a uint256"
    if offer.fill_time_ms <= terms.now_ms:
        return "the promised fill time has passed"
    if offer.fill_time_ms > terms.order.fill_deadline * MILLISECONDS:
        return "the promised fill time is after the fill deadline"
    if offer.fill_time_ms - terms.now_ms > terms.longest_fill_ms:
        return _too_distant(terms, offer)
    if offer.valid_until_ms <= terms.now_ms:
        return "the quote has lapsed"
    return _unfillable_output(terms, offer)


def _too_distant(terms: Terms, offer: UnscoredOffer) -> str:
    seconds = -(-(offer.fill_time_ms - terms.now_ms) // MILLISECONDS)
    longest = terms.longest_fill_ms // MILLISECONDS
    return f"the promised fill is {seconds} s away, and no fill is waited for longer than {longest} s"


def _unfillable_output(terms: Terms, offer: UnscoredOffer) -> str:
    at = offer.fill_time_ms // MILLISECONDS
    for index, (output, amount) in enumerate(zip(terms.order.outputs, offer.amounts, strict=True)):
        if not may_fill(output, to_bytes32(offer.solver), at):
            return f"output {index} is exclusive to another solver at the promised fill time"
        required = resolve_amount(output, at)
        if amount < required:
            return f"output {index} is offered {amount}, the order asks for {required} at the promised fill time"
    return ""


def _score(terms: Terms, offer: UnscoredOffer) -> ScoredOffer:
    paid = offer.amounts if terms.accepts_surplus else _clipped(terms.order, offer)
    return ScoredOffer(offer, paid, value(terms.order, paid) * offer.standing.p_settle)


def _clipped(order: Order, offer: UnscoredOffer) -> tuple[int, ...]:
    at = offer.fill_time_ms // MILLISECONDS
    return tuple(
        min(amount, resolve_amount(output, at)) for output, amount in zip(order.outputs, offer.amounts, strict=True)
    )


def value(order: Order, amounts: tuple[int, ...]) -> Fraction:
    """What the amounts are worth to the user: their sum where all outputs are one token.

    Several tokens have no common unit here, and no price is trusted for one: each output then counts in multiples of
    what the order asks of it.
    """
    if len({(output.chain_id, output.token) for output in order.outputs}) == 1:
        return Fraction(sum(amounts))
    pairs = zip(order.outputs, amounts, strict=True)
    return sum((Fraction(amount, max(1, output.amount)) for output, amount in pairs), Fraction(0))


def rank(scored: Iterable[ScoredOffer]) -> tuple[ScoredOffer, ...]:
    """Best first."""
    return tuple(sorted(scored, key=lambda s: (-s.score, s.offer.fill_time_ms, s.offer.solver_id)))


def format_score(score: Fraction) -> str:
    """Decimal text, rounded down to six digits after the point."""
    whole, rest = divmod(score.numerator * 10**SCORE_DIGITS // score.denominator, 10**SCORE_DIGITS)
    return f"{whole}.{rest:0{SCORE_DIGITS}d}"
