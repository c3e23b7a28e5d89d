"""What fill records mean for this solver."""

from dataclasses import replace

import pytest
from intentmesh.chain.output_settler import FillEvidence
from intentmesh.chain.records import BlockHash, TransactionHash
from intentmesh.domain.order import Order, OrderOutput, output_hash
from intentmesh.domain.types import Address, to_bytes32
from intentmesh.solver.evidence import Verdict, judge

from tests.unit.solver.orders import NOW, OTHER, SOLVER, swap, with_output

FIRST = swap().outputs[0]
SECOND = with_output(swap(), amount=7).outputs[0]
ORDER: Order = replace(swap(), outputs=(FIRST, SECOND))
ME = to_bytes32(SOLVER)


def fill(output: OrderOutput, solver: Address = SOLVER, timestamp: int = NOW) -> FillEvidence:
    return FillEvidence(
        TransactionHash(bytes(32)),
        1,
        BlockHash(bytes(32)),
        0,
        output=output,
        output_hash=output_hash(output),
        solver=to_bytes32(solver),
        timestamp=timestamp,
        final_amount=output.amount,
    )


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        ([], Verdict.UNFILLED),
        ([fill(FIRST)], Verdict.UNFILLED),
        ([fill(SECOND)], Verdict.UNFILLED),
        ([fill(SECOND, OTHER)], Verdict.UNFILLED),
        ([fill(FIRST), fill(SECOND)], Verdict.OURS),
        ([fill(FIRST), fill(SECOND, OTHER)], Verdict.OURS),
        ([fill(FIRST, OTHER)], Verdict.LOST),
        ([fill(FIRST, OTHER), fill(SECOND)], Verdict.LOST),
        ([fill(FIRST, timestamp=ORDER.fill_deadline)], Verdict.UNFILLED),
        ([fill(FIRST, timestamp=ORDER.fill_deadline + 1)], Verdict.TOO_LATE),
        ([fill(FIRST), fill(SECOND, OTHER, ORDER.fill_deadline + 1)], Verdict.TOO_LATE),
        ([fill(with_output(swap(), amount=8).outputs[0], OTHER)], Verdict.UNFILLED),
    ],
)
def test_judge__fills_found__gives_verdict(found: list[FillEvidence], verdict: Verdict) -> None:
    assert judge(ORDER, found, ME).verdict is verdict


def test_judge__same_output_twice__one_payment_counts_once() -> None:
    twice = replace(ORDER, outputs=(FIRST, FIRST))
    assert judge(twice, [fill(FIRST)], ME).verdict is Verdict.UNFILLED
    assert judge(twice, [fill(FIRST)], ME).unfilled == (1,)


def test_judge__some_filled__names_the_others() -> None:
    assert judge(ORDER, [fill(FIRST)], ME).unfilled == (1,)
    assert judge(ORDER, [fill(SECOND)], ME).unfilled == (0,)


def test_complete__found_in_any_sequence__is_the_orders() -> None:
    progress = judge(ORDER, [fill(SECOND, OTHER), fill(FIRST)], ME)
    assert [one.output for one in progress.complete] == [FIRST, SECOND]


def test_complete__one_missing__raises() -> None:
    with pytest.raises(ValueError, match="not filled"):
        _ = judge(ORDER, [fill(FIRST)], ME).complete
