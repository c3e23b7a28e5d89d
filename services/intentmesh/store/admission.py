"""Storing accepted intents in groups, and what the intake has to know of those that are stored.

One statement stores a group: an INSERT of many rows costs a tenth of as many INSERTs, and one commit serves them all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intentmesh.domain.lifecycle import State
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId
from intentmesh.store.intents import NewIntent, RequestIdUse
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.v1.intent_pb2 import IntentStatus

_SQL = load_queries("intentmesh.store.queries", "intents")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a stored intent stands."""

    status: "IntentStatus.ValueType"
    sequence: int


@dataclass(frozen=True, slots=True)
class NonceKey:
    """A Permit2 nonce of a user on a chain."""

    origin_chain_id: ChainId
    user: Address
    nonce: int


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Request ids belong to principals."""

    principal: str
    request_id: str


# Of what open intents may still take: a token on its origin chain, and whether it is Permit2 that takes it.
Share = tuple[ChainId, Address, bool]


@dataclass(frozen=True, slots=True)
class OpenOfUser:
    """What is open of one user: how many intents, and what they may still take."""

    count: int
    reserved: Mapping[Share, int]


async def insert_intents(
    conn: Connection, state: State, message: str, group: Sequence[tuple[NewIntent, bytes]]
) -> set[IntentId]:
    """Store intents of one state, each with its first event (sequence 1, serialised) and its due execution.

    Returns the ids that were stored; the others' id or nonce is taken. Ids in a group must be distinct. Waits for
    transactions in flight that store the same ids or nonces; on a deadlock nothing of the group is stored.
    """
    columns = zip(*[_row(new, event) for new, event in group], strict=True)
    records = await conn.fetch(
        _SQL["insert_intents"], *(state.status, state.phase, state.obligation, message), *map(list, columns)
    )
    return {record[0] for record in records}


def _row(new: NewIntent, event: bytes) -> tuple[object, ...]:
    """The parameters of `insert_intents` for one intent."""
    return (
        new.intent_id,
        new.user,
        new.type,
        new.order_payload,
        new.input_settler,
        new.origin_chain_id,
        new.signature,
        None if new.permit2_nonce is None else str(new.permit2_nonce),
        new.created_at,
        new.expires_at,
        new.source,
        new.ip,
        new.user_agent,
        "{" + ",".join([f'"\\\\x{token.hex()}"' for token, _ in new.inputs]) + "}",
        "{" + ",".join([str(amount) for _, amount in new.inputs]) + "}",
        event,
    )


async def standing_of(conn: Connection, ids: Sequence[IntentId]) -> dict[IntentId, Standing]:
    """Of those that are stored."""
    records = await conn.fetch(_SQL["standing_of"], ids)
    return {IntentId(record[0]): Standing(record[1], record[2]) for record in records}


async def first_events(conn: Connection, ids: Sequence[IntentId]) -> dict[IntentId, bytes]:
    """The serialised event that each intent was stored with, of those that are stored."""
    records = await conn.fetch(_SQL["first_events"], ids)
    return {IntentId(record[0]): record[1] for record in records}


async def nonce_holders(conn: Connection, keys: Sequence[NonceKey]) -> dict[NonceKey, IntentId]:
    """Which intents hold these nonces."""
    records = await conn.fetch(
        _SQL["nonce_holders"],
        [key.origin_chain_id for key in keys],
        [key.user for key in keys],
        [str(key.nonce) for key in keys],
    )
    return {keys[record[0] - 1]: IntentId(record[1]) for record in records}


async def open_of_users(conn: Connection, users: Sequence[Address]) -> dict[Address, OpenOfUser]:
    """Counted anew, for each of the users."""
    counts: dict[Address, int] = {}
    reserved: dict[Address, dict[Share, int]] = {user: {} for user in users}
    for user, chain_id, token, by_permit2, amount in await conn.fetch(_SQL["open_of_users"], users):
        if token is None:
            counts[Address(user)] = int(amount)
        else:
            reserved[Address(user)][ChainId(chain_id), Address(token), by_permit2] = int(amount)
    return {user: OpenOfUser(counts.get(user, 0), reserved[user]) for user in users}


async def open_among(conn: Connection, ids: Sequence[IntentId]) -> dict[IntentId, bool]:
    """Which of these intents are open, and whether `open_of_users` counts what they take."""
    records = await conn.fetch(_SQL["open_among"], ids)
    return {IntentId(intent_id): reserving for intent_id, is_open, reserving in records if is_open}


async def claim_request_ids(conn: Connection, uses: Mapping[RequestKey, RequestIdUse]) -> set[RequestKey]:
    """Take request ids; returns those that were free."""
    records = await conn.fetch(
        _SQL["claim_request_ids"],
        [key.principal for key in uses],
        [key.request_id for key in uses],
        [use.body_hash for use in uses.values()],
        [use.intent_id for use in uses.values()],
    )
    return {RequestKey(record[0], record[1]) for record in records}


async def get_request_ids(conn: Connection, keys: Sequence[RequestKey]) -> dict[RequestKey, RequestIdUse]:
    """What request ids were first used for."""
    records = await conn.fetch(
        _SQL["get_request_ids"], [key.principal for key in keys], [key.request_id for key in keys]
    )
    return {RequestKey(r[0], r[1]): RequestIdUse(Bytes32(r[2]), IntentId(r[3])) for r in records}


async def give_up_request_ids(conn: Connection, keys: Sequence[RequestKey]) -> None:
    """Make request ids free again, in the transaction that took them."""
    await conn.execute(_SQL["give_up_request_ids"], [key.principal for key in keys], [key.request_id for key in keys])
