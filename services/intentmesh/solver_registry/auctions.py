"""Competitions: who is asked, what they answer, who wins, and the record of it."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from intentmesh.domain.convert import order_from_proto, order_to_proto
from intentmesh.domain.errors import AlreadyExists, NotFound
from intentmesh.domain.order import Order
from intentmesh.domain.types import parse_intent_id
from intentmesh.solver_registry import quotes
from intentmesh.solver_registry.asking import Answer, SolverCaller
from intentmesh.solver_registry.competition import MILLISECONDS, Ranking, Terms, UnscoredOffer, arbitrate, broken_rule
from intentmesh.solver_registry.eligibility import Admission, Candidate, NotEligible, divide
from intentmesh.solver_registry.roster import Roster, bench_time, breaker_of
from intentmesh.store import solvers as store
from intentmesh.store.pool import Connection, Pool
from intentmesh.v1 import order_pb2
from intentmesh.v1.auction_pb2 import Auction, Quote
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_registry_service_pb2 import RequestQuotesRequest, RunAuctionRequest
from intentmesh.v1.solver_service_pb2 import QuoteRequest

log = structlog.get_logger()

PROBE_SECONDS = 5.0
"""Longer than any auction: until then nobody else probes the same solver."""

Clock = Callable[[], float]
"""Unix seconds."""


@dataclass(frozen=True, slots=True)
class _Competition:
    """What one round of asking has shown."""

    ranking: Ranking
    answers: Sequence[Answer]
    malformed: Sequence[tuple[Answer, str]]
    passed_over: Sequence[NotEligible]


class AuctionHouse:
    """Holds auctions. One object a process; the store makes the result one over all processes."""

    def __init__(
        self,
        pool: Pool,
        caller: SolverCaller,
        roster: Roster,
        *,
        heartbeat_window_seconds: float,
        chains_without_surplus: frozenset[int],
        longest_fill_seconds: int,
        clock: Clock = time.time,
    ) -> None:
        self._pool = pool
        self._caller = caller
        self._roster = roster
        self._heartbeat_window = heartbeat_window_seconds
        self._chains_without_surplus = chains_without_surplus
        self._longest_fill_ms = longest_fill_seconds * MILLISECONDS
        self._clock = clock
        self._running: dict[str, asyncio.Task[Auction]] = {}

    async def run(self, request: RunAuctionRequest) -> Auction:
        """The one result of this intent and round. Raises AlreadyExists when it was held for another order."""
        auction_id = f"{request.intent_id}:{request.round}"
        key = f"{auction_id}:{_order_hash(request.order).hex()}"
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._hold(auction_id, request))
            task.add_done_callback(lambda done: self._forget(key, done))
        # A caller that goes away must not take the competition from the others, nor its result from the store.
        return await asyncio.shield(task)

    async def quotes(self, request: RequestQuotesRequest) -> list[Quote]:
        """Offers for a draft, best first; nothing is stored."""
        order = order_from_proto(request.draft, "draft")
        now = self._clock()
        async with self._pool.acquire() as conn:
            rows = await self._roster.live(conn)
        # Benched solvers are probed by auctions only, whose answers are recorded.
        candidates = [self._roster.candidate(row, now) for row in rows if not breaker_of(row).is_half_open(now)]
        asked, passed_over = divide(order, candidates, self._admission(now, ()))
        # Made anew: what is in a draft beside the order is not for solvers.
        ask = QuoteRequest(order=order_to_proto(order))
        competition = await self._compete(order, asked, passed_over, ask, request.min_quotes)
        return [quotes.quote_of(scored) for scored in competition.ranking.ranked]

    async def finish_running(self) -> None:
        """Wait for the auctions in hand; for the drain."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _hold(self, auction_id: str, request: RunAuctionRequest) -> Auction:
        order = order_from_proto(request.order)
        order_hash = _order_hash(request.order)
        async with self._pool.acquire() as conn:
            stored = await store.get_auction(conn, auction_id)
            if stored is not None:
                return _stored_result(stored, order_hash)
            asked, passed_over = await self._choose(conn, order, request.excluded_solver_ids)
        ask = QuoteRequest(
            auction_id=auction_id,
            intent_id=request.intent_id,
            order=request.order,
            already_opened=request.already_opened,
        )
        competition = await self._compete(order, asked, passed_over, ask, request.min_quotes)
        auction = _record(auction_id, request, competition, self._clock())
        return await self._store(auction, order_hash, competition.answers)

    async def _choose(
        self, conn: Connection, order: Order, excluded: Sequence[str]
    ) -> tuple[list[Candidate], list[NotEligible]]:
        now = self._clock()
        rows = {row.solver_id: row for row in await self._roster.live(conn)}
        candidates = [self._roster.candidate(row, now) for row in rows.values()]
        asked, passed_over = divide(order, candidates, self._admission(now, excluded))
        probed_until = datetime.fromtimestamp(now + PROBE_SECONDS, UTC)
        taken: list[Candidate] = []
        for candidate in asked:
            half_open = candidate.breaker.is_half_open(now)
            if half_open and not await store.claim_probe(conn, rows[candidate.solver_id], probed_until):
                passed_over.append(NotEligible(candidate, "benched; another auction is probing it"))
            else:
                taken.append(candidate)
        return taken, passed_over

    async def _compete(
        self,
        order: Order,
        asked: Sequence[Candidate],
        passed_over: Sequence[NotEligible],
        request: QuoteRequest,
        enough: int,
    ) -> _Competition:
        accepts_surplus = order.outputs[0].chain_id not in self._chains_without_surplus

        def terms() -> Terms:
            return Terms(order, int(self._clock() * MILLISECONDS), accepts_surplus, self._longest_fill_ms)

        def counts(answer: Answer) -> bool:
            offer = quotes.offer_from(answer) if answer.quote is not None else ""
            return isinstance(offer, UnscoredOffer) and not broken_rule(terms(), offer)

        answers = await self._caller.ask_all(asked, request, enough=enough, counts=counts)
        offers: list[UnscoredOffer] = []
        malformed: list[tuple[Answer, str]] = []
        for answer in answers:
            if answer.quote is None:
                continue
            offer = quotes.offer_from(answer)
            if isinstance(offer, UnscoredOffer):
                offers.append(offer)
            else:
                malformed.append((answer, offer))
        return _Competition(arbitrate(terms(), offers), answers, malformed, passed_over)

    async def _store(self, auction: Auction, order_hash: bytes, answers: Sequence[Answer]) -> Auction:
        row = store.AuctionRow(
            auction.auction_id,
            parse_intent_id(auction.intent_id),
            auction.round,
            order_hash,
            auction.SerializeToString(),
        )
        async with self._pool.acquire() as conn, conn.transaction():
            first = await store.insert_auction(conn, row)
            await self._keep_availability(conn, answers)
            if first:
                log.info("auction_held", auction_id=row.auction_id, winner=auction.winner.solver_id)
                return auction
            # Another replica was faster: its result is the result.
            stored = await store.get_auction(conn, row.auction_id)
        if stored is None:
            raise NotFound(f"auction {row.auction_id} has vanished", metadata={"resource": row.auction_id})
        return _stored_result(stored, order_hash)

    async def _keep_availability(self, conn: Connection, answers: Sequence[Answer]) -> None:
        heard = {
            a.candidate.solver_id: a for a in answers if a.waited_for and (a.missed or a.candidate.breaker.failures)
        }
        now = self._clock()
        for row in await store.lock_solvers(conn, sorted(heard)):
            before = breaker_of(row)
            missed = heard[row.solver_id].missed
            after = before.after_failure(now) if missed else before.after_answer()
            await store.save_availability(conn, row.solver_id, after.failures, after.trips, bench_time(after))
            if after.trips > before.trips:
                log.warning("solver_benched", solver_id=row.solver_id, seconds=round(after.open_until - now))

    def _admission(self, now: float, excluded: Sequence[str]) -> Admission:
        return Admission(now, self._heartbeat_window, frozenset(solver_id.lower() for solver_id in excluded))

    def _forget(self, key: str, task: "asyncio.Task[Auction]") -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # seen: its callers, if there are any left, get it from their own await


def _record(auction_id: str, request: RunAuctionRequest, competition: _Competition, now: float) -> Auction:
    ranked = competition.ranking.ranked
    auction = Auction(
        auction_id=auction_id,
        intent_id=request.intent_id,
        round=request.round,
        winner=quotes.quote_of(ranked[0]) if ranked else None,
        participations=quotes.participations(
            ranked,
            competition.ranking.refused,
            competition.malformed,
            competition.answers,
            competition.passed_over,
        ),
    )
    auction.create_time.FromMilliseconds(int(now * MILLISECONDS))
    return auction


def _stored_result(row: store.AuctionRow, order_hash: bytes) -> Auction:
    if row.order_hash != order_hash:
        reason = ErrorReason.ERROR_REASON_REQUEST_ID_REUSED
        raise AlreadyExists("this round was held for another order of the same intent id", reason=reason)
    return Auction.FromString(row.payload)


def _order_hash(order: order_pb2.Order) -> bytes:
    return hashlib.sha256(order.SerializeToString(deterministic=True)).digest()
