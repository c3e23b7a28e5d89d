"""Intents that are over leave the hot tables: in bounded batches, exported first where that is wanted.

An export is on the disk before its intents are gone, and no transaction waits for the disk: what has changed meanwhile
stays, and is exported once more later, so whoever reads exports goes by intent id. The same batch is the same file.
"""

import asyncio
import gzip
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog
from google.protobuf.json_format import MessageToDict

from intentmesh.intake.metrics import RETENTION_REMOVED
from intentmesh.store import retention
from intentmesh.store.pool import Connection, Pool
from intentmesh.store.retention import ExpiredIntent

log = structlog.get_logger()

DAY_SECONDS = 24 * 3600
_BETWEEN_FULL_BATCHES = 0.1
# Of the content in an export's name: enough to tell batches apart.
_DIGEST_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Durations in seconds. `export_folder` None: nothing is kept of what is removed."""

    keep: float = 30 * DAY_SECONDS
    keep_request_ids: float = 30 * DAY_SECONDS
    interval: float = 60.0
    batch: int = 500
    export_folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """How many of each a pass has removed."""

    intents: int = 0
    request_ids: int = 0
    watches: int = 0


class Retention:
    """May run in every replica: one of them is at it at a time."""

    def __init__(self, pool: Pool, settings: RetentionSettings, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """For ever."""
        while True:
            removed = await self.remove_batch()
            # A full batch means that there is more; others get their turn in between all the same.
            is_full = self._settings.batch in (removed.intents, removed.request_ids, removed.watches)
            await asyncio.sleep(_BETWEEN_FULL_BATCHES if is_full else self._settings.interval)

    async def remove_batch(self) -> Removed:
        """Exports and removes at most one batch of each."""
        settings, now = self._settings, self._clock()
        before = datetime.fromtimestamp(now - settings.keep, UTC)
        request_ids_before = datetime.fromtimestamp(now - settings.keep_request_ids, UTC)
        limit = settings.batch
        async with self._pool.acquire() as conn:
            if not await retention.lock_removal(conn):
                return Removed()
            return Removed(
                intents=await self._remove_intents(conn, before),
                request_ids=await retention.remove_request_ids(conn, request_ids_before, limit),
                watches=await retention.remove_watches(conn, limit),
            )

    async def _remove_intents(self, conn: Connection, before: datetime) -> int:
        folder = self._settings.export_folder
        async with conn.transaction():
            rows = await retention.lock_expired(conn, before, self._settings.batch)
            expired = [] if folder is None else await retention.read_whole(conn, rows)
        if not rows:
            return 0
        if folder is not None:
            await asyncio.to_thread(_write, folder, expired)
        async with conn.transaction():
            count = await retention.remove_unchanged(conn, rows)
        RETENTION_REMOVED.inc(count)
        log.info("intents_removed", count=count, before=before.isoformat())
        return count


def _write(folder: Path, expired: Sequence[ExpiredIntent]) -> None:
    """One file, whole or not there at all: `intents-DEADLINE-DIGEST.jsonl.gz`, a line for each intent.

    The first deadline in it, and the digest of what it holds: written again, it is the same file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content = b"".join(json.dumps(_line(one)).encode() + b"\n" for one in expired)
    first = min(one.intent.expire_time.ToDatetime() for one in expired)
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]
    final = folder / f"intents-{first:%Y%m%dT%H%M%S}-{digest}.jsonl.gz"
    if not final.exists():
        _write_whole(final, content)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_whole(final: Path, content: bytes) -> None:
    # Another replica may have begun with the same file.
    fresh = final.with_name(f"{final.name}.{uuid.uuid4().hex}.new")
    try:
        with fresh.open("wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb") as packed:
                packed.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(final)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _line(one: ExpiredIntent) -> dict[str, object]:
    return {
        "intent": MessageToDict(one.intent, preserving_proto_field_name=True),
        "signature": "0x" + one.signature.hex(),
        **{
            name: [MessageToDict(message, preserving_proto_field_name=True) for message in messages]
            for name, messages in (("events", one.events), ("auctions", one.auctions), ("outcomes", one.outcomes))
        },
    }
