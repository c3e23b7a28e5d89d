"""Gives the user the inputs back, with the executor's own key, where one is configured."""

from collections.abc import Mapping

import structlog

from intentmesh.chain.client import ChainClients
from intentmesh.chain.errors import ChainUnavailable, Reverted
from intentmesh.chain.input_settler import InputSettler
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import Address, ChainId
from intentmesh.executor.alerts import Alert, Alerts
from intentmesh.executor.work import Work
from intentmesh.transactions.sender import TransactionRequest, TransactionSender

log = structlog.get_logger(__name__)


class RefundStep:
    """Sends `refund`. By chain: the sender that holds our key there."""

    def __init__(self, senders: Mapping[ChainId, TransactionSender], clients: ChainClients, alerts: Alerts) -> None:
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
        request = TransactionRequest(
            key=f"{work.text_id}:refund", to=settler.address, data=settler.encode_refund(work.order)
        )
        try:
            result = await sender.execute(request)
        except ChainUnavailable:
            raise
        except Reverted as error:
            # Somebody was faster, or the chain's clock is behind ours; the next look tells.
            log.info("refund_reverted", intent_id=work.text_id, revert=error.name)
        except MeshError as error:
            log.warning("refund_not_sent", intent_id=work.text_id, message=error.message)
        else:
            log.info("refund_sent", intent_id=work.text_id, transaction="0x" + result.hash.hex())
