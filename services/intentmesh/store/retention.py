"""Taking intents out of the hot tables once they are over for good. Each function is bounded by its arguments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from intentmesh.domain.types import IntentId
from intentmesh.store import executions, intents
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.store.rows import IntentRow, intent_row
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import Intent

_SQL = load_queries("intentmesh.store.queries", "retention")


@dataclass(frozen=True, slots=True)
class ExpiredIntent:
    """An intent as callers saw it, and everything that happened to it."""

    intent_id: IntentId
    intent: Intent
    events: tuple[IntentEvent, ...]


async def lock_expired(conn: Connection, before: datetime, limit: int) -> list[IntentRow]:
    """Intents without obligation, work or reader whose deadline and last change lie before a time, longest ago first.

    Locked until the transaction ends, so that nothing can begin with them meanwhile.
    """
    return [intent_row(record) for record in await conn.fetch(_SQL["lock_expired"], before, limit)]


async def read_whole(conn: Connection, rows: Sequence[IntentRow]) -> list[ExpiredIntent]:
    """What there is to export of them."""
    ids = [row.intent_id for row in rows]
    transactions = await executions.list_transactions_of(conn, ids)
    events: dict[IntentId, list[IntentEvent]] = {intent_id: [] for intent_id in ids}
    for record in await conn.fetch(_SQL["events_of"], ids):
        events[IntentId(record["intent_id"])].append(IntentEvent.FromString(record["payload"]))
    return [
        ExpiredIntent(
            row.intent_id,
            intents.to_proto(row, transactions=transactions.get(row.intent_id, ())),
            tuple(events[row.intent_id]),
        )
        for row in rows
    ]


async def remove_intents(conn: Connection, ids: Sequence[IntentId]) -> None:
    """Removes locked intents with their events, work, awards, transactions and attestations."""
    await conn.execute(_SQL["remove_intents"], ids)


async def remove_request_ids(conn: Connection, before: datetime, limit: int) -> int:
    """How many were removed."""
    return _count(await conn.execute(_SQL["remove_request_ids"], before, limit))


async def mark_watched(conn: Connection, ids: Sequence[IntentId], lasting: timedelta) -> None:
    """Whoever reads the events of intents renews this, and they stay."""
    await conn.execute(_SQL["mark_watched"], ids, lasting)


async def remove_watches(conn: Connection, limit: int) -> int:
    """Marks whose time is over; how many there were."""
    return _count(await conn.execute(_SQL["remove_watches"], limit))


def _count(status: str) -> int:
    return int(status.rpartition(" ")[2])
