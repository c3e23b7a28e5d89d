"""The auction step: one round at the registry, and the award stored before its winner hears of it."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from random import Random

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.errors import MeshError
from intentmesh.domain.lifecycle import advance
from intentmesh.executor.evidence import Depth
from intentmesh.executor.gateway import Registry
from intentmesh.executor.journal import Entry, Journal
from intentmesh.executor.observe import Observer
from intentmesh.executor.pace import auction_cap_seconds, until_next
from intentmesh.executor.progress import Progress
from intentmesh.executor.transitions import Transition
from intentmesh.executor.work import Award, View, Work
from intentmesh.v1.auction_pb2 import Auction, QuoteOutcome
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import AuctionDetail, AwardDetail, IntentEventType, RetryDetail
from intentmesh.v1.intent_pb2 import IntentPhase

log = structlog.get_logger(__name__)

_LEAST_WAIT_SECONDS = 0.2
_TOKEN_BYTES = 32


class AuctionStep:
    """Holds auctions. `clock` gives Unix seconds; waits are drawn from `random`.

    `longest_seconds`: the longest wait for another auction of an order that stood for long without a taker.
    """

    def __init__(
        self,
        registry: Registry,
        observer: Observer,
        journal: Journal,
        clock: Callable[[], float],
        random: Random,
        *,
        retry_base_seconds: float,
        retry_cap_seconds: float,
        longest_seconds: float,
    ) -> None:
        self._registry = registry
        self._observer = observer
        self._journal = journal
        self._clock = clock
        self._random = random
        self._retry_base_seconds = retry_base_seconds
        self._retry_cap_seconds = retry_cap_seconds
        self._longest_seconds = longest_seconds

    async def hold(self, work: Work, view: View) -> tuple[Work, float]:
        """Holds one round. Returns the intent after it, and the seconds to wait: 0 where there is more to do at once.

        Raises ChainUnavailable when the order could not be checked once more before the award.
        """
        work = await self._enter(work)
        round_number = work.progress.rounds + 1
        try:
            auction = await self._registry.run_auction(
                work.text_id,
                round_number,
                order_to_proto(work.order),
                already_opened=view.proven.opened >= Depth.CONFIRMED,
                excluded=work.progress.excluded,
            )
        except MeshError as error:
            return await self._wait_for_registry(work, error)
        # The same round asked again gives the same answer, so only a stored result moves the round on.
        progress = replace(work.progress, rounds=round_number)
        if not auction.HasField("winner"):
            return await self._nobody(work, view, progress, auction)
        if auction.winner.valid_until.ToMicroseconds() / 1e6 <= self._clock():
            # Or quotes that lapse at once would win round after round, and nobody else ever.
            log.info("quote_lapsed", round=round_number, solver_id=auction.winner.solver_id)
            lapsed = (*progress.excluded, auction.winner.solver_id)
            progress = replace(progress, excluded=tuple(dict.fromkeys(lapsed)))
            return await self._journal.write(work, progress=progress), 0.0
        fresh = await self._observer.view(work)
        late = self._clock() >= work.order.fill_deadline
        if late or fresh.proven.nonce_gone or fresh.proven.filled >= Depth.SEEN:
            return work, 0.0
        return await self._award(work, progress, auction), 0.0

    async def _enter(self, work: Work) -> Work:
        if work.state.phase == IntentPhase.INTENT_PHASE_AUCTION:
            return work
        step = Transition(advance(work.state, IntentPhase.INTENT_PHASE_AUCTION), "Solvers are being asked for offers.")
        return await self._journal.write(work, entries=[Entry(step)])

    async def _award(self, work: Work, progress: Progress, auction: Auction) -> Work:
        quote = auction.winner
        award = Award(work.row.award_number + 1, auction.auction_id, quote, secrets.token_bytes(_TOKEN_BYTES))
        step = Transition(
            advance(work.state, IntentPhase.INTENT_PHASE_AWARDED),
            f"Solver {quote.solver_id} has won with {_best_of(_quotes(auction))} and is being told.",
        )
        detail = AwardDetail(
            auction_id=award.auction_id,
            award_number=award.number,
            solver_id=quote.solver_id,
            solver=quote.solver,
            output_amounts=quote.output_amounts,
            promised_fill_time=quote.fill_time,
            token_hash=award.token_hash,
        )
        progress = replace(progress, attempts=0, fruitless_rounds=0, chain_trouble=False)
        return await self._journal.write(work, entries=[Entry(step, detail=detail)], progress=progress, award=award)

    async def _nobody(self, work: Work, view: View, progress: Progress, auction: Auction) -> tuple[Work, float]:
        fruitless = progress.fruitless_rounds + 1
        wait = self._wait_seconds(work, fruitless, self._cap_seconds(work, view))
        sentence = _why_nobody(auction)
        if progress.excluded:
            # Nobody else wants it: those who failed may try again.
            sentence += "; the solvers that failed before are asked again"
        step = Transition(
            work.state,
            f"{sentence}; next auction in {wait:.1f} s.",
            ErrorReason.ERROR_REASON_NO_QUOTES,
            IntentEventType.INTENT_EVENT_TYPE_WAITING,
        )
        detail = AuctionDetail(
            auction_id=auction.auction_id,
            round=auction.round,
            asked=sum(p.outcome != QuoteOutcome.QUOTE_OUTCOME_NOT_ELIGIBLE for p in auction.participations),
            quotes=_quotes(auction),
        )
        progress = replace(progress, fruitless_rounds=fruitless, excluded=())
        return await self._journal.write(work, entries=[Entry(step, detail=detail)], progress=progress), wait

    async def _wait_for_registry(self, work: Work, error: MeshError) -> tuple[Work, float]:
        fruitless = work.progress.fruitless_rounds + 1
        wait = self._wait_seconds(work, fruitless, self._retry_cap_seconds)
        log.warning("auction_not_held", reason=ErrorReason.Name(error.reason), message=error.message)
        progress = replace(work.progress, fruitless_rounds=fruitless)
        if work.row.reason == error.reason:
            return await self._journal.write(work, progress=progress), wait
        step = Transition(
            work.state,
            f"The solver registry could not hold an auction; next try in {wait:.1f} s.",
            error.reason,
            IntentEventType.INTENT_EVENT_TYPE_WAITING,
        )
        at = Timestamp()
        at.FromMicroseconds(int((self._clock() + wait) * 1e6))
        detail = RetryDetail(attempt=fruitless, next_attempt_time=at)
        return await self._journal.write(work, entries=[Entry(step, detail=detail)], progress=progress), wait

    def _cap_seconds(self, work: Work, view: View) -> float:
        """An order that is opened has its user's funds locked, and is offered as often as a new one."""
        if view.proven.opened > Depth.ABSENT:
            return self._retry_cap_seconds
        age = self._clock() - work.row.created_at.timestamp()
        return auction_cap_seconds(age, self._retry_cap_seconds, self._longest_seconds)

    def _wait_seconds(self, work: Work, fruitless: int, cap_seconds: float) -> float:
        drawn = full_jitter(fruitless, self._retry_base_seconds, cap_seconds, self._random)
        return until_next(max(drawn, _LEAST_WAIT_SECONDS), self._clock(), (work.order.fill_deadline,))


def _quotes(auction: Auction) -> int:
    return sum(
        p.outcome in (QuoteOutcome.QUOTE_OUTCOME_WON, QuoteOutcome.QUOTE_OUTCOME_OUTBID) for p in auction.participations
    )


def _best_of(quotes: int) -> str:
    return "the only offer" if quotes == 1 else f"the best of {quotes} offers"


def _why_nobody(auction: Auction) -> str:
    asked = [p for p in auction.participations if p.outcome != QuoteOutcome.QUOTE_OUTCOME_NOT_ELIGIBLE]
    if not auction.participations:
        return "No solver is registered"
    if not asked:
        return "No solver serves this order at the moment"
    return f"No solver quoted at or above your minimum ({len(asked)} asked)"
