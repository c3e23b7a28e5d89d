"""What the chains show of one order, as plain values: the only input that the decisions of this room believe.

Everything in an `Evidence` was read against the heads named in it. An endpoint that did not answer yields no
`Evidence` at all, never an empty one: "not seen" and "could not look" must not be confused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from intentmesh.domain.types import Bytes32, ChainId


class OrderStatus(IntEnum):
    """Order status of the input settler; the numbers are the contract's."""

    NONE = 0
    DEPOSITED = 1
    CLAIMED = 2
    REFUNDED = 3


class Depth(IntEnum):
    """How deep a log lies, by the measures of its chain."""

    # No such log on the canonical chain.
    ABSENT = 0
    # Included, with fewer confirmations than configured.
    SEEN = 1
    # At least `confirmations` blocks, its own included.
    CONFIRMED = 2
    # More blocks than the deepest reorganisation that is reckoned with.
    FINAL = 3


def depth_of(block_number: int, head_number: int, confirmations: int, max_reorg_depth: int) -> Depth:
    """How deep a log of `block_number` lies below `head_number`; both are block heights of the same chain."""
    blocks = head_number - block_number + 1
    if blocks <= 0:
        return Depth.ABSENT
    if blocks > max_reorg_depth and blocks >= confirmations:
        return Depth.FINAL
    return Depth.CONFIRMED if blocks >= confirmations else Depth.SEEN


@dataclass(frozen=True, slots=True)
class Horizon:
    """The view of one chain that evidence was read against. Times are Unix seconds of the chain's blocks."""

    head_number: int
    head_time: int
    # Time of the newest block that no reckoned-with reorganisation can undo.
    final_time: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One log on the canonical chain."""

    chain_id: ChainId
    transaction_hash: bytes
    block_number: int
    depth: Depth


@dataclass(frozen=True, slots=True)
class Fill:
    """The fill record of one output, whoever made it. `time` is the one in the record, Unix seconds."""

    output_index: int
    solver: Bytes32
    time: int
    final_amount: int
    sighting: Sighting


@dataclass(frozen=True, slots=True)
class Evidence:
    """What both chains show of one order at the given horizons."""

    horizons: Mapping[ChainId, Horizon]
    order_status: OrderStatus
    opened: Sighting | None = None
    fills: tuple[Fill, ...] = ()
    finalised: Sighting | None = None
    refunded: Sighting | None = None
    # Proof of a fill brought to the origin, where the oracle tells of it.
    proven: tuple[Sighting, ...] = ()
    # The nonce or authorisation of the order is used up at the newest block.
    nonce_used: bool = False
    # The same at a block that is final.
    nonce_used_finally: bool = False
