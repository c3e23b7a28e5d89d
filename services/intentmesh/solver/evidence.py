"""What the fill records of an order mean for this solver. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from intentmesh.chain.output_settler import FillEvidence
from intentmesh.domain.order import Order, output_hash
from intentmesh.domain.types import Bytes32


class Verdict(Enum):
    """Where the outputs of an order stand."""

    # Some output is unpaid, and paying it makes the whole order this solver's.
    UNFILLED = "unfilled"
    # All outputs are paid in time, and the first, who owns the payout, is this solver's.
    OURS = "ours"
    # Somebody else paid the first output: whatever else is paid, they own the payout.
    LOST = "lost"
    # An output is recorded as paid after the fill deadline: the order can never be finalised.
    TOO_LATE = "too late"


@dataclass(frozen=True, slots=True)
class Progress:
    """The verdict and, per output in the order's sequence, its fill."""

    verdict: Verdict
    fills: tuple[FillEvidence | None, ...]

    @property
    def unfilled(self) -> tuple[int, ...]:
        """Indices of the outputs that nobody paid."""
        return tuple(index for index, fill in enumerate(self.fills) if fill is None)

    @property
    def complete(self) -> tuple[FillEvidence, ...]:
        """All fills, in the order's sequence. Raises ValueError while one is missing."""
        fills = tuple(fill for fill in self.fills if fill is not None)
        if len(fills) != len(self.fills):
            raise ValueError("an output is not filled")
        return fills


def judge(order: Order, found: Iterable[FillEvidence], solver: Bytes32) -> Progress:
    """Weigh the fills found on the destination; those of other outputs under the same order id are passed over.

    A fill counts for one output, even where an order asks for the same one twice.
    """
    by_output = {fill.output_hash: fill for fill in found}
    fills = tuple(by_output.pop(output_hash(output), None) for output in order.outputs)
    return Progress(_verdict(order, fills, solver), fills)


def _verdict(order: Order, fills: tuple[FillEvidence | None, ...], solver: Bytes32) -> Verdict:
    if any(fill is not None and fill.timestamp > order.fill_deadline for fill in fills):
        return Verdict.TOO_LATE
    first = fills[0]
    if first is not None and first.solver != solver:
        return Verdict.LOST
    return Verdict.UNFILLED if None in fills else Verdict.OURS
