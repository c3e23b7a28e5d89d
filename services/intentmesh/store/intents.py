"""Intents: storing them, reading them, and `apply`, the one way to change their state."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.timestamp_pb2 import Timestamp

from intentmesh.domain.errors import AlreadyExists
from intentmesh.domain.events import EventDetail, build_event
from intentmesh.domain.lifecycle import IllegalTransition, State, accepted
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, format_address, format_intent_id
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.store.rows import IntentRow, intent_row
from intentmesh.v1 import intent_pb2, order_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType

_SQL = load_queries("intentmesh.store.queries", "intents")
# An insert that met a holder which let go before we could name it is simply tried again.
_INSERT_ATTEMPTS = 3


class StaleRow(Exception):
    """Somebody changed the intent since the row was read: lock it, decide anew."""


class NonceHeld(AlreadyExists):
    """Another intent of the user holds the Permit2 nonce (DUPLICATE_NONCE, metadata `intent_id`)."""

    default_reason = ErrorReason.ERROR_REASON_DUPLICATE_NONCE


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
    state: State = field(default_factory=accepted)
    # When the executor first looks at it; None: at once.
    due_at: datetime | None = None
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


async def insert_intent(conn: Connection, new: NewIntent, event: IntentEvent) -> IntentRow | None:
    """Store an intent, its first event (sequence 1) and its due execution. None: the id is stored already.

    Waits for a transaction in flight that stores the same id or nonce. Raises NonceHeld; the transaction stays usable.
    """
    if event.sequence != 1:
        raise ValueError("an intent's first event has sequence 1")
    for _ in range(_INSERT_ATTEMPTS):
        record = await conn.fetchrow(
            _SQL["insert_intent"],
            *_columns(new, event.message),
            event.SerializeToString(),
            new.due_at or new.created_at,
            [token for token, _ in new.inputs],
            [Decimal(amount) for _, amount in new.inputs],
        )
        if record is not None:
            return intent_row(record)
        if await get_intent(conn, new.intent_id) is not None:
            return None
        holder = None
        if new.permit2_nonce is not None:
            holder = await find_by_nonce(conn, new.origin_chain_id, new.user, new.permit2_nonce)
        if holder is not None:
            raise NonceHeld(
                "another intent of this user holds the same Permit2 nonce; sign the order with a fresh one",
                metadata={"intent_id": format_intent_id(holder)},
            )
    raise StaleRow(f"intent {format_intent_id(new.intent_id)} was stored and removed again and again")


async def get_intent(conn: Connection, intent_id: IntentId) -> IntentRow | None:
    """One intent, not locked."""
    record = await conn.fetchrow(_SQL["get_intent"], intent_id)
    return None if record is None else intent_row(record)


async def lock_intent(conn: Connection, intent_id: IntentId) -> IntentRow | None:
    """One intent, locked until the transaction ends."""
    record = await conn.fetchrow(_SQL["lock_intent"], intent_id)
    return None if record is None else intent_row(record)


async def find_by_nonce(conn: Connection, origin_chain_id: ChainId, user: Address, nonce: int) -> IntentId | None:
    """The intent that holds a Permit2 nonce."""
    found = await conn.fetchval(_SQL["find_by_nonce"], origin_chain_id, user, Decimal(nonce))
    return None if found is None else IntentId(found)


async def find_by_transaction(conn: Connection, transaction_hash: bytes) -> list[IntentId]:
    """The intents that the transaction (32 bytes of hash) did something for."""
    return [IntentId(record[0]) for record in await conn.fetch(_SQL["find_by_transaction"], transaction_hash)]


async def count_open(conn: Connection, user: Address) -> int:
    """How many intents of a user have not ended."""
    return int(await conn.fetchval(_SQL["count_open"], user))


async def list_intents(
    conn: Connection, wanted: IntentFilter, after: PageKey | None = None, limit: int = 50
) -> list[IntentRow]:
    """A page, newest first. Stable under inserts: what existed at the first page appears exactly once."""
    records = await conn.fetch(
        _SQL["list_intents"],
        *(wanted.user, list(wanted.statuses) or None, list(wanted.types) or None),
        *(wanted.created_from, wanted.created_to),
        *(None if after is None else after.created_at, None if after is None else after.intent_id, limit),
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


async def claim_request_id(
    conn: Connection, principal: str, request_id: str, body_hash: Bytes32, intent_id: IntentId
) -> RequestIdUse | None:
    """Take a request id of a principal. None: it is the caller's now; else what it was used for before."""
    if await conn.fetchval(_SQL["claim_request_id"], principal, request_id, body_hash, intent_id):
        return None
    record = await conn.fetchrow(_SQL["get_request_id"], principal, request_id)
    if record is None:
        raise StaleRow(f"request id {request_id!r} was removed while it was read")
    return RequestIdUse(Bytes32(record["body_hash"]), IntentId(record["intent_id"]))


def _columns(new: NewIntent, message: str) -> Sequence[object]:
    nonce = None if new.permit2_nonce is None else Decimal(new.permit2_nonce)
    state = new.state
    return (
        *(new.intent_id, new.user, new.type, state.status, state.phase, state.obligation, new.order_payload),
        *(new.input_settler, new.origin_chain_id, new.signature, nonce, new.created_at, new.expires_at),
        *(message, new.source, new.ip, new.user_agent),
    )


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1_000_000))
    return timestamp
