"""The execution of one intent, from claim to rest. Each turn: read the row, look at the chains, make one move."""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum, auto

import structlog

from intentmesh.chain.errors import ChainUnavailable
from intentmesh.executor.attestation import AttestationCollector, enough, needs_attestation
from intentmesh.executor.auction import AuctionStep
from intentmesh.executor.award import AwardStep
from intentmesh.executor.evidence import Depth
from intentmesh.executor.gateway import Solvers
from intentmesh.executor.journal import Entry, Journal, Overtaken
from intentmesh.executor.moves import Means, Move, next_move
from intentmesh.executor.observe import Observer
from intentmesh.executor.pace import displaced_seconds, rest_seconds, until_next
from intentmesh.executor.refund import RefundStep
from intentmesh.executor.reporting import Reporter
from intentmesh.executor.slots import Slot
from intentmesh.executor.stream import Attachment, Ending
from intentmesh.executor.transitions import Transition
from intentmesh.executor.work import Award, View, Work
from intentmesh.rpc import metrics
from intentmesh.store.executions import Claim
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType

log = structlog.get_logger(__name__)

# A hiccup of an endpoint is not worth an event.
_TELL_TROUBLE_AFTER = 3
_TROUBLE_SECONDS = 1.0
_UNREPORTED_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between looks."""

    poll_seconds: float
    longest_seconds: float
    least_seconds: float


@dataclass(slots=True)
class Signals:
    """How the worker speaks to the execution of one intent."""

    # Something may have changed: look now.
    news: asyncio.Event
    # The process is ending: rest as soon as possible.
    leave: asyncio.Event
    # Its place among the intents of this process.
    slot: Slot
    # Said by the execution: the claim is being given back, so that it is gone is no loss.
    gives_back: bool = False


@dataclass(frozen=True, slots=True)
class Rest:
    """The claim can be given back; look again after so many seconds."""

    seconds: float


class Next(Enum):
    """What else a turn may come to."""

    AGAIN = auto()
    DONE = auto()


Turn = Rest | Next


@dataclass(frozen=True, slots=True)
class Steps:
    """What the machine is made of."""

    journal: Journal
    observer: Observer
    auction: AuctionStep
    award: AwardStep
    attestations: AttestationCollector
    refund: RefundStep
    reporter: Reporter
    solvers: Solvers


class Machine:
    """Executes claimed intents. `clock` gives Unix seconds."""

    def __init__(self, steps: Steps, pace: Pace, clock: Callable[[], float]) -> None:
        self._steps = steps
        self._pace = pace
        self._clock = clock

    async def run(self, claim: Claim, signals: Signals) -> None:
        """Works on the intent until it may rest, then releases the claim with the time of the next look.

        Raises ClaimLost when another worker has taken over, and store errors; then nothing is released.
        """
        async with AsyncExitStack() as stack:
            await _Run(self._steps, self._pace, self._clock, claim, signals, stack).until_rest()


class _Run:
    """One stretch of work on one intent; what it holds in memory may be lost at any time."""

    def __init__(
        self,
        steps: Steps,
        pace: Pace,
        clock: Callable[[], float],
        claim: Claim,
        signals: Signals,
        stack: AsyncExitStack,
    ) -> None:
        self._steps = steps
        self._pace = pace
        self._clock = clock
        self._claim = claim
        self._signals = signals
        self._stack = stack
        self._attachment: Attachment | None = None
        self._cuts = 0
        self._call_again_at = 0.0
        # When there was news last.
        self._heard_at = -math.inf
        self._troubles = 0

    async def until_rest(self) -> None:
        """Turns until a turn says how long the intent may rest, or that it is done."""
        journal = self._steps.journal
        while True:
            work = await journal.open(self._claim)
            try:
                turn = await self._turn(work)
            except Overtaken:
                # Somebody else, e.g. a cancellation, wrote in between: decide anew on what is stored now.
                turn = Next.AGAIN
            except ChainUnavailable as error:
                turn = await self._trouble(work, error)
            if turn is Next.DONE:
                return
            if isinstance(turn, Rest) or self._signals.leave.is_set():
                # Whoever claims it next may call the solver at once.
                await self._detach()
                self._signals.gives_back = True
                await journal.release(self._claim, turn.seconds if isinstance(turn, Rest) else 0.0)
                return

    async def _turn(self, work: Work) -> Turn:
        """One look and one move."""
        self._signals.news.clear()
        # What follows from a stream's end is decided on chains read after it: its last acts must be seen.
        ending = self._attachment.ending if self._attachment is not None else None
        work, view = await self._steps.observer.look(work, fresh=ending is not None)
        work = await self._end_of_trouble(work)
        work = await self._attest(work, view)
        work = await self._steps.reporter.report(work)
        now = self._clock()
        situation, means = work.situation(now), await self._means(work)
        match next_move(work.order, work.state, view.evidence, view.proven, situation, means, now):
            case Move.FINISH:
                return await self._finish(work)
            case Move.FOLLOW:
                return await self._follow(work, view)
            case Move.AUCTION:
                await self._detach()
                _, wait = await self._steps.auction.hold(work, view)
                return Rest(wait) if wait else Next.AGAIN
            case Move.EXECUTE:
                return await self._execute(work, view, ending)
            case Move.REFUND:
                await self._steps.refund.refund(work)
                return self._rest(work)

    async def _means(self, work: Work) -> Means:
        award = work.standing_award
        return Means(
            award_stands=award is not None,
            paused=award is None and await self._steps.journal.paused(),
            least_seconds=self._pace.least_seconds,
        )

    async def _finish(self, work: Work) -> Turn:
        if work.progress.outcomes:
            return Rest(_UNREPORTED_SECONDS)
        self._signals.gives_back = True
        await self._steps.journal.finish(work)
        return Next.DONE

    async def _follow(self, work: Work, view: View) -> Turn:
        """Held on to, with its stream, only while a reorganisation may soon make us drive it on; else the intent rests.

        What is left to come may take long, a payment or the order's end, and other intents need the place.
        """
        shallow = view.proven.filled is Depth.SEEN and not work.state.is_terminal
        if self._attachment is None or self._attachment.ending is not None or not shallow:
            return self._rest(work)
        return await self._wait(work, self._pause(work))

    async def _execute(self, work: Work, view: View, ending: Ending | None) -> Turn:
        award = work.standing_award
        if award is None:
            return self._rest(work)
        steps = self._steps.award
        if steps.is_overdue(award) and view.proven.filled is Depth.ABSENT:
            await self._detach()
            message = "The promised fill time passed without a fill."
            await steps.give_up(work, view, award, ErrorReason.ERROR_REASON_SOLVER_FAILED, message)
            return Next.AGAIN
        attachment = await self._attach(work, view, award)
        if attachment is not None and attachment.delivered:
            self._cuts = 0
            work = await steps.delivered(work, award)
        if ending is not None and attachment is not None and attachment.ending is ending:
            await self._detach()
            self._cuts += 1
            _, wait = await steps.after_stream(work, view, award, ending, self._cuts)
            self._call_again_at = self._clock() + wait
            return Next.AGAIN
        return await self._wait(work, self._pause(work))

    async def _attach(self, work: Work, view: View, award: Award) -> Attachment | None:
        """The open stream of this award; opened when there is none and the time for the next call has come."""
        if self._attachment is not None and self._attachment.award_number == award.number:
            return self._attachment
        await self._detach()
        if self._clock() < self._call_again_at:
            return None
        # The chains took their time to answer; a call cannot be taken back.
        await self._steps.journal.confirm(work)
        request = self._steps.award.request(work, view, award)
        attachment = Attachment(self._steps.solvers, award.solver_id, request, self._signals.news)
        self._attachment = await self._stack.enter_async_context(attachment)
        return self._attachment

    async def _detach(self) -> None:
        if self._attachment is not None:
            await self._stack.aclose()
            self._attachment = None

    async def _attest(self, work: Work, view: View) -> Work:
        if view.proven.filled < Depth.CONFIRMED or view.proven.settled > Depth.ABSENT:
            return work
        collector = self._steps.attestations
        if not needs_attestation(work.order) or enough(work.order, work.attestations, collector.threshold(work.order)):
            return work
        found = await collector.collect(work.intent_id, work.order, view.proven.fills, work.attestations)
        return await self._steps.journal.save_attestations(work, found)

    async def _trouble(self, work: Work, error: ChainUnavailable) -> Turn:
        """A chain did not answer: nothing is known, so nothing is decided; the intent says why it waits."""
        self._troubles += 1
        log.warning("chain_unavailable", intent_id=work.text_id, cause=error.cause, in_a_row=self._troubles)
        try:
            if work.standing_award is not None and not work.progress.chain_trouble:
                work = await self._steps.journal.write(work, progress=replace(work.progress, chain_trouble=True))
            if self._troubles >= _TELL_TROUBLE_AFTER and work.row.reason != error.reason:
                step = Transition(
                    work.state,
                    "A chain cannot be reached at the moment; waiting until it answers.",
                    error.reason,
                    IntentEventType.INTENT_EVENT_TYPE_WAITING,
                )
                await self._steps.journal.write(work, entries=[Entry(step)])
        except Overtaken:
            return Next.AGAIN
        if self._troubles < _TELL_TROUBLE_AFTER:
            return await self._wait(work, _TROUBLE_SECONDS)
        if self._attachment is None:
            return self._rest(work)
        return await self._wait(work, max(_TROUBLE_SECONDS, self._pause(work)))

    async def _end_of_trouble(self, work: Work) -> Work:
        self._troubles = 0
        if work.row.reason != ErrorReason.ERROR_REASON_CHAIN_UNAVAILABLE or work.state.is_terminal:
            return work
        step = Transition(work.state, "The chains answer again.", type=IntentEventType.INTENT_EVENT_TYPE_WAITING)
        return await self._steps.journal.write(work, entries=[Entry(step)])

    def _rest(self, work: Work) -> Rest:
        return Rest(self._rest_seconds(work))

    def _rest_seconds(self, work: Work) -> float:
        return rest_seconds(work.state, self._age(work), self._pace.poll_seconds, self._pace.longest_seconds)

    def _pause(self, work: Work) -> float:
        """Seconds until the chains are looked at again though the solver says nothing. It need not; most do."""
        rest = min(self._rest_seconds(work), self._signals.slot.slots.spread(self._pace.poll_seconds))
        return until_next(rest, self._clock(), self._moments(work))

    def _displaced(self, work: Work) -> Rest:
        """The award stands and its solver goes on; the next look attaches to its work again."""
        metrics.INTENTS_DISPLACED.inc()
        if self._signals.news.is_set():
            return Rest(0.0)
        now, pace = self._clock(), self._pace
        rest = displaced_seconds(self._age(work), pace.poll_seconds, pace.longest_seconds)
        return Rest(max(until_next(rest, now, self._moments(work)), self._call_again_at - now))

    def _moments(self, work: Work) -> tuple[float, ...]:
        """When something is due whatever the chains show. Unix seconds."""
        award = work.standing_award
        overdue = () if award is None else (self._steps.award.overdue_at(award),)
        return (self._call_again_at, work.order.fill_deadline, *overdue)

    def _age(self, work: Work) -> float:
        """Seconds since the last event, or the last news: what that was about may be seen only some moments later."""
        now = self._clock()
        return min(work.age(datetime.fromtimestamp(now, UTC)), now - self._heard_at)

    async def _wait(self, work: Work, seconds: float) -> Turn:
        """Until there is news, the process ends, or the time is over; rests where others need the place meanwhile."""
        award = work.standing_award
        whom = "" if award is None else award.solver_id
        if await self._signals.slot.wait(whom, self._signals.news, self._signals.leave, seconds):
            if self._signals.news.is_set():
                self._heard_at = self._clock()
            return Next.AGAIN
        return self._displaced(work)
