"""One job from its award to its end. Every run begins with what the chains show, so it may be cut short anywhere."""

import asyncio
import math
from dataclasses import dataclass
from random import Random
from typing import Final

import structlog

from intentmesh.chain.input_settler import OrderStatus
from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import Order
from intentmesh.solver import metrics
from intentmesh.solver.appraisal import settle_seconds
from intentmesh.solver.bell import Bell
from intentmesh.solver.evidence import Verdict
from intentmesh.solver.filling import Filler, Filling
from intentmesh.solver.finalising import Finaliser
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.jobs import Job, Reason, Report, Stage
from intentmesh.solver.opening import Opener, Opening
from intentmesh.solver.outcomes import NotYet, Stop, TryFailed
from intentmesh.solver.proving import Prover
from intentmesh.solver.sides import Side, Sides
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.intent_pb2 import ChainTransaction

_log = structlog.get_logger(__name__)

RETRY_BASE_SECONDS: Final = 1.0
RETRY_CAP_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Limits:
    """When a job is not gone on with. Times in seconds."""

    max_tries: int
    fill_margin_seconds: int
    settle_margin_seconds: int


class JobRunner:
    """Runs jobs. Raises nothing but cancellation: what goes wrong is waited out or ends the job."""

    def __init__(
        self,
        store: JobStore,
        sides: Sides,
        opener: Opener,
        filler: Filler,
        prover: Prover,
        finaliser: Finaliser,
        bell: Bell,
        limits: Limits,
        random: Random,
    ) -> None:
        self._store = store
        self._sides = sides
        self._opener = opener
        self._filler = filler
        self._prover = prover
        self._finaliser = finaliser
        self._bell = bell
        self._limits = limits
        self._random = random

    async def run(self, job: Job) -> None:
        """Work on the job until it has ended, or its award is no longer the newest."""
        failed_tries = 0
        setbacks = 0
        while True:
            try:
                await self._attempt(job)
            except Stop as stop:
                if await self._end(job, stop.reason, str(stop)):
                    return
                wait = self._backoff(setbacks := setbacks + 1)
            except TryFailed as failed:
                failed_tries += 1
                hopeless = failed.final or failed_tries >= self._limits.max_tries
                _log.warning("job_try_failed", error=str(failed), failed_tries=failed_tries)
                if hopeless and await self._end(job, failed.reason, str(failed)):
                    return
                wait = self._backoff(failed_tries)
            except NotYet as pending:
                _log.debug("job_waits", reason=str(pending))
                wait = pending.retry_after
            except MeshError as error:
                setbacks += 1
                _log.warning("job_set_back", error=str(error), setbacks=setbacks)
                wait = error.retry_after or self._backoff(setbacks)
            except Exception:  # noqa: BLE001 - a job holds money: whatever happened, it is taken up again
                setbacks += 1
                _log.exception("job_run_failed", setbacks=setbacks)
                wait = self._backoff(setbacks)
            else:
                return
            metrics.JOB_RETRIES.inc()
            await asyncio.sleep(wait)

    async def _attempt(self, job: Job) -> None:
        order = order_from_proto(job.request.order)
        origin = self._sides.of(order.origin_chain_id)
        destination = self._sides.of(order.outputs[0].chain_id)
        teller = _Teller(self._store, self._bell, job)

        # Before gas is spent on opening what somebody else will be paid for.
        await self._filler.check_unclaimed(job.intent_id, order, destination)
        await self._opener.run(self._opening(job, order, origin), origin, teller)
        progress = await self._filler.run(self._filling(job, order, destination), destination, teller)
        await self._prover.run(job.intent_id, order, progress, origin, teller)
        await self._finaliser.run(job.intent_id, order, progress, origin, teller)
        metrics.JOBS_ENDED.labels(metrics.stage_label(pb.EXECUTE_STAGE_SETTLED)).inc()

    def _opening(self, job: Job, order: Order, origin: Side) -> Opening:
        signature = b"" if job.request.already_opened else job.request.signature
        # Opened too late to be filled, the order would only lock the user's funds.
        confirming = math.ceil(origin.config.confirmations * origin.config.block_time_seconds)
        return Opening(job.intent_id, order, signature, self._limits.fill_margin_seconds + confirming)

    def _filling(self, job: Job, order: Order, destination: Side) -> Filling:
        amounts = tuple(int(units) for units in job.request.quote.output_amounts)
        limits = self._limits
        settle = settle_seconds(order, destination.config, limits.settle_margin_seconds)
        return Filling(job.intent_id, order, amounts, limits.fill_margin_seconds, settle)

    async def _end(self, job: Job, reason: Reason, message: str) -> bool:
        """End a job that cannot go on. False when it must go on after all, or it cannot be told or stored now."""
        try:
            return await self._try_to_end(job, reason, message)
        except Exception:  # noqa: BLE001 - a job whose end failed is not ended: it may have paid
            _log.exception("job_end_failed")
            return False

    async def _try_to_end(self, job: Job, reason: Reason, message: str) -> bool:
        try:
            stage = await self._end_stage(job)
        except (MeshError, NotYet) as error:
            _log.warning("job_end_unclear", error=str(error))
            return False
        except Stop:
            stage = pb.EXECUTE_STAGE_FAILED
        if stage is None:
            return False
        _log.info("job_ended", stage=metrics.stage_label(stage), why=message)
        metrics.JOBS_ENDED.labels(metrics.stage_label(stage)).inc()
        await _Teller(self._store, self._bell, job)(stage, message, reason=reason)
        return True

    async def _end_stage(self, job: Job) -> Stage | None:
        """RELEASED while nothing of this solver stands on chain, FAILED otherwise; None once it has paid the outputs
        and the escrow still holds the inputs: then it goes on until it is paid."""
        order = order_from_proto(job.request.order)
        origin = self._sides.of(order.origin_chain_id)
        status = await origin.input_settler.order_status(job.intent_id)
        if status is OrderStatus.NONE:
            return pb.EXECUTE_STAGE_RELEASED
        paid = await self._paid(job, order, self._sides.of(order.outputs[0].chain_id))
        if paid and status is OrderStatus.DEPOSITED:
            return None
        if job.request.already_opened and not paid:
            return pb.EXECUTE_STAGE_RELEASED
        return pb.EXECUTE_STAGE_FAILED

    async def _paid(self, job: Job, order: Order, destination: Side) -> bool:
        progress = await self._filler.progress(job.intent_id, order, destination)
        return progress.verdict is Verdict.OURS

    def _backoff(self, attempt: int) -> float:
        return full_jitter(attempt, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS, self._random)


class _Teller:
    """Stores an update and wakes those who follow."""

    def __init__(self, store: JobStore, bell: Bell, job: Job) -> None:
        self._store = store
        self._bell = bell
        self._job = job

    async def __call__(
        self,
        stage: Stage,
        message: str,
        transaction: ChainTransaction | None = None,
        *,
        reason: Reason = reasons.ERROR_REASON_UNSPECIFIED,
    ) -> None:
        report = Report(stage, message, reason, transaction)
        told = await self._store.record(self._job.intent_id, self._job.award_number, report)
        if told is None:
            return
        _log.info("job_update", stage=metrics.stage_label(stage), update_number=told.update_number, message=message)
        self._bell.ring(self._job.intent_id)
