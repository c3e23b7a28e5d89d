"""Events: the history of one intent, and the feed over all of them.

Ids are not paged by: they commit out of order. A leader gives each event a feed position once no transaction that
could still bring an earlier one is open; readers of the feed see positions only, and never miss one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from intentmesh.domain.types import IntentId
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries

_SQL = load_queries("intentmesh.store.queries", "events")


class StoredEvent(NamedTuple):
    """The bytes of an IntentEvent under its sequence within its intent."""

    sequence: int
    payload: bytes


class FeedEntry(NamedTuple):
    """The bytes of an IntentEvent under its position in the feed."""

    position: int
    payload: bytes


class FeedState(NamedTuple):
    """Positions `first_position` to `last_position` are held; the epoch names the database they are of."""

    epoch: UUID
    first_position: int
    last_position: int


@dataclass(frozen=True, slots=True)
class FeedBacklog:
    """Events that have no position yet, and the age of the oldest in seconds."""

    events: int
    seconds: float


async def read_events(conn: Connection, intent_id: IntentId, after: int, limit: int) -> list[StoredEvent]:
    """Events of one intent after a sequence, dense."""
    records = await conn.fetch(_SQL["read_events"], intent_id, after, limit)
    return [StoredEvent(r["sequence"], r["payload"]) for r in records]


async def newest_sequences(conn: Connection, intent_ids: Sequence[IntentId]) -> dict[IntentId, int]:
    """The newest sequence of each intent; those that are not stored are absent."""
    records = await conn.fetch(_SQL["newest_sequences"], intent_ids)
    return {IntentId(r["intent_id"]): r["sequence"] for r in records}


async def stamp_feed(conn: Connection, limit: int) -> int:
    """Give up to `limit` events their feed positions; returns how many. 0 as well while another transaction stamps.

    In a transaction of its own at READ COMMITTED: the lock is held to its end, and the snapshot comes after the lock.
    """
    if not await conn.fetchval(_SQL["lead_feed"]):
        return 0
    return int((await conn.execute(_SQL["stamp_feed"], limit)).rpartition(" ")[2])


async def begin_epoch(conn: Connection) -> None:
    """After a restore, before any service starts: stamp every event, then make tokens of the former database void."""
    await conn.execute(_SQL["stamp_all"])


async def read_feed(conn: Connection, after_position: int, limit: int) -> list[FeedEntry]:
    """The feed after a position, dense."""
    records = await conn.fetch(_SQL["read_feed"], after_position, limit)
    return [FeedEntry(r["feed_position"], r["payload"]) for r in records]


async def read_feed_of(
    conn: Connection, ids: Sequence[IntentId], after_position: int, last_position: int, limit: int
) -> list[FeedEntry]:
    """What the feed tells of some intents between two positions, the last one included."""
    records = await conn.fetch(_SQL["read_feed_of"], ids, after_position, last_position, limit)
    return [FeedEntry(r["feed_position"], r["payload"]) for r in records]


async def feed_state(conn: Connection) -> FeedState:
    """Epoch and bounds of the feed."""
    record = await conn.fetchrow(_SQL["feed_state"])
    if record is None:
        raise LookupError("the feed's row is gone; the migrations put it there")
    return FeedState(record["epoch"], record["first_position"], record["last_position"])


async def feed_backlog(conn: Connection) -> FeedBacklog:
    """How far stamping is behind; for metrics."""
    record = await conn.fetchrow(_SQL["feed_backlog"])
    return FeedBacklog(record["events"], record["seconds"]) if record is not None else FeedBacklog(0, 0.0)
