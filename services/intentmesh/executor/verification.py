"""From chain evidence to what is proven. Pure: no clock, no I/O.

An order's state is proven by logs on the canonical chains, not by anyone's word: `Open` on the origin, and for each
exact output a fill record dated no later than the order's fill deadline. Who filled does not matter. `fill` trusts its
caller's order id and deadline, so a record may be late: such a record is told, and never completes anything.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from intentmesh.domain.order import Order
from intentmesh.executor.evidence import Depth, Evidence, Fill, OrderStatus, Sighting


@dataclass(frozen=True, slots=True)
class Proven:
    """What the evidence proves, each with the depth at which it does."""

    opened: Depth
    # The shallowest of the outputs' valid records; ABSENT while one is missing.
    filled: Depth
    settled: Depth
    refunded: Depth
    # The valid record of each output, in the order's sequence.
    fills: tuple[Fill | None, ...]
    # Records dated after the fill deadline.
    late_fills: tuple[Fill, ...]
    # Not in escrow at the newest block, and never was.
    unopened: bool
    # For good: the order was not opened, and can no longer be.
    never_opened: bool
    # For good: an output has no valid record, and can no longer get one.
    never_filled: bool
    # The order is not open and its nonce or authorisation is used up, now and for good.
    nonce_gone: bool
    nonce_gone_finally: bool

    @property
    def complete(self) -> bool:
        """Opened and filled, and no reckoned-with reorganisation undoes either."""
        return self.opened is Depth.FINAL and self.filled is Depth.FINAL


def verify(order: Order, evidence: Evidence) -> Proven:
    """What `evidence` proves about `order`."""
    origin = evidence.horizons[order.origin_chain_id]
    fills = _valid_fills(order, evidence.fills)
    unopened = evidence.order_status is OrderStatus.NONE and evidence.opened is None
    return Proven(
        opened=_depth(evidence.opened),
        filled=min((_depth(fill.sighting if fill is not None else None) for fill in fills), default=Depth.ABSENT),
        settled=_depth(evidence.finalised),
        refunded=_depth(evidence.refunded),
        fills=fills,
        late_fills=tuple(fill for fill in evidence.fills if fill.time > order.fill_deadline),
        unopened=unopened,
        # `open` demands a block dated before the deadline: once a final block is not, no open can come any more.
        never_opened=unopened and origin.final_time >= order.fill_deadline,
        never_filled=any(_lost(order, evidence, index) for index, fill in enumerate(fills) if fill is None),
        nonce_gone=unopened and evidence.nonce_used,
        nonce_gone_finally=unopened and evidence.nonce_used_finally,
    )


def _valid_fills(order: Order, fills: Sequence[Fill]) -> tuple[Fill | None, ...]:
    in_time = {fill.output_index: fill for fill in fills if fill.time <= order.fill_deadline}
    return tuple(in_time.get(index) for index in range(len(order.outputs)))


def _lost(order: Order, evidence: Evidence, index: int) -> bool:
    """Whether the output has no valid record at a final block later than the fill deadline."""
    return evidence.horizons[order.outputs[index].chain_id].final_time > order.fill_deadline


def _depth(sighting: Sighting | None) -> Depth:
    return Depth.ABSENT if sighting is None else sighting.depth


@dataclass(frozen=True, slots=True)
class Shortfall:
    """An output that was paid less than the award had promised. Amounts in the output token's smallest unit."""

    output_index: int
    promised: int
    paid: int


def shortfalls(fills: Sequence[Fill | None], promised: Sequence[int]) -> tuple[Shortfall, ...]:
    """Outputs paid below what was quoted, though perhaps at or above the order's own minimum."""
    return tuple(
        Shortfall(index, amount, fill.final_amount)
        for index, (fill, amount) in enumerate(zip(fills, promised, strict=False))
        if fill is not None and fill.final_amount < amount
    )
