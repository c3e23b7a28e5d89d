"""Gives the user the inputs back, with the executor's own key, where one is configured."""

from collections.abc import Callable, Mapping

import structlog

from intentmesh.chain.client import ChainClients
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.input_settler import InputSettler
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import Address, ChainId
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.work import Work
from intentmesh.transactions.model import ResultStatus, TransactionRequest
from intentmesh.transactions.sender import TransactionSender

log = structlog.get_logger(__name__)

# The claim is held meanwhile; afterwards the same request is taken up again.
_DEADLINE_SECONDS = 60.0
# Included and reverted though the simulation went well: somebody was faster, or the token refuses.
_MAX_TRIES = 5


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

    async def refund(self, work: Work) -> None:
        """Sends the refund once, by whomever it is repeated. Whether it worked is seen on chain, not here."""
        sender = self._senders.get(work.order.origin_chain_id)
        if sender is None:
            self._alerts.raise_alert(
                Alert("RefundDue", work.text_id, "The order expired unfilled and no key is configured to refund it.")
            )
            return
        settler = InputSettler(self._clients.of(work.order.origin_chain_id), Address(work.row.input_settler))
        try:
            for number in range(1, _MAX_TRIES + 1):
                result = await sender.execute(self._request(work, settler, number))
                log.info("refund_done", intent_id=work.text_id, status=result.status.value, revert=result.revert)
                if result.status is not ResultStatus.REVERTED:
                    # Refused: somebody was faster, or it is not time. The next look tells.
                    return
        except ChainUnavailable:
            raise
        except MeshError as error:
            log.warning("refund_not_sent", intent_id=work.text_id, message=error.message)

    def _request(self, work: Work, settler: InputSettler, number: int) -> TransactionRequest:
        """A transaction that was included and reverted has used up its key; the next one is simulated anew."""
        return TransactionRequest(
            key=f"{work.text_id}:refund" + (f":{number}" if number > 1 else ""),
            to=settler.address,
            data=settler.encode_refund(work.order),
            deadline=self._clock() + _DEADLINE_SECONDS,
        )
