"""Taking intents out of the hot tables once they are over for good. Each function is bounded by its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from intentmesh.domain.types import IntentId
from intentmesh.store import executions, intents
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.store.rows import IntentRow, intent_row
from intentmesh.v1.auction_pb2 import Auction
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import Intent
from intentmesh.v1.solver_registry_service_pb2 import Outcome

_SQL = load_queries("intentmesh.store.queries", "retention")
_Stored = TypeVar("_Stored", IntentEvent, Auction, Outcome)


@dataclass(frozen=True, slots=True)
class ExpiredIntent:
    """An intent as callers saw it, and everything that happened to it."""

    intent_id: IntentId
    intent: Intent
    # With it, the order can be shown to be the user's.
    signature: bytes
    events: tuple[IntentEvent, ...]
    auctions: tuple[Auction, ...]
    outcomes: tuple[Outcome, ...]


async def lock_removal(conn: Connection) -> bool:
    """Whether this session is the one that removes, until it gives the connection back."""
    return bool(await conn.fetchval(_SQL["lock_removal"]))


async def lock_expired(conn: Connection, before: datetime, limit: int) -> list[IntentRow]:
    """Intents without obligation, work or reader whose deadline and last change lie before a time, longest ago first.

    Locked until the transaction ends, so that nothing can begin with them meanwhile.
    """
    return [intent_row(record) for record in await conn.fetch(_SQL["lock_expired"], before, limit)]


async def read_whole(conn: Connection, rows: Sequence[IntentRow]) -> list[ExpiredIntent]:
    """What there is to export of them."""
    ids = [row.intent_id for row in rows]
    transactions = await executions.list_transactions_of(conn, ids)
    events = await _messages_of(conn, "events_of", IntentEvent, ids)
    auctions = await _messages_of(conn, "auctions_of", Auction, ids)
    outcomes = await _messages_of(conn, "outcomes_of", Outcome, ids)
    return [
        ExpiredIntent(
            row.intent_id,
            intents.to_proto(row, transactions=transactions.get(row.intent_id, ())),
            row.signature,
            tuple(events[row.intent_id]),
            tuple(auctions[row.intent_id]),
            tuple(outcomes[row.intent_id]),
        )
        for row in rows
    ]


async def remove_unchanged(conn: Connection, rows: Sequence[IntentRow]) -> int:
    """Removes those of the intents that are still as they were read, with all that belongs to them: events, work,
    awards, transactions, attestations, competitions and outcomes. Returns how many those were.
    """
    ids, sequences = [row.intent_id for row in rows], [row.sequence for row in rows]
    locked = [record[0] for record in await conn.fetch(_SQL["lock_unchanged"], ids, sequences)]
    idle = [record[0] for record in await conn.fetch(_SQL["idle"], locked)]
    if idle:
        await conn.execute(_SQL["remove_intents"], idle)
    return len(idle)


async def remove_request_ids(conn: Connection, before: datetime, limit: int) -> int:
    """How many were removed."""
    return _count(await conn.execute(_SQL["remove_request_ids"], before, limit))


async def mark_watched(conn: Connection, ids: Sequence[IntentId], lasting: timedelta) -> None:
    """Whoever reads the events of intents renews this, and they stay."""
    await conn.execute(_SQL["mark_watched"], ids, lasting)


async def remove_watches(conn: Connection, limit: int) -> int:
    """Marks whose time is over; how many there were."""
    return _count(await conn.execute(_SQL["remove_watches"], limit))


async def _messages_of(
    conn: Connection, query: str, kind: type[_Stored], ids: Sequence[IntentId]
) -> dict[IntentId, list[_Stored]]:
    found: dict[IntentId, list[_Stored]] = {intent_id: [] for intent_id in ids}
    for record in await conn.fetch(_SQL[query], ids):
        found[IntentId(record["intent_id"])].append(kind.FromString(record["payload"]))
    return found


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
