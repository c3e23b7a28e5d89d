from types import SimpleNamespace
from typing import Any

from intentmesh.executor.refund import RefundStep
from intentmesh.transactions.model import ResultStatus, TransactionRequest, TransactionResult

from tests.unit.executor.orders import ORIGIN, order


class Sender:
    """The outcomes of requests by key, as a ledger keeps them; what is asked anew is included."""

    def __init__(self, **ended: ResultStatus) -> None:
        self._ended = ended
        self.keys: list[str] = []

    async def execute(self, request: TransactionRequest) -> TransactionResult:
        self.keys.append(request.key)
        return TransactionResult(None, self._ended.get(request.key.partition(":")[2], ResultStatus.CONFIRMED))


async def refund_with(sender: Sender) -> list[str]:
    config: Any = SimpleNamespace(input_settler=b"\x01" * 20)
    clients: Any = SimpleNamespace(of=lambda _: SimpleNamespace(config=config))
    work: Any = SimpleNamespace(text_id="0x01", order=order(), row=SimpleNamespace(input_settler=b"\x01" * 20))
    fake: Any = sender
    unused: Any = None
    await RefundStep({ORIGIN: fake}, clients, unused, lambda: 0.0).refund(work)
    return sender.keys


async def test_refund__first_one_reverted__is_tried_under_another_key() -> None:
    # The key of a reverted transaction is spent: under it alone the user's funds would stay where they are.
    assert await refund_with(Sender(refund=ResultStatus.REVERTED)) == ["0x01:refund", "0x01:refund:2"]


async def test_refund__would_revert__is_left_for_the_next_look() -> None:
    assert await refund_with(Sender(refund=ResultStatus.REJECTED)) == ["0x01:refund"]
