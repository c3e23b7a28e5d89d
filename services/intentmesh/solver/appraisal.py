"""Whether this solver wants an order, and what it offers. Pure: chains and database are not asked here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.context import may_fill, parse_context, resolve_amount
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import Order, OrderOutput
from intentmesh.domain.types import (
    ZERO_ADDRESS,
    Address,
    Bytes32,
    ChainId,
    clean_address,
    format_address,
    to_bytes32,
)
from intentmesh.solver.declined import Declined
from intentmesh.solver.jobs import Reservations
from intentmesh.solver.prices import Amount, AskedOutput, PriceList, Token
from intentmesh.v1 import error_pb2 as reasons


@dataclass(frozen=True, slots=True)
class Policy:
    """What this solver takes on. All times in seconds."""

    fill_seconds: int
    fill_margin_seconds: int
    settle_margin_seconds: int
    serve_callbacks: bool


@dataclass(frozen=True, slots=True)
class Offer:
    """Amounts per output in the order's sequence, and when the fill is promised (Unix seconds)."""

    amounts: tuple[int, ...]
    fill_time: int


class Appraiser:
    """Judges orders by route, time, exclusivity and price."""

    def __init__(self, network: NetworkConfig, prices: PriceList, policy: Policy, solver: Address) -> None:
        self._network = network
        self._prices = prices
        self._policy = policy
        self._solver = to_bytes32(solver)

    def offer(self, order: Order, now: int, *, draft: bool, already_opened: bool) -> Offer:
        """What is offered for an order at `now`. Raises Declined.

        A draft is offered the best amount wherever it is paid: the user is going to sign it.
        """
        origin, destination = self._route(order)
        fill_time = self._fill_time(order, origin, destination, now, already_opened=already_opened)
        self._check_outputs(order, now)
        surplus_paid = draft or destination.output_settler_accepts_surplus
        asked = [
            AskedOutput(
                token=_token(destination, _token_address(output)),
                required=resolve_amount(output, now),
                promised=resolve_amount(output, fill_time),
                surplus=surplus_paid,
            )
            for output in order.outputs
        ]
        return Offer(self._prices.offer(self._inputs(order, origin), asked), fill_time)

    def check_award(self, order: Order, amounts: Sequence[int], now: int, *, already_opened: bool) -> None:
        """Whether an order won with these amounts is still worth doing at `now`. Raises Declined.

        The amounts came back through others, so they are priced again: never more is paid than the inputs cover.
        """
        origin, destination = self._route(order)
        self._fill_time(order, origin, destination, now, already_opened=already_opened)
        self._check_outputs(order, now)
        if len(amounts) != len(order.outputs):
            raise Declined(reasons.ERROR_REASON_INVALID_FIELD, "the quote does not have one amount per output")
        due = [
            Amount(_token(destination, _token_address(output)), units)
            for output, units in zip(order.outputs, amounts_due(order, amounts, now), strict=True)
        ]
        if not self._prices.covers(self._inputs(order, origin), due):
            raise Declined(reasons.ERROR_REASON_NO_QUOTES, "the amounts of the quote are above what the inputs cover")

    def _route(self, order: Order) -> tuple[ChainConfig, ChainConfig]:
        destinations = {output.chain_id for output in order.outputs}
        if len(destinations) != 1:
            raise Declined(reasons.ERROR_REASON_UNSUPPORTED_ROUTE, "the outputs are on several chains")
        origin = self._network.find(order.origin_chain_id)
        destination = self._network.find(destinations.pop())
        if origin is None or destination is None:
            raise Declined(reasons.ERROR_REASON_UNSUPPORTED_CHAIN, "this solver does not serve a chain of the order")
        if not all(is_provable(order, output, origin, destination) for output in order.outputs):
            raise Declined(reasons.ERROR_REASON_UNSUPPORTED_ORACLE, "this solver cannot prove fills to this oracle")
        return origin, destination

    def _fill_time(
        self, order: Order, origin: ChainConfig, destination: ChainConfig, now: int, *, already_opened: bool
    ) -> int:
        opening = 0 if already_opened else int(origin.confirmations * origin.block_time_seconds) + 1
        fill_time = now + opening + self._policy.fill_seconds
        if fill_time + self._policy.fill_margin_seconds > order.fill_deadline:
            raise Declined(reasons.ERROR_REASON_INSUFFICIENT_VALID_TO, "the fill deadline is too near for this solver")
        if fill_time + settle_seconds(order, destination, self._policy.settle_margin_seconds) > order.expires:
            raise Declined(
                reasons.ERROR_REASON_INSUFFICIENT_EXPIRY_MARGIN, "the order expires before its settlement would be safe"
            )
        return fill_time

    def _check_outputs(self, order: Order, now: int) -> None:
        if len(set(order.outputs)) < len(order.outputs):
            raise Declined(reasons.ERROR_REASON_DUPLICATE_OUTPUT, "an output stands twice in the order")
        for output in order.outputs:
            try:
                exclusive = not may_fill(output, self._solver, now)
                resolve_amount(output, now)
            except MeshError as error:
                raise Declined(reasons.ERROR_REASON_INVALID_CONTEXT, error.message) from error
            if exclusive:
                until = parse_context(output.context).until
                raise Declined(reasons.ERROR_REASON_INVALID_CONTEXT, f"the order is for another solver until {until}")
            if output.callback_data and not self._policy.serve_callbacks:
                raise Declined(reasons.ERROR_REASON_CALLBACK_NOT_ALLOWED, "this solver pays no outputs with callbacks")

    def _inputs(self, order: Order, origin: ChainConfig) -> list[Amount]:
        return [Amount(_token(origin, given.token), given.amount) for given in order.inputs]


def settle_seconds(order: Order, destination: ChainConfig, margin_seconds: int) -> int:
    """From a fill to a payment that is sure to come before `expires`: attesters sign only for what is final."""
    if all(is_self_proving(order, output) for output in order.outputs):
        return margin_seconds
    return math.ceil(destination.final_depth * destination.block_time_seconds) + margin_seconds


def is_self_proving(order: Order, output: OrderOutput) -> bool:
    """Whether the output's settler is itself the oracle that the origin asks: one chain, no attesters."""
    return (
        output.chain_id == order.origin_chain_id
        and output.oracle == output.settler
        and to_bytes32(order.input_oracle) == output.settler
    )


def is_provable(order: Order, output: OrderOutput, origin: ChainConfig, destination: ChainConfig) -> bool:
    """Whether the output is filled at the known settler and its oracles are a pair this solver can prove with."""
    if output.settler != to_bytes32(destination.output_settler):
        return False
    attested = output.oracle == to_bytes32(destination.oracle) and order.input_oracle == origin.oracle
    return attested or is_self_proving(order, output)


def amounts_due(order: Order, amounts: Sequence[int], at: int) -> tuple[int, ...]:
    """What is paid per output at `at`: the quoted amount, or what the order's curve asks for where that is more."""
    return tuple(max(units, resolve_amount(output, at)) for output, units in zip(order.outputs, amounts, strict=True))


def needs(order: Order, amounts: Sequence[int], at: int) -> Reservations:
    """The tokens that paying these amounts takes, by chain and token; the native currency is the zero address."""
    total: dict[tuple[ChainId, Address], int] = {}
    for output, units in zip(order.outputs, amounts_due(order, amounts, at), strict=True):
        key = (output.chain_id, _token_address(output))
        total[key] = total.get(key, 0) + units
    return total


def _token_address(output: OrderOutput) -> Address:
    try:
        return clean_address(Bytes32(output.token))
    except ValueError as error:
        raise Declined(reasons.ERROR_REASON_UNSUPPORTED_TOKEN, str(error)) from error


def _token(chain: ChainConfig, address: Address) -> Token:
    config, symbol = chain.token(address), chain.symbol(address)
    if config is None or symbol is None:
        shown = "the native currency" if address == ZERO_ADDRESS else f"token {format_address(address)}"
        raise Declined(reasons.ERROR_REASON_UNSUPPORTED_TOKEN, f"this solver does not serve {shown} on {chain.name}")
    return Token(symbol, config.decimals)
