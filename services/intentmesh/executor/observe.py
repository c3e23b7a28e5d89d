"""One look at the chains: gathers evidence, stores what it shows, and brings the intent's state up to it."""

from collections.abc import Callable
from dataclasses import replace

import structlog

from intentmesh.chain.client import ChainClients
from intentmesh.chain.records import TransactionHash
from intentmesh.domain.types import format_address
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.attestation import of_present
from intentmesh.executor.discoveries import Discovery, describe, discover, key_of
from intentmesh.executor.gather import Gatherer
from intentmesh.executor.journal import Entry, Journal
from intentmesh.executor.moves import settlement_endangered
from intentmesh.executor.outcomes import progress_after
from intentmesh.executor.transitions import Transition, next_transition
from intentmesh.executor.verification import verify
from intentmesh.executor.work import View, Work
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import ChainTransaction

log = structlog.get_logger(__name__)


class Observer:
    """Reads chains, writes proven changes. `clock` gives Unix seconds."""

    def __init__(
        self,
        gatherer: Gatherer,
        clients: ChainClients,
        journal: Journal,
        alerts: Alerts,
        clock: Callable[[], float],
        settlement_margin_seconds: float,
    ) -> None:
        self._gatherer = gatherer
        self._clients = clients
        self._journal = journal
        self._alerts = alerts
        self._clock = clock
        self._settlement_margin_seconds = settlement_margin_seconds

    async def look(self, work: Work, *, fresh: bool = False) -> tuple[Work, View]:
        """The intent brought up to what the chains prove now, its attestations those of the present fills alone.

        Raises ChainUnavailable: then nothing has changed.
        """
        work = await self._keep_wish(work)
        evidence = await self._gatherer.gather(work.subject, fresh=fresh)
        view = View(evidence, verify(work.order, evidence))
        work = await self._store_transactions(work, view)
        work = await self._tell_late_fills(work, view)
        work = await self._apply_transitions(work, view)
        self._page_before_refund(work, view)
        present = of_present(work.intent_id, work.order, view.proven.fills, work.attestations)
        return replace(work, attestations=present), view

    async def view(self, work: Work) -> View:
        """The chains once more, nothing stored, nothing remembered. Raises ChainUnavailable."""
        evidence = await self._gatherer.gather(work.subject, fresh=True)
        return View(evidence, verify(work.order, evidence))

    async def _keep_wish(self, work: Work) -> Work:
        if not work.cancel_requested or work.progress.cancel_requested:
            return work
        # The phase may move on with the chain; the user's wish stays.
        return await self._journal.write(work, progress=replace(work.progress, cancel_requested=True))

    async def _store_transactions(self, work: Work, view: View) -> Work:
        fresh, changed = discover(view.evidence, work.transactions)
        found = [transaction for item in fresh if (transaction := await self._read(item)) is not None]
        if not found and not changed:
            return work
        entries = [
            Entry(
                Transition(
                    work.state,
                    describe(transaction),
                    type=IntentEventType.INTENT_EVENT_TYPE_TRANSACTION,
                ),
                detail=transaction,
            )
            for transaction in found
            if (transaction.chain_id, transaction.hash) not in work.transactions
        ]
        return await self._journal.write(work, entries=entries, transactions=[*found, *changed])

    async def _read(self, item: Discovery) -> ChainTransaction | None:
        sighting = item.sighting
        receipt = await self._clients.of(sighting.chain_id).receipt(TransactionHash(sighting.transaction_hash))
        if receipt is None or receipt.block_number != sighting.block_number:
            # Between log and receipt the chain moved; the next look sees one of them.
            return None
        chain_id, text = key_of(sighting)
        return ChainTransaction(
            hash=text,
            chain_id=chain_id,
            kind=item.kind,
            status=item.status,
            block_number=receipt.block_number,
            gas_used=receipt.gas_used,
            effective_gas_price=str(receipt.effective_gas_price),
            sender=format_address(receipt.sender),
        )

    async def _tell_late_fills(self, work: Work, view: View) -> Work:
        late = [fill for fill in view.proven.late_fills if fill.output_index not in work.progress.late_told]
        if not late:
            return work
        entries = [
            Entry(
                Transition(
                    work.state,
                    f"Output {fill.output_index} was paid {fill.time - work.order.fill_deadline} s after the fill "
                    "deadline; the payment does not count.",
                    ErrorReason.ERROR_REASON_LATE_FILL,
                    IntentEventType.INTENT_EVENT_TYPE_LATE_FILL,
                ),
                detail=work.transactions.get(key_of(fill.sighting)),
            )
            for fill in late
        ]
        told = (*work.progress.late_told, *(fill.output_index for fill in late))
        return await self._journal.write(work, entries=entries, progress=replace(work.progress, late_told=told))

    async def _apply_transitions(self, work: Work, view: View) -> Work:
        while (step := next_transition(work.state, view.proven, work.situation(self._clock()))) is not None:
            work = await self._journal.write(work, entries=[Entry(step)], progress=progress_after(work, view, step))
            if step.type == IntentEventType.INTENT_EVENT_TYPE_FINALITY_VIOLATED:
                self._alerts.raise_alert(Alert("FinalityViolated", work.text_id, step.message))
        return work

    def _page_before_refund(self, work: Work, view: View) -> None:
        if settlement_endangered(work.order, view.evidence, view.proven, self._settlement_margin_seconds):
            self._alerts.raise_alert(
                Alert(
                    "SettlementEndangered",
                    work.text_id,
                    "Every output is paid, the solver is not, and the order can soon be refunded by anyone.",
                )
            )
