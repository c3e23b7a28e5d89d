"""Paying the outputs of an order, once, in time, and never for somebody else's benefit."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from intentmesh.chain.output_settler import FillEvidence
from intentmesh.domain.context import may_fill
from intentmesh.domain.order import Order, output_hash
from intentmesh.domain.types import ZERO_ADDRESS, IntentId, format_address, format_intent_id, to_bytes32
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.appraisal import amounts_due
from intentmesh.solver.calls import Call
from intentmesh.solver.evidence import Progress, Verdict, judge
from intentmesh.solver.outcomes import NotYet, Stop
from intentmesh.solver.sides import Side
from intentmesh.solver.telling import Tell, included
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.intent_pb2 import TRANSACTION_KIND_FILL, TRANSACTION_STATUS_INCLUDED, ChainTransaction

UNSEEN_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Filling:
    """What filling needs. `amounts`: quoted per output, in the order's sequence. Times in seconds."""

    intent_id: IntentId
    order: Order
    amounts: Sequence[int]
    fill_margin_seconds: int
    settle_margin_seconds: int


class Filler:
    """Pays outputs on their chain. `lookback_blocks`: how far back fills are looked for first."""

    def __init__(self, achiever: Achiever, lookback_blocks: int) -> None:
        self._achiever = achiever
        self._lookback_blocks = lookback_blocks

    async def run(self, job: Filling, destination: Side, tell: Tell) -> Progress:
        """Return when every output is paid and the order is this solver's. Raises Stop, TryFailed, NotYet.

        A fill of a filled output succeeds and pays nothing, so only the records say who filled.
        """

        async def look() -> Progress | None:
            progress = await self.progress(job.intent_id, job.order, destination)
            return None if progress.verdict is Verdict.UNFILLED else progress

        async def call() -> Call:
            progress = await self.progress(job.intent_id, job.order, destination)
            if not progress.unfilled:
                raise NotYet("the fills changed while they were looked at", destination.poll_seconds)
            head = await destination.client.head()
            _check_time(job, head.timestamp)
            _check_exclusivity(job.order, destination, head.timestamp)
            await tell(pb.EXECUTE_STAGE_FILLING, "paying the outputs on their chain")
            return _fill_call(job, progress.unfilled, destination, head.timestamp)

        achieved = await self._achiever.achieve(f"{format_intent_id(job.intent_id)}:fill", destination, look, call)
        progress = achieved.found
        _refuse_foreign(progress, job.order)
        transaction = included(achieved.result, destination, TRANSACTION_KIND_FILL)
        await tell(
            pb.EXECUTE_STAGE_FILLED,
            "every output is paid",
            transaction or _seen(progress.complete[0], destination),
        )
        return progress

    async def check_unclaimed(self, intent_id: IntentId, order: Order, destination: Side) -> None:
        """Raises Stop when the order is another solver's, or nobody's any more, by the fills that stand."""
        _refuse_foreign(await self.progress(intent_id, order, destination), order)

    async def progress(self, intent_id: IntentId, order: Order, destination: Side) -> Progress:
        """Who paid which output, by the chain's records. Raises NotYet where a record's event is not to be found."""
        settler = destination.output_settler
        hashes = [output_hash(output) for output in order.outputs]
        records = await asyncio.gather(*(settler.fill_record(intent_id, name) for name in hashes))
        recorded = {name for name, record in zip(hashes, records, strict=True) if record is not None}
        found: list[FillEvidence] = []
        if recorded:
            head = await destination.client.head()
            start = destination.config.start_block
            found = await settler.find_fills(intent_id, max(start, head.number - self._lookback_blocks))
            if not recorded <= {fill.output_hash for fill in found}:
                found = await settler.find_fills(intent_id, start)
            if not recorded <= {fill.output_hash for fill in found}:
                raise NotYet("an output is recorded as paid; its event is not to be seen yet", UNSEEN_RETRY_SECONDS)
        return judge(order, found, to_bytes32(destination.solver))


def _check_time(job: Filling, now: int) -> None:
    if now + job.fill_margin_seconds > job.order.fill_deadline:
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "too little time is left until the fill deadline")
    if now + job.settle_margin_seconds > job.order.expires:
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "too little time is left to settle before the order expires")


def _check_exclusivity(order: Order, destination: Side, now: int) -> None:
    solver = to_bytes32(destination.solver)
    if not all(may_fill(output, solver, now) for output in order.outputs):
        raise Stop(reasons.ERROR_REASON_INVALID_CONTEXT, "an output is still exclusive to another solver")


def _fill_call(job: Filling, indices: Sequence[int], destination: Side, now: int) -> Call:
    """One transaction for all unpaid outputs, with what their curves ask for at the chain's own time."""
    config, settler = destination.config, destination.output_settler
    due = amounts_due(job.order, job.amounts, now)
    outputs = [job.order.outputs[index] for index in indices]
    amounts = [due[index] for index in indices]
    offered = amounts if config.output_settler_accepts_surplus else None
    solver = to_bytes32(destination.solver)
    if len(outputs) == 1:
        data = settler.encode_fill(
            job.intent_id, outputs[0], job.order.fill_deadline, solver, offered[0] if offered else None
        )
    else:
        data = settler.encode_fill_outputs(job.intent_id, outputs, job.order.fill_deadline, solver, offered)
    native = to_bytes32(ZERO_ADDRESS)
    value = sum(units for output, units in zip(outputs, amounts, strict=True) if output.token == native)
    # What is not included by then must never be: a late fill pays and earns nothing.
    latest = min(job.order.fill_deadline - job.fill_margin_seconds, job.order.expires - job.settle_margin_seconds)
    return Call(config.output_settler, data, value, float(latest))


def _refuse_foreign(progress: Progress, order: Order) -> None:
    first = progress.fills[0]
    if progress.verdict is Verdict.LOST and first is not None:
        by = format_address(first.solver)
        raise Stop(reasons.ERROR_REASON_FILL_MISMATCH, f"another solver filled the order first: {by}")
    if progress.verdict is Verdict.TOO_LATE:
        raise Stop(reasons.ERROR_REASON_LATE_FILL, f"an output was filled after the deadline {order.fill_deadline}")


def _seen(fill: FillEvidence, destination: Side) -> ChainTransaction:
    return ChainTransaction(
        hash="0x" + fill.transaction_hash.hex(),
        chain_id=destination.chain_id,
        kind=TRANSACTION_KIND_FILL,
        status=TRANSACTION_STATUS_INCLUDED,
        block_number=fill.block_number,
    )
