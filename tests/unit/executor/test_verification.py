from dataclasses import replace

import pytest
from intentmesh.executor.evidence import Depth, OrderStatus, depth_of
from intentmesh.executor.verification import shortfalls, verify

from tests.unit.executor.orders import DEADLINE, evidence, fill, horizon, order


@pytest.mark.parametrize(
    ("block", "head", "confirmations", "max_reorg", "expected"),
    [
        (11, 10, 1, 0, Depth.ABSENT),
        (10, 10, 1, 0, Depth.FINAL),
        (10, 10, 2, 3, Depth.SEEN),
        (9, 10, 2, 3, Depth.CONFIRMED),
        (8, 10, 2, 3, Depth.CONFIRMED),
        (7, 10, 2, 3, Depth.FINAL),
        # More confirmations wanted than the deepest reorganisation: both must hold.
        (8, 10, 5, 1, Depth.SEEN),
    ],
)
def test_depth_of__block_below_head__counts_its_own_block(
    block: int, head: int, confirmations: int, max_reorg: int, expected: Depth
) -> None:
    assert depth_of(block, head, confirmations, max_reorg) is expected


def test_verify__open_and_all_outputs_final__is_complete() -> None:
    proven = verify(order(2), evidence(opened=Depth.FINAL, fills=(fill(0), fill(1))))
    assert proven.complete


def test_verify__one_output_missing__is_not_filled() -> None:
    proven = verify(order(2), evidence(opened=Depth.FINAL, fills=(fill(0),)))
    assert proven.filled is Depth.ABSENT
    assert proven.fills[1] is None


def test_verify__one_output_shallow__has_the_shallower_depth() -> None:
    proven = verify(order(2), evidence(opened=Depth.FINAL, fills=(fill(0), fill(1, Depth.SEEN))))
    assert proven.filled is Depth.SEEN


def test_verify__record_at_the_deadline__counts() -> None:
    assert verify(order(), evidence(opened=Depth.FINAL, fills=(fill(time=DEADLINE),))).complete


def test_verify__record_after_the_deadline__is_late_and_does_not_count() -> None:
    proven = verify(order(), evidence(opened=Depth.FINAL, fills=(fill(time=DEADLINE + 1),)))
    assert proven.filled is Depth.ABSENT
    assert len(proven.late_fills) == 1


def test_verify__unopened_and_final_block_at_the_deadline__is_never_opened() -> None:
    past = horizon(head_time=DEADLINE + 9, final_time=DEADLINE)
    assert verify(order(), evidence(origin=past)).never_opened


def test_verify__head_past_the_deadline_but_final_block_before__is_not_never_opened() -> None:
    past = horizon(head_time=DEADLINE + 9, final_time=DEADLINE - 1)
    assert not verify(order(), evidence(origin=past)).never_opened


def test_verify__in_escrow_though_the_log_is_not_seen__is_not_never_opened() -> None:
    past = horizon(head_time=DEADLINE + 9, final_time=DEADLINE + 5)
    shown = replace(evidence(origin=past), order_status=OrderStatus.DEPOSITED)
    assert not verify(order(), shown).never_opened


def test_verify__destination_final_at_the_deadline__can_still_be_filled() -> None:
    # `fill` accepts a block dated exactly at the deadline.
    at = horizon(head_time=DEADLINE + 9, final_time=DEADLINE)
    after = horizon(head_time=DEADLINE + 9, final_time=DEADLINE + 1)
    assert not verify(order(), evidence(opened=Depth.FINAL, destination=at)).never_filled
    assert verify(order(), evidence(opened=Depth.FINAL, destination=after)).never_filled


def test_verify__nonce_used_by_the_opening_itself__is_not_gone() -> None:
    shown = replace(evidence(opened=Depth.SEEN), nonce_used=True, nonce_used_finally=True)
    assert not verify(order(), shown).nonce_gone
    assert not verify(order(), shown).nonce_gone_finally


def test_shortfalls__paid_below_the_quote_though_above_the_minimum__is_told() -> None:
    short = shortfalls((fill(0, amount=995), fill(1, amount=999)), (999, 999))
    assert [(s.output_index, s.promised, s.paid) for s in short] == [(0, 999, 995)]
