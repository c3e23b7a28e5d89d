"""What the executor does next for an intent whose state is up to date. Pure."""

from dataclasses import dataclass
from enum import Enum, auto

from intentmesh.domain.lifecycle import State
from intentmesh.domain.order import Order
from intentmesh.executor.evidence import Depth, Evidence, OrderStatus
from intentmesh.executor.transitions import Situation
from intentmesh.executor.verification import Proven


class Move(Enum):
    """The next thing to do."""

    # Nothing is owed any more.
    FINISH = auto()
    # Look at the chains again later; it is not ours to act.
    FOLLOW = auto()
    # Ask solvers.
    AUCTION = auto()
    # Hand the order to the holder of the award, or attach to its work again.
    EXECUTE = auto()
    # Give the user the inputs back.
    REFUND = auto()


@dataclass(frozen=True, slots=True)
class Means:
    """What could be used to go on."""

    # An award stands whose solver has neither delivered nor given up.
    award_stands: bool
    # An operator keeps new work back.
    paused: bool
    # Seconds before the fill deadline below which nothing new is begun.
    least_seconds: float


def next_move(
    order: Order, state: State, evidence: Evidence, proven: Proven, situation: Situation, means: Means, now: float
) -> Move:
    """The next move; `now` is the mesh's clock in Unix seconds."""
    if state.is_over:
        return Move.FINISH
    if refundable(order, evidence, proven):
        return Move.REFUND
    if state.is_terminal or _is_on_its_way(proven):
        return Move.FOLLOW
    if situation.cancel_requested or situation.exhausted or proven.nonce_gone:
        return Move.FOLLOW
    if means.award_stands and now < order.fill_deadline:
        return Move.EXECUTE
    if proven.opened is Depth.SEEN:
        # Too shallow to build on, too likely to ask somebody to open the order again.
        return Move.FOLLOW
    if means.paused or now + means.least_seconds >= order.fill_deadline:
        return Move.FOLLOW
    return Move.AUCTION


def refundable(order: Order, evidence: Evidence, proven: Proven) -> bool:
    """`refund` races `finalise`, so only once the order has expired and an output is unpaid for good."""
    origin = evidence.horizons[order.origin_chain_id]
    return (
        evidence.order_status is OrderStatus.DEPOSITED
        and proven.refunded is Depth.ABSENT
        and proven.settled is Depth.ABSENT
        and proven.opened >= Depth.CONFIRMED
        and proven.never_filled
        and origin.head_time > order.expires
    )


def settlement_endangered(order: Order, evidence: Evidence, proven: Proven, margin_seconds: float) -> bool:
    """Every output is paid, the solver is not, and anyone may soon refund: a person should look."""
    origin = evidence.horizons[order.origin_chain_id]
    return (
        proven.filled >= Depth.CONFIRMED
        and proven.settled is Depth.ABSENT
        and proven.refunded is Depth.ABSENT
        and evidence.order_status is OrderStatus.DEPOSITED
        and origin.head_time + margin_seconds >= order.expires
    )


def _is_on_its_way(proven: Proven) -> bool:
    """Paid, by whomever, though perhaps not deep enough yet: another solver would only pay twice."""
    return proven.filled >= Depth.SEEN or proven.settled >= Depth.SEEN or proven.refunded >= Depth.SEEN
