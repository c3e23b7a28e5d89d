"""Intents that are over leave the hot tables: in bounded batches, exported first where that is wanted.

An export is on the disk before its intents are gone. A crash in between leaves a file whose intents are exported once
more later, so whoever reads exports goes by intent id.
"""

import asyncio
import gzip
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
from intentmesh.store.pool import Pool
from intentmesh.store.retention import ExpiredIntent

log = structlog.get_logger()

DAY_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """Durations in seconds. `export_folder` None: nothing is kept of what is removed."""

    keep: float = 30 * DAY_SECONDS
    interval: float = 60.0
    batch: int = 500
    export_folder: Path | None = None


class Retention:
    """May run in every replica: batches pass over what another one holds."""

    def __init__(self, pool: Pool, settings: RetentionSettings, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._settings = settings
        self._clock = clock

    async def run(self) -> None:
        """For ever."""
        while True:
            removed = await self.remove_batch()
            # A full batch means that there is more; others get their turn in between all the same.
            await asyncio.sleep(0.1 if removed == self._settings.batch else self._settings.interval)

    async def remove_batch(self) -> int:
        """Exports and removes at most one batch; returns how many intents it had."""
        before = datetime.fromtimestamp(self._clock() - self._settings.keep, UTC)
        limit = self._settings.batch
        async with self._pool.acquire() as conn:
            async with conn.transaction():
                rows = await retention.lock_expired(conn, before, limit)
                if rows:
                    await self._export(await retention.read_whole(conn, rows))
                    await retention.remove_intents(conn, [row.intent_id for row in rows])
            await retention.remove_request_ids(conn, before, limit)
            await retention.remove_watches(conn, limit)
        if rows:
            RETENTION_REMOVED.inc(len(rows))
            log.info("intents_removed", count=len(rows), before=before.isoformat())
        return len(rows)

    async def _export(self, expired: Sequence[ExpiredIntent]) -> None:
        folder = self._settings.export_folder
        if folder is not None:
            await asyncio.to_thread(_write, folder, expired)


def _write(folder: Path, expired: Sequence[ExpiredIntent]) -> None:
    """One file, whole or not there at all: `intents-TIME-UNIQUE.jsonl.gz`, a line for each intent."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    final = folder / f"intents-{stamp}-{uuid.uuid4().hex}.jsonl.gz"
    fresh = final.with_suffix(".new")
    with fresh.open("wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb") as packed:
            for one in expired:
                packed.write(json.dumps(_line(one)).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(final)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(one: ExpiredIntent) -> dict[str, object]:
    return {
        "intent": MessageToDict(one.intent, preserving_proto_field_name=True),
        "events": [MessageToDict(event, preserving_proto_field_name=True) for event in one.events],
    }
