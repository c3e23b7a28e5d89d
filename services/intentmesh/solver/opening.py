"""Getting an order into escrow, deep enough to rely on."""

import asyncio
from dataclasses import dataclass

from intentmesh.chain.input_settler import OrderStatus
from intentmesh.domain.order import Order
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.calls import Call
from intentmesh.solver.outcomes import Stop
from intentmesh.solver.sides import Side
from intentmesh.solver.telling import Tell, included
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.intent_pb2 import TRANSACTION_KIND_OPEN, ChainTransaction

# How long an order that is said to be opened may stay unseen: endpoints lag, blocks are reorganised.
OPENED_ELSEWHERE_WAIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening needs. An empty signature: somebody else opened the order."""

    intent_id: IntentId
    order: Order
    signature: bytes
    margin_seconds: int


class Opener:
    """Opens orders on their origin chain."""

    def __init__(self, achiever: Achiever) -> None:
        self._achiever = achiever

    async def run(self, job: Opening, origin: Side, tell: Tell) -> None:
        """Return when the order is, or was, in escrow deep enough. Raises Stop, TryFailed, NotYet."""
        if await self._is_confirmed(job, origin):
            await tell(pb.EXECUTE_STAGE_OPENED, "the inputs are in escrow")
            return
        transaction = None
        while True:
            if job.signature:
                transaction = await self._open(job, origin, tell)
            else:
                await self._wait_for_others(job, origin)
            if await self._stays(job, origin):
                break
        await tell(pb.EXECUTE_STAGE_OPENED, "the inputs are in escrow", transaction)

    async def _open(self, job: Opening, origin: Side, tell: Tell) -> ChainTransaction | None:
        async def look() -> OrderStatus | None:
            return await self._status(job, origin)

        async def call() -> Call:
            head = await origin.client.head()
            latest = min(job.order.fill_deadline, job.order.expires) - job.margin_seconds
            if head.timestamp >= latest:
                raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "too little time is left to open and fill the order")
            await tell(pb.EXECUTE_STAGE_OPENING, "opening the order on its origin chain")
            data = origin.input_settler.encode_open_for(job.order, job.order.user, job.signature)
            return Call(origin.config.input_settler, data, deadline=float(latest))

        achieved = await self._achiever.achieve(f"{format_intent_id(job.intent_id)}:open", origin, look, call)
        return included(achieved.result, origin, TRANSACTION_KIND_OPEN)

    async def _wait_for_others(self, job: Opening, origin: Side) -> None:
        try:
            async with asyncio.timeout(OPENED_ELSEWHERE_WAIT_SECONDS):
                while await self._status(job, origin) is None:  # noqa: ASYNC110 - a chain rings no bell
                    await asyncio.sleep(origin.poll_seconds)
        except TimeoutError:
            raise Stop(
                reasons.ERROR_REASON_FILL_MISMATCH, "the order is said to be opened; the chain does not show it"
            ) from None

    async def _status(self, job: Opening, origin: Side) -> OrderStatus | None:
        return _known(await origin.input_settler.order_status(job.intent_id))

    async def _stays(self, job: Opening, origin: Side) -> bool:
        """Wait for the confirmations. False when a reorganisation took the opening back."""
        while not await self._is_confirmed(job, origin):
            if await self._status(job, origin) is None:
                return False
            await asyncio.sleep(origin.poll_seconds)
        return True

    async def _is_confirmed(self, job: Opening, origin: Side) -> bool:
        head = await origin.client.head()
        height = head.number - origin.config.confirmations + 1
        return height >= 0 and _known(await origin.input_settler.order_status(job.intent_id, height)) is not None


def _known(status: OrderStatus) -> OrderStatus | None:
    """The status of an order that was opened; None before. Raises Stop once it is refunded."""
    if status is OrderStatus.REFUNDED:
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "the order was refunded to its user")
    return None if status is OrderStatus.NONE else status
