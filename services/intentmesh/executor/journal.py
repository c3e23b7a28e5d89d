"""What the executor writes about an intent: always under the fence, always row and events together.

Every write locks the intent, checks that the claim still stands and that the row is the one the decision was made on,
and only then changes anything. Hints, metrics and the log line follow the commit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.events import EventDetail
from intentmesh.domain.lifecycle import TERMINAL
from intentmesh.domain.types import Bytes32, IntentId, parse_address
from intentmesh.executor.attestation import Collected
from intentmesh.executor.discoveries import TransactionKey, gas_by_chain, totals
from intentmesh.executor.progress import Progress
from intentmesh.executor.transitions import Transition
from intentmesh.executor.work import Award, Work
from intentmesh.rpc import metrics
from intentmesh.rpc.errors import reason_name
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.store import executions, intents
from intentmesh.store.executions import Claim, ClaimLost
from intentmesh.store.hints import HintPublisher
from intentmesh.store.pool import Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import ChainTransaction

_PAUSE_SECONDS = 1.0
_AWARD_OPEN = "OPEN"


class Overtaken(Exception):
    """Somebody else changed the intent since it was read; nothing was written."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event to write, with its typed detail."""

    transition: Transition
    detail: EventDetail | None = None


class Journal:
    """Reads and writes claimed intents. `clock` gives Unix seconds."""

    def __init__(self, pool: Pool, hints: HintPublisher, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._hints = hints
        self._clock = clock
        self._paused: tuple[bool, float] = (False, 0.0)

    async def open(self, claim: Claim) -> Work:
        """The intent as stored now. Raises ClaimLost."""
        async with self._pool.acquire() as conn:
            row = await intents.get_intent(conn, claim.intent_id)
            execution = await executions.get_execution(conn, claim.intent_id)
            if row is None or execution is None or execution.fence != claim.fence:
                raise ClaimLost(f"fence {claim.fence} is void")
            awards = await executions.list_awards(conn, claim.intent_id)
            transactions = await executions.list_transactions(conn, claim.intent_id)
            attestations = await executions.list_attestations(conn, claim.intent_id)
        newest = awards[-1] if awards else None
        return Work(
            claim=claim,
            row=row,
            order=order_from_proto(row.order()),
            progress=Progress.from_document(execution.state),
            award=None if newest is None else _award(newest),
            transactions=_by_key(transactions),
            attestations=_by_output([(a.output_hash, a.attestation) for a in attestations]),
        )

    async def confirm(self, work: Work) -> None:
        """That the work is still ours and as it was read: before what no fence can stop. Raises as `write`."""
        async with self._pool.acquire() as conn, conn.transaction():
            row = await executions.lock_claimed(conn, work.claim)
        if row.sequence != work.row.sequence:
            raise Overtaken

    async def write(
        self,
        work: Work,
        *,
        entries: Sequence[Entry] = (),
        progress: Progress | None = None,
        transactions: Sequence[ChainTransaction] = (),
        award: Award | None = None,
    ) -> Work:
        """Writes all of it or nothing; returns the intent afterwards. Raises ClaimLost and Overtaken."""
        remembered = work.progress if progress is None else progress
        if not (entries or transactions or award) and remembered == work.progress:
            return work
        known = {**work.transactions, **_by_key(transactions)}
        events: list[IntentEvent] = []
        async with self._pool.acquire() as conn, conn.transaction():
            row = await executions.lock_claimed(conn, work.claim)
            if row.sequence != work.row.sequence:
                raise Overtaken
            if award is not None:
                await executions.add_award(conn, _stored_award(work.intent_id, award))
            for transaction in transactions:
                await executions.upsert_transaction(conn, work.intent_id, transaction)
            for entry in entries:
                row, event = await intents.apply(conn, row, self._change(entry, remembered, known, award))
                events.append(event)
            if remembered != work.progress:
                await executions.update_execution(
                    conn,
                    work.claim,
                    rounds=remembered.rounds,
                    attempts=remembered.attempts,
                    state=remembered.to_document(),
                )
        await self._hints.publish(events)
        self._measure(work.row, events)
        return Work(work.claim, row, work.order, remembered, award or work.award, known, work.attestations)

    async def save_attestations(self, work: Work, found: Sequence[FillAttestation]) -> Work:
        """Keeps signatures that prove fills; the newest of an attester over an output stays. Raises ClaimLost."""
        if not found:
            return work
        async with self._pool.acquire() as conn, conn.transaction():
            await executions.lock_claimed(conn, work.claim)
            for attestation in found:
                await executions.save_attestation(
                    conn,
                    work.intent_id,
                    _output_hash(attestation),
                    parse_address(attestation.attester),
                    attestation,
                )
            stored = await executions.list_attestations(conn, work.intent_id)
        kept = _by_output([(a.output_hash, a.attestation) for a in stored])
        return Work(work.claim, work.row, work.order, work.progress, work.award, work.transactions, kept)

    async def release(self, claim: Claim, seconds: float) -> None:
        """Gives the claim back, due again after so many seconds. Raises ClaimLost."""
        async with self._pool.acquire() as conn:
            await executions.release(conn, claim, self._now() + timedelta(seconds=seconds))

    async def finish(self, work: Work) -> None:
        """Nothing is owed any more: the work is done for good. Raises ClaimLost."""
        async with self._pool.acquire() as conn:
            await executions.finish(conn, work.claim)
        for chain, gas in gas_by_chain(work.transactions.values()).items():
            metrics.INTENT_GAS_USED.labels(metrics.type_label(work.row.type), str(chain)).observe(gas)

    async def paused(self) -> bool:
        """Whether an operator keeps new work back; read again every second."""
        value, read_at = self._paused
        if self._clock() - read_at > _PAUSE_SECONDS:
            async with self._pool.acquire() as conn:
                value = await executions.get_pause(conn) is not None
            self._paused = (value, self._clock())
        return value

    def _change(
        self,
        entry: Entry,
        progress: Progress,
        known: Mapping[TransactionKey, ChainTransaction],
        award: Award | None,
    ) -> intents.Change:
        gas, cost = totals(known.values())
        step = entry.transition
        return intents.Change(
            type=step.type,
            state=step.state,
            message=step.message,
            reason=step.reason,
            detail=entry.detail,
            trace_id=current_trace_id(),
            at=self._now(),
            solver_id=None if award is None else award.solver_id,
            solver=None if award is None else parse_address(award.quote.solver),
            award_number=None if award is None else award.number,
            attempts=progress.attempts,
            gas_used=gas,
            total_cost=cost,
        )

    def _measure(self, before: IntentRow, events: Sequence[IntentEvent]) -> None:
        kind = metrics.type_label(before.type)
        terminal = before.state.is_terminal
        for event in events:
            if event.reason:
                metrics.INTENT_ERRORS.labels(kind, reason_name(event.reason)).inc()
            if not terminal and event.status in TERMINAL:
                terminal = True
                seconds = self._clock() - before.created_at.timestamp()
                metrics.INTENT_RESOLUTION_SECONDS.labels(kind).observe(max(seconds, 0.0))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _stored_award(intent_id: IntentId, award: Award) -> executions.Award:
    return executions.Award(
        intent_id=intent_id,
        award_number=award.number,
        auction_id=award.auction_id,
        solver_id=award.solver_id,
        solver=parse_address(award.quote.solver),
        quote=award.quote,
        state=_AWARD_OPEN,
        token=award.token,
    )


def _award(stored: executions.Award) -> Award:
    return Award(stored.award_number, stored.auction_id, stored.quote, stored.token)


def _by_key(transactions: Sequence[ChainTransaction]) -> dict[TransactionKey, ChainTransaction]:
    return {(t.chain_id, t.hash): t for t in transactions}


def _by_output(stored: Sequence[tuple[Bytes32, FillAttestation]]) -> Collected:
    found: dict[Bytes32, dict[str, FillAttestation]] = {}
    for digest, attestation in stored:
        found.setdefault(digest, {})[attestation.attester] = attestation
    return found


def _output_hash(attestation: FillAttestation) -> Bytes32:
    return Bytes32(bytes.fromhex(attestation.output_hash[2:]))
