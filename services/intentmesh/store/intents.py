"""Intents: reading them, and `apply`, the one way to change their state. Storing them stands in `admission.py`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.events import EventDetail, build_event
from intentmesh.domain.lifecycle import IllegalTransition, State
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, format_address, format_intent_id
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.store.rows import IntentRow, intent_row
from intentmesh.v1 import intent_pb2, order_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType

_SQL = load_queries("intentmesh.store.queries", "intents")


class StaleRow(Exception):
    """Somebody changed the intent since the row was read: lock it, decide anew."""


# Not frozen, though nobody changes them: freezing triples what making one costs.
@dataclass(slots=True)
class NewIntent:
    """What intake stores. `expires_at` is the fill deadline; `permit2_nonce` None where no Permit2 nonce is used."""

    intent_id: IntentId
    user: Address
    type: "IntentType.ValueType"
    order_payload: bytes
    input_settler: Address
    origin_chain_id: ChainId
    signature: bytes
    permit2_nonce: int | None
    created_at: datetime
    expires_at: datetime
    source: str = ""
    ip: str = ""
    user_agent: str = ""
    # What the order takes from its user, by token of the origin chain.
    inputs: tuple[tuple[Address, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One transition. `state` is the one after it; None keeps a column as it is."""

    type: "IntentEventType.ValueType"
    state: State
    message: str
    reason: "ErrorReason.ValueType" = ErrorReason.ERROR_REASON_UNSPECIFIED
    detail: EventDetail | None = None
    trace_id: str = ""
    at: datetime | None = None
    solver_id: str | None = None
    solver: Address | None = None
    award_number: int | None = None
    attempts: int | None = None
    gas_used: int | None = None
    total_cost: int | None = None


@dataclass(frozen=True, slots=True)
class IntentFilter:
    """All conditions must hold; an empty one holds always. `created_to` is exclusive."""

    user: Address | None = None
    statuses: tuple["IntentStatus.ValueType", ...] = ()
    types: tuple["IntentType.ValueType", ...] = ()
    created_from: datetime | None = None
    created_to: datetime | None = None
    # That did something for them.
    transaction_hash: Bytes32 | None = None


@dataclass(frozen=True, slots=True)
class PageKey:
    """The last row of a page."""

    created_at: datetime
    intent_id: IntentId


@dataclass(frozen=True, slots=True)
class RequestIdUse:
    """What a request id was first used for."""

    body_hash: Bytes32
    intent_id: IntentId


async def get_intent(conn: Connection, intent_id: IntentId) -> IntentRow | None:
    """One intent, not locked."""
    record = await conn.fetchrow(_SQL["get_intent"], intent_id)
    return None if record is None else intent_row(record)


async def get_intents(conn: Connection, ids: Sequence[IntentId]) -> dict[IntentId, IntentRow]:
    """Those of the intents that are stored, not locked."""
    rows = [intent_row(record) for record in await conn.fetch(_SQL["get_intents"], ids)]
    return {row.intent_id: row for row in rows}


async def lock_intent(conn: Connection, intent_id: IntentId) -> IntentRow | None:
    """One intent, locked until the transaction ends."""
    record = await conn.fetchrow(_SQL["lock_intent"], intent_id)
    return None if record is None else intent_row(record)


async def find_by_nonce(conn: Connection, origin_chain_id: ChainId, user: Address, nonce: int) -> IntentId | None:
    """The intent that holds a Permit2 nonce."""
    found = await conn.fetchval(_SQL["find_by_nonce"], origin_chain_id, user, Decimal(nonce))
    return None if found is None else IntentId(found)


async def ids_of_user(conn: Connection, user: Address, limit: int) -> list[IntentId]:
    """A user's intents, in no order: all of them where they are fewer than the limit."""
    return [IntentId(record[0]) for record in await conn.fetch(_SQL["ids_of_user"], user, limit)]


async def find_by_transaction(conn: Connection, transaction_hash: Bytes32) -> list[IntentId]:
    """The intents that the transaction did something for."""
    return [IntentId(record[0]) for record in await conn.fetch(_SQL["find_by_transaction"], transaction_hash)]


async def list_intents(
    conn: Connection, wanted: IntentFilter, after: PageKey | None = None, limit: int = 50
) -> list[IntentRow]:
    """A page, newest first. Stable under inserts: what existed at the first page appears exactly once."""
    served = None if wanted.transaction_hash is None else await find_by_transaction(conn, wanted.transaction_hash)
    records = await conn.fetch(
        _SQL["list_intents"],
        *(wanted.user, list(wanted.statuses) or None, list(wanted.types) or None),
        *(wanted.created_from, wanted.created_to),
        *(None if after is None else after.created_at, None if after is None else after.intent_id, limit),
        served,
    )
    return [intent_row(record) for record in records]


async def apply(conn: Connection, row: IntentRow, change: Change) -> tuple[IntentRow, IntentEvent]:
    """Write one transition: the row and the event that tells of it, at the next sequence.

    The caller publishes the event after its commit.

    Raises StaleRow when `row` is not the newest (never after `lock_intent` in the same transaction), and
    IllegalTransition when a terminal status would change.
    """
    if row.state.is_terminal and change.state.status != row.state.status:
        raise IllegalTransition(f"{format_intent_id(row.intent_id)}: a terminal status never changes")
    at = change.at or datetime.now(UTC)
    event = build_event(
        intent_id=row.intent_id,
        sequence=row.sequence + 1,
        type=change.type,
        state=change.state,
        intent_type=row.type,
        user=row.user,
        at=at,
        message=change.message,
        reason=change.reason,
        trace_id=change.trace_id,
        detail=change.detail,
    )
    cost = None if change.total_cost is None else Decimal(change.total_cost)
    record = await conn.fetchrow(
        _SQL["apply"],
        *(row.intent_id, row.sequence, change.state.status, change.state.phase, change.state.obligation),
        *(change.message, change.reason, at, change.solver_id, change.solver, change.award_number, change.attempts),
        *(change.gas_used, cost, event.SerializeToString()),
    )
    if record is None:
        raise StaleRow(f"{format_intent_id(row.intent_id)} has moved on from sequence {row.sequence}")
    return intent_row(record), event


def to_proto(
    row: IntentRow,
    order: order_pb2.Order | None = None,
    transactions: Sequence[intent_pb2.ChainTransaction] = (),
) -> intent_pb2.Intent:
    """An intent as callers see it; the order as stored unless given. The signature never leaves the store this way."""
    return intent_pb2.Intent(
        intent_id=format_intent_id(row.intent_id),
        type=row.type,
        status=row.state.status,
        phase=row.state.phase,
        obligation=row.state.obligation,
        order=row.order() if order is None else order,
        input_settler=format_address(row.input_settler),
        create_time=_timestamp(row.created_at.timestamp()),
        update_time=_timestamp(row.updated_at.timestamp()),
        expire_time=_timestamp(row.expires_at.timestamp()),
        sequence=row.sequence,
        message=row.message,
        reason=row.reason,
        execution=intent_pb2.ExecutionDetails(
            solver_id=row.solver_id,
            solver="" if row.solver is None else format_address(row.solver),
            transactions=transactions,
            gas_used=row.gas_used,
            total_cost=str(row.total_cost),
            award_number=row.award_number,
            attempts=row.attempts,
        ),
        metadata=intent_pb2.IntentMetadata(source=row.source, ip=row.ip, user_agent=row.user_agent),
    )


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1_000_000))
    return timestamp
