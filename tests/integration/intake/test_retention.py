"""What leaves the hot tables, what must stay, and what is exported first."""

import asyncio
import gzip
import json
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.embedded.postgres import Dsn
from intentmesh.intake import retention as module
from intentmesh.intake.retention import Retention, RetentionSettings
from intentmesh.intake.settings import IntakeSettings
from intentmesh.store import events, executions, retention, solvers
from intentmesh.store.migrations import MESH, migrate, read_migrations
from intentmesh.store.pool import Pool, open_pool
from intentmesh.v1.auction_pb2 import Auction
from intentmesh.v1.solver_registry_service_pb2 import Outcome

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


async def _competed(pool: Pool, *ids: IntentId) -> None:
    """Two rounds for each intent, and what became of its award."""
    await pool.execute(
        "INSERT INTO solvers (solver_id, address, endpoint, signed_time) VALUES ('0x01', $1, '', 0)"
        " ON CONFLICT DO NOTHING",
        bytes(20),
    )
    for intent_id in ids:
        text = format_intent_id(intent_id)
        async with pool.acquire() as conn:
            for number in (1, 2):
                auction = Auction(auction_id=f"{text}:{number}", intent_id=text, round=number)
                row = solvers.AuctionRow(auction.auction_id, intent_id, number, bytes(32), auction.SerializeToString())
                assert await solvers.insert_auction(conn, row)
            outcome = Outcome(intent_id=text, award_number=1, solver_id="0x01")
            assert await solvers.insert_outcome(conn, intent_id, 1, "0x01", outcome.SerializeToString())


def _exported(folder: Path) -> list[Any]:
    return [json.loads(line) for file in folder.iterdir() for line in gzip.decompress(file.read_bytes()).splitlines()]


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
    assert (await Retention(pool, RetentionSettings()).remove_batch()).intents == 4
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
    assert (await Retention(pool, RetentionSettings()).remove_batch()).intents == 0
    assert await _left(pool) == {kept}
    assert await pool.fetchval("SELECT count(*) FROM intent_events") == 2


async def test_remove__request_ids__are_kept_for_as_long_as_an_order_may_be_alive(pool: Pool) -> None:
    now = datetime.now(UTC)
    for name, age in (("kept", timedelta(days=6)), ("left", timedelta(days=8))):
        await pool.execute(
            "INSERT INTO request_ids (principal, request_id, body_hash, intent_id, created_at)"
            " VALUES ('p', $1, $2, $2, $3)",
            name,
            bytes(32),
            now - age,
        )
    settings = IntakeSettings(
        postgres_dsn="postgresql://nowhere", valkey_url="redis://nowhere", network_file=Path(), retention_days=1.0
    )
    await Retention(pool, settings.retention()).remove_batch()
    assert await pool.fetchval("SELECT array_agg(request_id) FROM request_ids") == ["kept"]


async def test_remove__what_is_watched__stays_until_nobody_watches(pool: Pool) -> None:
    watched = await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    async with pool.acquire() as conn:
        await retention.mark_watched(conn, [watched, IntentId(bytes(32))], timedelta(minutes=5))
    job = Retention(pool, RetentionSettings())
    assert (await job.remove_batch()).intents == 0
    await pool.execute("UPDATE intent_watches SET until = now() - interval '1 second'")
    assert (await job.remove_batch()).intents == 1


async def test_remove__events_that_are_not_in_the_feed_yet__stay(pool: Pool) -> None:
    await _intent(pool, COMPLETED, NONE)
    job = Retention(pool, RetentionSettings())
    assert (await job.remove_batch()).intents == 0
    await _stamped(pool)
    assert (await job.remove_batch()).intents == 1


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
        assert (await Retention(pool, RetentionSettings()).remove_batch()).intents == 1
    assert await _left(pool) == {held}
    assert free not in await _left(pool)


async def test_remove__many__go_in_bounded_batches_and_are_exported_first(pool: Pool, tmp_path: Path) -> None:
    ids = [await _intent(pool, EXPIRED_STATUS, NONE) for _ in range(5)]
    await _stamped(pool)
    job = Retention(pool, RetentionSettings(batch=2, export_folder=tmp_path / "out"))
    assert [(await job.remove_batch()).intents for _ in range(4)] == [2, 2, 1, 0]
    lines = _exported(tmp_path / "out")
    assert {line["intent"]["intent_id"] for line in lines} == {format_intent_id(intent_id) for intent_id in ids}
    assert all([int(event["sequence"]) for event in line["events"]] == [1, 2] for line in lines)
    assert not list((tmp_path / "out").glob("*.new"))


async def test_remove__competitions_and_outcomes__are_exported_and_leave_with_their_intents(
    pool: Pool, tmp_path: Path
) -> None:
    over, kept = await _intent(pool, COMPLETED, NONE), await _intent(pool, COMPLETED, UNSETTLED)
    await _competed(pool, over, kept)
    await _stamped(pool)
    signature = await pool.fetchval("SELECT signature FROM intents WHERE intent_id = $1", over)
    assert (await Retention(pool, RetentionSettings(export_folder=tmp_path)).remove_batch()).intents == 1
    (line,) = _exported(tmp_path)
    assert line["signature"] == "0x" + signature.hex()
    assert [auction["round"] for auction in line["auctions"]] == [1, 2]
    assert [outcome["award_number"] for outcome in line["outcomes"]] == [1]
    for table, count in (("auctions", 2), ("outcomes", 1)):
        rows = await pool.fetch(f"SELECT intent_id FROM {table}")  # noqa: S608 (a name of ours)
        assert [row[0] for row in rows] == [kept] * count


async def test_run__more_of_anything_than_a_batch__is_removed_without_waiting(pool: Pool) -> None:
    watched = [(await store_intent(pool)).intent_id for _ in range(5)]
    await pool.executemany(
        "INSERT INTO request_ids (principal, request_id, body_hash, intent_id, created_at)"
        " VALUES ('p', $1, $2, $2, $3)",
        [(str(number), bytes(32), LONG_AGO) for number in range(7)],
    )
    await pool.executemany("INSERT INTO intent_watches VALUES ($1, $2)", [(one, LONG_AGO) for one in watched])
    job = asyncio.create_task(Retention(pool, RetentionSettings(batch=2, interval=3600.0)).run())
    try:
        async with asyncio.timeout(10):
            while True:
                if not await pool.fetchval("SELECT EXISTS (TABLE request_ids) OR EXISTS (TABLE intent_watches)"):
                    break
                await asyncio.sleep(0.05)
    finally:
        job.cancel()
        await asyncio.gather(job, return_exceptions=True)
    assert await pool.fetchval("SELECT count(*) FROM intents") == 5


async def test_remove__disk_slower_than_a_transaction_may_last__removes_what_it_exported(
    fresh_database: Dsn, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    written, go_on = threading.Event(), threading.Event()
    write = module._write

    def slowly(folder: Path, expired: Any) -> None:
        write(folder, expired)
        written.set()
        assert go_on.wait(30)

    monkeypatch.setattr(module, "_write", slowly)
    brief = await open_pool(fresh_database, transaction_timeout=0.3)
    async with brief:
        removal = asyncio.create_task(Retention(brief, RetentionSettings(export_folder=tmp_path)).remove_batch())
        await asyncio.to_thread(written.wait, 30)
        # Longer than its transactions may take, told by the same clock.
        with pytest.raises(asyncpg.PostgresError, match="transaction timeout"):
            await brief.execute("SELECT pg_sleep(5)")
        go_on.set()
        assert (await removal).intents == 1
    assert len(_exported(tmp_path)) == 1


async def test_remove__changed_while_it_was_exported__stays(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, woken, watched, over = [await _intent(pool, COMPLETED, NONE) for _ in range(4)]
    await _stamped(pool)
    write, loop = module._write, asyncio.get_running_loop()

    async def meanwhile() -> None:
        await commit_change(pool, told)
        async with pool.acquire() as conn:
            await executions.wake(conn, woken)
            await retention.mark_watched(conn, [watched], timedelta(minutes=5))

    def write_while_it_changes(folder: Path, expired: Any) -> None:
        write(folder, expired)
        asyncio.run_coroutine_threadsafe(meanwhile(), loop).result(30)

    monkeypatch.setattr(module, "_write", write_while_it_changes)
    assert (await Retention(pool, RetentionSettings(export_folder=tmp_path)).remove_batch()).intents == 1
    assert await _left(pool) == {told, woken, watched}
    assert over not in await _left(pool)


async def test_remove__removal_fails_after_the_export__the_next_pass_leaves_no_second_file(
    pool: Pool, tmp_path: Path
) -> None:
    await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    await pool.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;"
        "CREATE TRIGGER refuse BEFORE DELETE ON intents EXECUTE FUNCTION refuse()"
    )
    job = Retention(pool, RetentionSettings(export_folder=tmp_path))
    for _ in range(3):
        with pytest.raises(asyncpg.PostgresError, match="not today"):
            await job.remove_batch()
    await pool.execute("DROP TRIGGER refuse ON intents")
    assert (await job.remove_batch()).intents == 1
    assert len(_exported(tmp_path)) == 1


async def test_remove__another_replica_is_at_it__leaves_it_alone(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _intent(pool, COMPLETED, NONE)
    await _stamped(pool)
    job, other = (Retention(pool, RetentionSettings(export_folder=tmp_path / name)) for name in ("one", "other"))
    write, loop = module._write, asyncio.get_running_loop()
    removed_by_other: list[int] = []

    def write_while_the_other_runs(folder: Path, expired: Any) -> None:
        write(folder, expired)
        if folder.name == "one":
            done = asyncio.run_coroutine_threadsafe(other.remove_batch(), loop).result(30)
            removed_by_other.append(done.intents)

    monkeypatch.setattr(module, "_write", write_while_the_other_runs)
    assert (await job.remove_batch()).intents == 1
    assert removed_by_other == [0]
    assert not (tmp_path / "other").exists()


async def test_migration__competitions_and_outcomes_whose_intents_are_gone__leave(pool: Pool) -> None:
    kept, gone = await _intent(pool, COMPLETED, UNSETTLED), IntentId(b"\xee" * 32)
    await _competed(pool, kept, gone)
    (migration,) = [one for one in read_migrations(MESH) if one.version == 8]
    await pool.execute("DROP INDEX intent_watches_by_end")
    await pool.execute(migration.sql)
    for table in ("auctions", "outcomes"):
        rows = await pool.fetch(f"SELECT DISTINCT intent_id FROM {table}")  # noqa: S608 (a name of ours)
        assert [row[0] for row in rows] == [kept]


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
    assert (await Retention(pool, RetentionSettings()).remove_batch()).intents == 0
