"""The award step: hands the order to its winner, attaches again after a cut, and gives up when that is true."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.chain.errors import ChainUnavailable
from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.lifecycle import advance
from intentmesh.domain.types import format_address
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.attempts import CallAgain, GiveUp, RetryPolicy, StreamEnd, judge, overdue
from intentmesh.executor.blame import Circumstances, judge_failure
from intentmesh.executor.evidence import Depth
from intentmesh.executor.gather import Gatherer
from intentmesh.executor.journal import Entry, Journal
from intentmesh.executor.outcomes import close_award
from intentmesh.executor.stream import Ending
from intentmesh.executor.transitions import Transition
from intentmesh.executor.work import Award, View, Work
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType, RetryDetail
from intentmesh.v1.intent_pb2 import IntentPhase
from intentmesh.v1.solver_service_pb2 import ExecuteRequest

_LEAST_WAIT_SECONDS = 0.1
_AFTER_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class AwardPolicy:
    """How long one solver is tried, and how many."""

    retry: RetryPolicy
    max_awards: int


class AwardStep:
    """Decides about one award. `clock` gives Unix seconds."""

    def __init__(
        self,
        gatherer: Gatherer,
        journal: Journal,
        alerts: Alerts,
        clock: Callable[[], float],
        random: Random,
        policy: AwardPolicy,
    ) -> None:
        self._gatherer = gatherer
        self._journal = journal
        self._alerts = alerts
        self._clock = clock
        self._random = random
        self._policy = policy

    def request(self, work: Work, view: View, award: Award) -> ExecuteRequest:
        """What the winner is sent. The signature leaves the mesh only where the order is still to be opened."""
        opened = view.proven.opened >= Depth.CONFIRMED
        return ExecuteRequest(
            intent_id=work.text_id,
            order=order_to_proto(work.order),
            input_settler=format_address(work.row.input_settler),
            signature=b"" if opened else work.row.signature,
            award_number=award.number,
            quote=award.quote,
            already_opened=opened,
            award_token=award.token,
        )

    def is_overdue(self, award: Award) -> bool:
        """Whether the winner let its promised time pass."""
        return overdue(award.promise.fill_time, self._clock(), self._policy.retry)

    def overdue_at(self, award: Award) -> float:
        """When the winner's promised time will have passed, in Unix seconds."""
        return award.promise.fill_time + self._policy.retry.grace_seconds

    async def delivered(self, work: Work, award: Award) -> Work:
        """Remembers that the solver answered, so that a later silence is not taken for its never having heard."""
        if work.progress.award_delivered >= award.number:
            return work
        return await self._journal.write(work, progress=replace(work.progress, award_delivered=award.number))

    async def after_stream(self, work: Work, view: View, award: Award, ending: Ending, cuts: int) -> tuple[Work, float]:
        """What follows from the end of a call. Returns the intent and the seconds until the next one.

        `cuts` is the number of calls in a row that ended without the solver saying why.
        """
        if ending.end is StreamEnd.REFUSED:
            self._alerts.raise_alert(Alert("AwardRefused", f"{award.solver_id}", ending.message))
        progress = work.progress
        delivered = progress.award_delivered >= award.number
        match judge(ending.end, ending.reason, progress.attempts, delivered, self._policy.retry):
            case GiveUp(reason, released):
                return await self.give_up(work, view, award, reason, ending.message, released=released), 0.0
            case CallAgain(attempts):
                wait = self._wait_seconds(max(cuts, 1))
                if ending.end is StreamEnd.SETTLED:
                    # The chain will tell; calling again would only replay what was said.
                    wait = max(wait, _AFTER_SETTLED_SECONDS)
                if attempts == progress.attempts:
                    return work, wait
                return await self._tell_retry(work, ending, attempts, wait), wait

    async def give_up(
        self,
        work: Work,
        view: View,
        award: Award,
        reason: ErrorReason.ValueType,
        message: str,
        *,
        released: bool = False,
    ) -> Work:
        """Ends the award: its outcome is kept for the registry, and the order goes to another solver, or waits."""
        circumstances = Circumstances(
            cancel_requested=work.cancel_requested,
            user_can_pay=await self._user_can_pay(work),
            chain_trouble=work.progress.chain_trouble,
            released=released,
        )
        progress = close_award(work.progress, award, judge_failure(view.proven, circumstances, message))
        progress = replace(
            progress,
            excluded=tuple(dict.fromkeys((*progress.excluded, award.solver_id))),
            failure=reason,
            exhausted=award.number >= self._policy.max_awards,
        )
        did = "gave the order back" if released else "did not deliver"
        if progress.exhausted:
            progress = replace(progress, failure=ErrorReason.ERROR_REASON_ATTEMPTS_EXHAUSTED)
            step = Transition(
                advance(work.state, IntentPhase.INTENT_PHASE_EXHAUSTED),
                f"Solver {award.solver_id} {did}, and all attempts are used up; waiting for the order's end on chain.",
                ErrorReason.ERROR_REASON_ATTEMPTS_EXHAUSTED,
            )
        else:
            step = Transition(
                advance(work.state, IntentPhase.INTENT_PHASE_AUCTION),
                f"Solver {award.solver_id} {did}; other solvers are being asked.",
                reason,
            )
        return await self._journal.write(work, entries=[Entry(step)], progress=progress)

    async def _tell_retry(self, work: Work, ending: Ending, attempts: int, wait: float) -> Work:
        step = Transition(
            work.state,
            f"The solver could not be reached; attempt {attempts + 1} in {wait:.1f} s.",
            ending.reason,
            IntentEventType.INTENT_EVENT_TYPE_WAITING,
        )
        at = Timestamp()
        at.FromMicroseconds(int((self._clock() + wait) * 1e6))
        detail = RetryDetail(attempt=attempts, next_attempt_time=at)
        progress = replace(work.progress, attempts=attempts)
        return await self._journal.write(work, entries=[Entry(step, detail=detail)], progress=progress)

    async def _user_can_pay(self, work: Work) -> bool | None:
        try:
            return await self._gatherer.user_can_pay(work.subject)
        except ChainUnavailable:
            return None

    def _wait_seconds(self, attempt: int) -> float:
        policy = self._policy.retry
        return max(full_jitter(attempt, policy.base_seconds, policy.cap_seconds, self._random), _LEAST_WAIT_SECONDS)
