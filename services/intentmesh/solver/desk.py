"""Where orders come in: quotes, awards, and those who follow what became of them."""

import time
from collections.abc import AsyncGenerator, Callable
from hmac import compare_digest
from typing import Final

import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.errors import FieldViolation, InvalidArgument, NotFound, Unavailable
from intentmesh.domain.order import Order, order_id
from intentmesh.domain.types import (
    Address,
    IntentId,
    format_address,
    format_intent_id,
    parse_address,
    parse_intent_id,
    parse_uint256,
)
from intentmesh.solver import metrics
from intentmesh.solver.appraisal import Appraiser, needs
from intentmesh.solver.awards import AwardBook, stale, wrong_token
from intentmesh.solver.bell import Bell
from intentmesh.solver.crew import Crew
from intentmesh.solver.declined import Declined
from intentmesh.solver.evidence import Verdict
from intentmesh.solver.filling import Filler
from intentmesh.solver.inventory import Inventory
from intentmesh.solver.job_store import FundsOutdated, JobStore
from intentmesh.solver.jobs import Job, Report, Reservations
from intentmesh.solver.outcomes import NotYet, Stop
from intentmesh.solver.sides import Sides
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.auction_pb2 import Quote

_log = structlog.get_logger(__name__)

# Followers also look without being woken, so that nothing hangs on a ring.
LOOK_SECONDS: Final = 5.0
DRAIN_RETRY_SECONDS: Final = 1.0


class Desk:
    """Takes in orders. `clock` gives Unix seconds."""

    def __init__(
        self,
        store: JobStore,
        awards: AwardBook,
        appraiser: Appraiser,
        inventory: Inventory,
        filler: Filler,
        sides: Sides,
        crew: Crew,
        bell: Bell,
        solver: Address,
        quote_validity_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._awards = awards
        self._appraiser = appraiser
        self._inventory = inventory
        self._filler = filler
        self._sides = sides
        self._crew = crew
        self._bell = bell
        self._solver = solver
        self._quote_validity_seconds = quote_validity_seconds
        self._clock = clock
        self._closed = False

    async def quote(self, request: pb.QuoteRequest) -> pb.QuoteResponse:
        """An offer, or why there is none. Raises MeshError for a malformed order or where a chain does not answer."""
        order = order_from_proto(request.order)
        now = int(self._clock())
        try:
            offer = self._appraiser.offer(
                order, now, draft=not request.intent_id, already_opened=request.already_opened
            )
            await self._inventory.check(needs(order, offer.amounts, now))
        except Declined as declined:
            metrics.QUOTES.labels(metrics.DECLINED).inc()
            return pb.QuoteResponse(decline_reason=str(declined))
        metrics.QUOTES.labels(metrics.OFFERED).inc()
        valid_until = min(now + self._quote_validity_seconds, order.fill_deadline)
        quote = Quote(
            quote_id=f"{request.auction_id or 'draft'}:{format_address(self._solver).lower()}:{now}",
            solver_id=format_address(self._solver).lower(),
            solver=format_address(self._solver),
            output_amounts=[str(units) for units in offer.amounts],
            fill_time=Timestamp(seconds=offer.fill_time),
            valid_until=Timestamp(seconds=valid_until),
        )
        return pb.QuoteResponse(quote=quote)

    async def take(self, request: pb.ExecuteRequest) -> Job:
        """Take on an award, or attach to it where it is known. The answer is the job under that award.

        Raises FailedPrecondition STALE_AWARD for an award lower than a known one, PermissionDenied for one that the
        mesh has not made or whose token is another, InvalidArgument for a request that contradicts itself, Unavailable
        while the service closes, and other MeshErrors while the mesh cannot be asked.
        """
        self._refuse_when_closed()
        order, intent_id = _checked(request)
        known = await self._store.get(intent_id)
        if known is None or known.award_number < request.award_number:
            # Whoever could raise the number at will would have the mesh's own award refused as stale.
            await self._awards.check(request)
            known = await self._take_new(request, order, intent_id, known)
        if known.award_number > request.award_number:
            raise stale(known.award_number)
        # Stored with the first call of the award, which the mesh was asked about.
        if not compare_digest(known.request.award_token, request.award_token):
            raise wrong_token()
        return known

    async def follow(self, job: Job) -> AsyncGenerator[pb.ExecuteResponse, None]:
        """All updates of this award from the first on, until the last. Ending it early stops nothing but itself."""
        seen = 0
        with self._bell.listen(job.intent_id) as ear:
            while True:
                for update in await self._store.updates(job.intent_id, job.award_number, seen):
                    yield update
                    seen = update.update_number
                current = await self._store.get(job.intent_id)
                if current is None:
                    raise NotFound(f"intent {format_intent_id(job.intent_id)} is not known here any more")
                if current.award_number != job.award_number:
                    raise stale(current.award_number)
                if current.ended and current.update_number == seen:
                    return
                self._refuse_when_closed()
                if current.update_number == seen:
                    await ear.wait(LOOK_SECONDS)

    async def close(self) -> None:
        """End all streams as planned and stop the work; it goes on at the next start."""
        self._closed = True
        self._bell.ring_all()
        await self._crew.close()

    async def _take_new(self, request: pb.ExecuteRequest, order: Order, intent_id: IntentId, known: Job | None) -> Job:
        first = Report(pb.EXECUTE_STAGE_ACCEPTED, "taken on")
        try:
            job, fresh = await self._take_admitted(request, order, intent_id, first)
        except (Declined, Stop) as declined:
            if known is not None and not known.ended:
                return await self._carry_on(request, order, known, first)
            refusal = Report(pb.EXECUTE_STAGE_RELEASED, str(declined), declined.reason)
            job, fresh = await self._store.take(intent_id, request, refusal, {}, None)
        if fresh:
            await self._begin(job)
        return job

    async def _take_admitted(
        self, request: pb.ExecuteRequest, order: Order, intent_id: IntentId, first: Report
    ) -> tuple[Job, bool]:
        """Raises Declined and Stop where the order is not to be taken on."""
        if await self._is_paid(order, intent_id):
            return await self._store.take(intent_id, request, first, {}, None)
        needed = self._admit(request, order)
        while True:
            funds = await self._inventory.funds(needed)
            try:
                return await self._store.take(intent_id, request, first, needed, funds)
            except FundsOutdated:
                _log.debug("funds_outdated", intent_id=request.intent_id)

    async def _carry_on(self, request: pb.ExecuteRequest, order: Order, known: Job, first: Report) -> Job:
        """Take on an award that would be declined, since the order is under way: its fill may be on the wire, and a
        job that ended would never be paid for it. The terms stay those that were checked."""
        continued = pb.ExecuteRequest()
        continued.CopyFrom(request)
        continued.quote.CopyFrom(known.request.quote)
        amounts = [parse_uint256(units) for units in continued.quote.output_amounts]
        needed = needs(order, amounts, int(self._clock()))
        # They are held back for it already, or paid.
        job, fresh = await self._store.take(known.intent_id, continued, first, needed, None)
        if fresh:
            await self._begin(job)
        return job

    async def _begin(self, job: Job) -> None:
        _log.info(
            "job_taken",
            intent_id=format_intent_id(job.intent_id),
            award_number=job.award_number,
            stage=metrics.stage_label(job.stage),
        )
        await self._crew.work_on(job)
        self._bell.ring(job.intent_id)

    def _admit(self, request: pb.ExecuteRequest, order: Order) -> Reservations:
        """What the award takes. Raises Declined where it is not to be taken on."""
        now = int(self._clock())
        quote = request.quote
        if parse_address(request.input_settler) != self._sides.of(order.origin_chain_id).config.input_settler:
            raise Declined(reasons.ERROR_REASON_UNSUPPORTED_SETTLER, "this solver does not know the input settler")
        if parse_address(quote.solver) != self._solver:
            raise Declined(reasons.ERROR_REASON_INVALID_FIELD, "the quote is another solver's")
        if quote.HasField("valid_until") and quote.valid_until.seconds < now:
            raise Declined(reasons.ERROR_REASON_DEADLINE_PASSED, "the quote has lapsed")
        amounts = [parse_uint256(units) for units in quote.output_amounts]
        self._appraiser.check_award(order, amounts, now, already_opened=request.already_opened)
        return needs(order, amounts, now)

    async def _is_paid(self, order: Order, intent_id: IntentId) -> bool:
        """Whether this solver paid the order under an earlier award: then it sees it through whatever is quoted."""
        try:
            progress = await self._filler.progress(intent_id, order, self._sides.of(order.outputs[0].chain_id))
        except (Stop, NotYet):
            return False
        return progress.verdict is Verdict.OURS

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unavailable(
                "this solver is closing; call again, its work goes on",
                reason=reasons.ERROR_REASON_DRAINING,
                retry_after=DRAIN_RETRY_SECONDS,
            )


def _checked(request: pb.ExecuteRequest) -> tuple[Order, IntentId]:
    """The order and its id. Raises InvalidArgument where id, signature or quote do not fit it."""
    order = order_from_proto(request.order)
    intent_id = order_id(order, parse_address(request.input_settler))
    if intent_id != parse_intent_id(request.intent_id):
        raise _invalid("intent_id", "is not the id of the order at this input settler")
    if not request.already_opened and not request.signature:
        raise _invalid("signature", "is needed to open the order")
    try:
        parse_address(request.quote.solver)
        for units in request.quote.output_amounts:
            parse_uint256(units)
    except ValueError as error:
        raise _invalid("quote", str(error)) from None
    return order, intent_id


def _invalid(field: str, message: str) -> InvalidArgument:
    violation = FieldViolation(field, reasons.ERROR_REASON_INVALID_FIELD, message)
    return InvalidArgument(f"{field} {message}", violations=(violation,))
