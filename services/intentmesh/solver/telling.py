"""What a job tells the mesh while it runs."""

from typing import Protocol

from intentmesh.domain.types import format_address
from intentmesh.solver.jobs import Stage
from intentmesh.solver.sides import Side
from intentmesh.transactions.model import TransactionResult
from intentmesh.v1.intent_pb2 import TRANSACTION_STATUS_INCLUDED, ChainTransaction, TransactionKind


class Tell(Protocol):
    """Tells the next stage; a stage that was told before is not told again."""

    async def __call__(self, stage: Stage, message: str, transaction: ChainTransaction | None = None) -> None: ...


def included(result: TransactionResult | None, side: Side, kind: TransactionKind.ValueType) -> ChainTransaction | None:
    """The included transaction as the mesh speaks of it; None where it was not this solver's."""
    if result is None or result.receipt is None:
        return None
    receipt = result.receipt
    return ChainTransaction(
        hash="0x" + receipt.transaction_hash.hex(),
        chain_id=side.chain_id,
        kind=kind,
        status=TRANSACTION_STATUS_INCLUDED,
        block_number=receipt.block_number,
        gas_used=receipt.gas_used,
        effective_gas_price=str(receipt.effective_gas_price),
        sender=format_address(receipt.sender),
    )
