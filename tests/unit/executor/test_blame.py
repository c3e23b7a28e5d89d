from dataclasses import replace

import pytest
from intentmesh.executor.blame import Circumstances, Promise, judge_delivery, judge_failure
from intentmesh.executor.evidence import Depth
from intentmesh.executor.verification import verify
from intentmesh.v1.solver_registry_service_pb2 import OutcomeCause, OutcomeKind

from tests.unit.executor.orders import DEADLINE, SOLVER, STRANGER, evidence, fill, order

PROMISE = Promise(SOLVER, (990,), DEADLINE - 5)
UNOPENED = verify(order(), evidence())


def test_judge_delivery__as_quoted_and_in_time__settled() -> None:
    assert judge_delivery(PROMISE, [fill()]).kind == OutcomeKind.OUTCOME_KIND_SETTLED


def test_judge_delivery__less_than_quoted__faded_by_the_solver() -> None:
    judged = judge_delivery(replace(PROMISE, output_amounts=(995,)), [fill(amount=994)])
    assert (judged.kind, judged.cause) == (OutcomeKind.OUTCOME_KIND_FADED, OutcomeCause.OUTCOME_CAUSE_SOLVER)


def test_judge_delivery__after_the_promised_time__faded() -> None:
    assert judge_delivery(PROMISE, [fill(time=DEADLINE - 3)]).kind == OutcomeKind.OUTCOME_KIND_FADED


def test_judge_delivery__within_the_promised_second__settled() -> None:
    assert judge_delivery(PROMISE, [fill(time=DEADLINE - 4)]).kind == OutcomeKind.OUTCOME_KIND_SETTLED


def test_judge_delivery__somebody_else_filled__is_no_fault_of_the_solver() -> None:
    judged = judge_delivery(replace(PROMISE, solver=STRANGER), [fill()])
    assert (judged.kind, judged.cause) == (OutcomeKind.OUTCOME_KIND_FAILED, OutcomeCause.OUTCOME_CAUSE_CHAIN)


@pytest.mark.parametrize(
    ("shown", "circumstances", "cause"),
    [
        (evidence(), Circumstances(), OutcomeCause.OUTCOME_CAUSE_SOLVER),
        (evidence(), Circumstances(user_can_pay=False), OutcomeCause.OUTCOME_CAUSE_USER),
        (evidence(nonce_used=True), Circumstances(), OutcomeCause.OUTCOME_CAUSE_USER),
        (evidence(), Circumstances(cancel_requested=True), OutcomeCause.OUTCOME_CAUSE_USER),
        (evidence(), Circumstances(chain_trouble=True), OutcomeCause.OUTCOME_CAUSE_CHAIN),
        # In escrow the user's funds are the settler's: an empty account is no excuse any more.
        (evidence(opened=Depth.FINAL), Circumstances(user_can_pay=False), OutcomeCause.OUTCOME_CAUSE_SOLVER),
    ],
)
def test_judge_failure__circumstances__decide_the_cause(shown, circumstances, cause) -> None:
    assert judge_failure(verify(order(), shown), circumstances, "no").cause == cause


def test_judge_failure__chains_unknown__blames_nobody() -> None:
    assert judge_failure(None, Circumstances(), "no").cause == OutcomeCause.OUTCOME_CAUSE_CHAIN


def test_judge_failure__released__is_told_as_such() -> None:
    assert judge_failure(UNOPENED, Circumstances(released=True), "no").kind == OutcomeKind.OUTCOME_KIND_RELEASED
