"""Gives the user the inputs back, with the executor's own key, where one is configured."""

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import structlog

from intentmesh.chain.client import ChainClients
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.input_settler import InputSettler
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import Address, ChainId
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.work import Work
from intentmesh.transactions.model import ResultStatus, SignerBusy, TransactionRequest
from intentmesh.transactions.sender import TransactionSender

log = structlog.get_logger(__name__)

# Afterwards the same request is taken up again.
_DEADLINE_SECONDS = 60.0
# The claim is held meanwhile. What takes longer, an inclusion or a signer without funds, goes on without it, and the
# next look takes part again.
_WAIT_SECONDS = 5.0
# Included and reverted though the simulation went well: somebody was faster, or the token refuses.
_QUICK_TRIES = 5
# Each of which costs gas. Then a person is told, and the trouble may still pass.
_SLOW_SECONDS = 3600.0
# What is not refunded so long after the order expired waits for more than its turn.
_LATE_SECONDS = 600.0
_MOST_REMEMBERED = 10_000

Value = TypeVar("Value")


class RefundStep:
    """Sends `refund`. By chain: the sender that holds our key there. `clock` gives Unix seconds."""

    def __init__(
        self,
        senders: Mapping[ChainId, TransactionSender],
        clients: ChainClients,
        alerts: Alerts,
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._senders = senders
        self._clients = clients
        self._alerts = alerts
        # By intent: the highest try known to have reverted. The ledger says the same, for more questions.
        self._reverted: dict[str, int] = {}
        # By intent: when it was tried first by this process.
        self._begun: dict[str, float] = {}
        # Where one of those that have to wait finds out whether the signer has funds again.
        self._finding_out: set[ChainId] = set()

    async def refund(self, work: Work) -> None:
        """Sends the refund once, by whomever it is repeated. Whether it worked is seen on chain, not here.

        Raises ChainUnavailable.
        """
        sender = self._senders.get(work.order.origin_chain_id)
        if sender is None:
            self._tell(work, "RefundDue", "The order expired unfilled and no key is configured to refund it.")
            return
        if work.text_id not in self._begun:
            _remember(self._begun, work.text_id, self._clock())
        if sender.paused is None:
            await self._send(work, sender)
        elif work.order.origin_chain_id in self._finding_out:
            # All of them would only wait for the same, in places that others need.
            self._tell_if_late(work, f"the signer rests: {sender.paused}")
        else:
            self._finding_out.add(work.order.origin_chain_id)
            try:
                await self._send(work, sender)
            finally:
                self._finding_out.remove(work.order.origin_chain_id)

    async def _send(self, work: Work, sender: TransactionSender) -> None:
        settler = InputSettler(self._clients.of(work.order.origin_chain_id), Address(work.row.input_settler))
        status = None
        for number in self._tries(work):
            status = await self._try(work, sender, self._request(work, settler, number))
            if status is not ResultStatus.REVERTED:
                break
            _remember(self._reverted, work.text_id, number)
        if status is not ResultStatus.CONFIRMED and self._reverted.get(work.text_id, 0) >= _QUICK_TRIES:
            self._tell(work, "RefundFailing", "The refund reverts on chain time and again; it is tried once an hour.")

    async def _try(self, work: Work, sender: TransactionSender, request: TransactionRequest) -> ResultStatus | None:
        """How it ended; None when it has not, or did not begin."""
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                result = await sender.execute(request)
        except (TimeoutError, SignerBusy):
            # It goes on; or another process sends for the signer at the moment.
            log.info("refund_takes_time", intent_id=work.text_id)
            if sender.paused is not None:
                self._tell_if_late(work, f"the signer rests: {sender.paused}")
            elif self._clock() - self._begun.get(work.text_id, math.inf) >= _LATE_SECONDS:
                self._tell(work, "RefundFailing", "The refund is under way for long and is not included.")
            return None
        except ChainUnavailable:
            raise
        except MeshError as error:
            log.warning("refund_not_sent", intent_id=work.text_id, message=error.message)
            self._tell_if_late(work, error.message)
            return None
        log.info("refund_done", intent_id=work.text_id, status=result.status.value, revert=result.revert)
        if result.status in (ResultStatus.REJECTED, ResultStatus.EXPIRED):
            # Somebody was faster, or it is not time, which the next look tells. But neither lasts.
            self._tell_if_late(work, result.revert or result.status.value)
        return result.status

    def _tries(self, work: Work) -> Iterable[int]:
        """Numbers of what may be tried now: some at once, then one for each hour since the order expired."""
        tried = self._reverted.get(work.text_id, 0)
        yield from range(tried + 1, _QUICK_TRIES + 1)
        slow = _QUICK_TRIES + int((self._clock() - work.order.expires) // _SLOW_SECONDS)
        if slow > max(tried, _QUICK_TRIES):
            yield slow

    def _request(self, work: Work, settler: InputSettler, number: int) -> TransactionRequest:
        """A transaction that was included and reverted has used up its key; the next one is simulated anew."""
        return TransactionRequest(
            key=f"{work.text_id}:refund" + (f":{number}" if number > 1 else ""),
            to=settler.address,
            data=settler.encode_refund(work.order),
            deadline=self._clock() + _DEADLINE_SECONDS,
        )

    def _tell_if_late(self, work: Work, why: str) -> None:
        if self._clock() - work.order.expires >= _LATE_SECONDS:
            self._tell(work, "RefundFailing", f"The refund does not come about, and is tried again: {why}.")

    def _tell(self, work: Work, name: str, summary: str) -> None:
        self._alerts.raise_alert(Alert(name, work.text_id, summary))


def _remember(memory: dict[str, Value], intent: str, value: Value) -> None:
    # Of too many the oldest are forgotten, and asked about again.
    memory.pop(intent, None)
    memory[intent] = value
    if len(memory) > _MOST_REMEMBERED:
        del memory[next(iter(memory))]
