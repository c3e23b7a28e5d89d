"""Closing an award: whose doing its end was, kept until the registry has heard of it."""

from dataclasses import replace

from intentmesh.executor.blame import Circumstances, Judgement, judge_delivery, judge_failure
from intentmesh.executor.progress import PendingOutcome, Progress
from intentmesh.executor.transitions import Transition
from intentmesh.executor.work import Award, View, Work
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentStatus


def progress_after(work: Work, view: View, step: Transition) -> Progress:
    """The bookkeeping that goes with a transition: a terminal status ends the award, for better or worse."""
    progress = work.progress
    if step.type == IntentEventType.INTENT_EVENT_TYPE_FINALITY_VIOLATED:
        return replace(progress, violation_told=True)
    award = work.standing_award
    if award is None or not step.state.is_terminal:
        return progress
    if step.state.status == IntentStatus.INTENT_STATUS_COMPLETED:
        return close_award(progress, award, judge_delivery(award.promise, view.proven.fills))
    circumstances = Circumstances(cancel_requested=work.cancel_requested, chain_trouble=progress.chain_trouble)
    return close_award(progress, award, judge_failure(view.proven, circumstances, step.message))


def close_award(progress: Progress, award: Award, judgement: Judgement) -> Progress:
    """The award is over; its outcome waits to be reported."""
    outcome = PendingOutcome(award.number, award.solver_id, judgement.kind, judgement.cause, judgement.message)
    return replace(
        progress, award_over=award.number, attempts=0, chain_trouble=False, outcomes=(*progress.outcomes, outcome)
    )
