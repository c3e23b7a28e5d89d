"""Pricing, pure: what the outputs of an order may cost at most, and what is offered for them.

All arithmetic on money is exact (`Fraction` of US dollars); amounts are integers in the token's smallest unit, rounded
down where they are offered, so that the solver never offers more than its budget:

    budget  = value(inputs) · (1 - markup) - gas margin
    surplus = budget - value(outputs as required)          (negative: declined)
    offer   = required + the user's share of the surplus, spread over the outputs by their value
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from intentmesh.solver.declined import Declined
from intentmesh.v1 import error_pb2 as reasons

BASIS_POINTS = 10_000


@dataclass(frozen=True, slots=True)
class Token:
    """What pricing needs to know of a token."""

    symbol: str
    decimals: int


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of a token in its smallest unit."""

    token: Token
    units: int


@dataclass(frozen=True, slots=True)
class AskedOutput:
    """One output as the order asks for it.

    `required` is the most that the order can demand from now on, `promised` what it will demand at the promised fill
    time; they differ for falling (Dutch) prices. `surplus` says that paying more than demanded is possible.
    """

    token: Token
    required: int
    promised: int
    surplus: bool


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms this solver works."""

    markup_bps: int
    gas_margin_usd: Decimal
    max_order_value_usd: Decimal
    # How much of what is left above the required outputs is offered to the user.
    surplus_share_bps: int


class PriceList:
    """Static prices by token symbol, in US dollars for one whole token, and the solver's terms."""

    def __init__(self, usd: Mapping[str, Decimal], terms: Terms) -> None:
        self._usd = {symbol: Fraction(price) for symbol, price in usd.items()}
        self._terms = terms

    def offer(self, inputs: Sequence[Amount], outputs: Sequence[AskedOutput]) -> tuple[int, ...]:
        """The amounts offered, one per output. Raises Declined (no price, value above the cap, not profitable)."""
        budget = self._budget(inputs)
        required = [self._value(Amount(output.token, output.required)) for output in outputs]
        surplus = budget - sum(required, Fraction())
        if surplus < 0:
            raise Declined(
                reasons.ERROR_REASON_NO_QUOTES,
                f"the outputs are worth {float(-surplus):.6f} USD more than this solver pays for the inputs",
            )
        shared = surplus * self._terms.surplus_share_bps / BASIS_POINTS
        weights = _weights(required)
        return tuple(
            output.required + self._units(output.token, shared * weight) if output.surplus else output.promised
            for output, weight in zip(outputs, weights, strict=True)
        )

    def covers(self, inputs: Sequence[Amount], outputs: Sequence[Amount]) -> bool:
        """Whether the inputs pay for these outputs on the solver's terms. Raises Declined like `offer`."""
        return sum((self._value(output) for output in outputs), Fraction()) <= self._budget(inputs)

    def has(self, symbol: str) -> bool:
        """Whether there is a price for the token."""
        return symbol in self._usd

    def _budget(self, inputs: Sequence[Amount]) -> Fraction:
        value = sum((self._value(given) for given in inputs), Fraction())
        cap = Fraction(self._terms.max_order_value_usd)
        if value > cap:
            raise Declined(
                reasons.ERROR_REASON_VALUE_TOO_HIGH, f"the order is worth more than this solver's cap of {cap} USD"
            )
        return value * (BASIS_POINTS - self._terms.markup_bps) / BASIS_POINTS - Fraction(self._terms.gas_margin_usd)

    def _value(self, amount: Amount) -> Fraction:
        price = self._price(amount.token)
        return price * Fraction(amount.units, 10**amount.token.decimals)

    def _units(self, token: Token, usd: Fraction) -> int:
        return int(usd * 10**token.decimals / self._price(token))

    def _price(self, token: Token) -> Fraction:
        price = self._usd.get(token.symbol)
        if price is None:
            raise Declined(reasons.ERROR_REASON_UNSUPPORTED_TOKEN, f"this solver has no price for {token.symbol}")
        return price


def _weights(values: Sequence[Fraction]) -> list[Fraction]:
    total = sum(values, Fraction())
    if total == 0:
        # A draft that asks for "the best": every output gets the same value.
        return [Fraction(1, len(values)) for _ in values]
    return [value / total for value in values]
