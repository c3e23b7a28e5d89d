"""Rows as typed values. Raw bytes, aware datetimes, enum numbers of the protos."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from intentmesh.domain.lifecycle import State
from intentmesh.domain.types import Address, ChainId, IntentId
from intentmesh.v1 import order_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import IntentType


@dataclass(frozen=True, slots=True)
class IntentRow:
    """An intent as stored. Gas in gas units, cost in wei over all chains."""

    intent_id: IntentId
    user: Address
    type: "IntentType.ValueType"
    state: State
    sequence: int
    order_payload: bytes
    input_settler: Address
    origin_chain_id: ChainId
    signature: bytes
    permit2_nonce: int | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime
    message: str
    reason: "ErrorReason.ValueType"
    source: str
    ip: str
    user_agent: str
    solver_id: str
    solver: Address | None
    award_number: int
    attempts: int
    gas_used: int
    total_cost: int

    def order(self) -> order_pb2.Order:
        """The order as submitted, parsed anew."""
        return order_pb2.Order.FromString(self.order_payload)


def intent_row(record: Mapping[str, Any]) -> IntentRow:
    """From a record of `SELECT *`."""
    nonce = record["permit2_nonce"]
    return IntentRow(
        intent_id=IntentId(record["intent_id"]),
        user=Address(record["user_address"]),
        type=record["type"],
        state=State(record["status"], record["phase"], record["obligation"]),
        sequence=record["sequence"],
        order_payload=record["order_payload"],
        input_settler=Address(record["input_settler"]),
        origin_chain_id=ChainId(record["origin_chain_id"]),
        signature=record["signature"],
        permit2_nonce=None if nonce is None else int(nonce),
        created_at=record["created_at"],
        updated_at=record["updated_at"],
        expires_at=record["expires_at"],
        message=record["message"],
        reason=record["reason"],
        source=record["source"],
        ip=record["ip"],
        user_agent=record["user_agent"],
        solver_id=record["solver_id"],
        solver=record["solver_address"],
        award_number=record["award_number"],
        attempts=record["attempts"],
        gas_used=record["gas_used"],
        total_cost=int(record["total_cost"]),
    )
