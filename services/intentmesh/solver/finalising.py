"""Getting paid from escrow."""

import asyncio

from intentmesh.chain.input_settler import OrderStatus
from intentmesh.chain.structs import SolveParams
from intentmesh.domain.order import Order
from intentmesh.domain.types import IntentId, format_intent_id, to_bytes32
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.calls import Call
from intentmesh.solver.evidence import Progress
from intentmesh.solver.outcomes import NotYet, Stop
from intentmesh.solver.sides import Side
from intentmesh.solver.telling import Tell, included
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.intent_pb2 import TRANSACTION_KIND_FINALISE


class Finaliser:
    """Finalises orders on their origin chain; the inputs go to the solver's own address."""

    def __init__(self, achiever: Achiever) -> None:
        self._achiever = achiever

    async def run(self, intent_id: IntentId, order: Order, progress: Progress, origin: Side, tell: Tell) -> None:
        """Return when the payment has the configured confirmations. Raises Stop, TryFailed, NotYet."""

        async def look() -> OrderStatus | None:
            return await _claimed(intent_id, origin)

        async def call() -> Call:
            params = [SolveParams(fill.timestamp, fill.solver) for fill in progress.complete]
            data = origin.input_settler.encode_finalise(order, params, to_bytes32(origin.solver))
            return Call(origin.config.input_settler, data)

        achieved = await self._achiever.achieve(f"{format_intent_id(intent_id)}:finalise", origin, look, call)
        await self._confirm(intent_id, origin)
        transaction = included(achieved.result, origin, TRANSACTION_KIND_FINALISE)
        await tell(pb.EXECUTE_STAGE_SETTLED, "paid from escrow", transaction)

    async def _confirm(self, intent_id: IntentId, origin: Side) -> None:
        while True:
            head = await origin.client.head()
            height = head.number - origin.config.confirmations + 1
            if height >= 0 and await origin.input_settler.order_status(intent_id, height) is OrderStatus.CLAIMED:
                return
            if await _claimed(intent_id, origin) is None:
                raise NotYet("a reorganisation took the payment back", origin.poll_seconds)
            await asyncio.sleep(origin.poll_seconds)


async def _claimed(intent_id: IntentId, origin: Side) -> OrderStatus | None:
    status = await origin.input_settler.order_status(intent_id)
    if status is OrderStatus.REFUNDED:
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "the order was refunded to its user before it was finalised")
    return OrderStatus.CLAIMED if status is OrderStatus.CLAIMED else None
