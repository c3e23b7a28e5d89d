"""What leaves the hot tables, what must stay, and what is exported first."""

import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.embedded.postgres import Dsn
from intentmesh.intake.retention import Retention, RetentionSettings
from intentmesh.store import events, executions, retention
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import Pool, open_pool

from tests.fixtures.intents import commit_change, store_intent, transition

LONG_AGO = datetime.now(UTC) - timedelta(days=60)


@pytest.fixture
async def pool(fresh_database: Dsn) -> AsyncIterator[Pool]:
    await migrate(fresh_database)
    pool = await open_pool(fresh_database)
    yield pool
    await pool.close()


async def _intent(pool: Pool, status: int, obligation: int, *, days: int = 60, work: bool = False) -> IntentId:
    """An intent of a status and obligation (numbers of the enums) whose deadline and last change were days ago."""
    ago = datetime.now(UTC) - timedelta(days=days)
    row = await store_intent(pool, created_at=ago, expires_at=ago)
    await commit_change(pool, row.intent_id, transition(status, 6, obligation))
    await pool.execute("UPDATE intents SET updated_at = $2 WHERE intent_id = $1", row.intent_id, ago)
    if not work:
        await pool.execute("UPDATE executions SET due_at = NULL WHERE intent_id = $1", row.intent_id)
    return row.intent_id


async def _stamped(pool: Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await events.stamp_feed(conn, 10_000)


async def _left(pool: Pool) -> set[IntentId]:
    return {IntentId(row[0]) for row in await pool.fetch("SELECT intent_id FROM intents")}


COMPLETED, FAILED, CANCELLED, EXPIRED_STATUS = 3, 4, 5, 6
NONE, OPENABLE, ESCROWED, UNSETTLED = 1, 2, 3, 4


async def test_remove__what_is_over_without_obligation__leaves_with_all_that_belongs_to_it(pool: Pool) -> None:
    over = [await _intent(pool, status, NONE) for status in (COMPLETED, FAILED, CANCELLED, EXPIRED_STATUS)]
    await pool.execute(
        "INSERT INTO request_ids (principal, request_id, body_hash, intent_id, created_at)"
        " VALUES ('p', 'r', $1, $1, $2)",
        over[0],
        LONG_AGO,
    )
    await _stamped(pool)
    assert await Retention(pool, RetentionSettings()).remove_batch() == 4
    for table in ("intents", "intent_events", "executions", "request_ids"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608 (a name of ours)


@pytest.mark.parametrize(
    ("status", "obligation", "days", "work"),
    [
        (COMPLETED, UNSETTLED, 60, False),
        (COMPLETED, ESCROWED, 60, False),
        (FAILED, OPENABLE, 60, False),
        (1, NONE, 60, False),
        (2, ESCROWED, 60, False),
        (COMPLETED, NONE, 1, False),
        (EXPIRED_STATUS, NONE, 60, True),
    ],
    ids=["unsettled", "escrowed", "openable", "pending", "executing", "recent", "with work left"],
)
async def test_remove__what_is_not_over__stays(pool: Pool, status: int, obligation: int, days: int, work: bool) -> None:
    kept = await _intent(pool, status, obligation, days=days, work=work)
    await _stamped(pool)
    assert await Retention(pool, RetentionSettings()).remove_batch() == 0
    assert await _left(pool) == {kept}
    assert await pool.fetchval("SELECT count(*) FROM intent_events") == 2


async def test_remove__what_is_watched__stays_until_nobody_watches(pool: Pool) -> None:
    watched = await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    async with pool.acquire() as conn:
        await retention.mark_watched(conn, [watched, IntentId(bytes(32))], timedelta(minutes=5))
    job = Retention(pool, RetentionSettings())
    assert await job.remove_batch() == 0
    await pool.execute("UPDATE intent_watches SET until = now() - interval '1 second'")
    assert await job.remove_batch() == 1


async def test_remove__events_that_are_not_in_the_feed_yet__stay(pool: Pool) -> None:
    await _intent(pool, COMPLETED, NONE)
    job = Retention(pool, RetentionSettings())
    assert await job.remove_batch() == 0
    await _stamped(pool)
    assert await job.remove_batch() == 1


async def test_remove__feed__tells_who_resumes_from_before_that_it_is_too_old(pool: Pool) -> None:
    kept = await _intent(pool, COMPLETED, UNSETTLED)
    await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    await Retention(pool, RetentionSettings()).remove_batch()
    async with pool.acquire() as conn:
        assert (await events.feed_state(conn)).first_position == 5
        assert len(await events.read_events(conn, kept, 0, 10)) == 2


async def test_remove__somebody_holds_it__is_passed_over(pool: Pool) -> None:
    held, free = await _intent(pool, COMPLETED, NONE), await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    async with pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM intents WHERE intent_id = $1 FOR UPDATE", held)
        assert await Retention(pool, RetentionSettings()).remove_batch() == 1
    assert await _left(pool) == {held}
    assert free not in await _left(pool)


async def test_remove__many__go_in_bounded_batches_and_are_exported_first(pool: Pool, tmp_path: Path) -> None:
    ids = [await _intent(pool, EXPIRED_STATUS, NONE) for _ in range(5)]
    await _stamped(pool)
    job = Retention(pool, RetentionSettings(batch=2, export_folder=tmp_path / "out"))
    assert [await job.remove_batch() for _ in range(4)] == [2, 2, 1, 0]
    lines = [
        json.loads(line)
        for file in (tmp_path / "out").glob("*.jsonl.gz")
        for line in gzip.decompress(file.read_bytes()).splitlines()
    ]
    assert {line["intent"]["intent_id"] for line in lines} == {format_intent_id(intent_id) for intent_id in ids}
    assert all([int(event["sequence"]) for event in line["events"]] == [1, 2] for line in lines)
    assert not list((tmp_path / "out").glob("*.new"))


async def test_remove__export_fails__nothing_is_removed(pool: Pool, tmp_path: Path) -> None:
    await _intent(pool, EXPIRED_STATUS, NONE)
    await _stamped(pool)
    (tmp_path / "file").write_text("in the way")
    job = Retention(pool, RetentionSettings(export_folder=tmp_path / "file"))
    with pytest.raises(OSError, match="exists"):
        await job.remove_batch()
    assert await pool.fetchval("SELECT count(*) FROM intents") == 1


async def test_remove__executions_woken_meanwhile__stay(pool: Pool) -> None:
    woken = await _intent(pool, EXPIRED_STATUS, NONE)
    await _stamped(pool)
    await pool.execute("UPDATE executions SET due_at = now() WHERE intent_id = $1", woken)
    async with pool.acquire() as conn:
        await executions.wake(conn, woken)
    assert await Retention(pool, RetentionSettings()).remove_batch() == 0
