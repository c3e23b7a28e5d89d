"""Migrations: each once, whoever runs them and however often."""

import asyncio

import asyncpg
import pytest
from intentmesh.embedded.postgres import Dsn
from intentmesh.store.migrations import MESH, MigrationError, migrate, read_migrations
from intentmesh.store.pool import open_pool

from tests.fixtures.intents import insert, new_intent, store_intent

_BUILDER_WAITS = """
SELECT count(*) FROM pg_stat_activity
WHERE query LIKE '%CREATE INDEX%' AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()
  AND datname = current_database()
"""


async def test_migrate__twice__applies_once(fresh_database: Dsn) -> None:
    versions = [m.version for m in read_migrations(MESH)]
    assert await migrate(fresh_database) == versions
    assert await migrate(fresh_database) == []


async def test_migrate__by_many_at_once__applies_once(fresh_database: Dsn) -> None:
    applied = await asyncio.gather(*(migrate(fresh_database) for _ in range(5)))
    assert sorted(version for one in applied for version in one) == [m.version for m in read_migrations(MESH)]


async def test_migrate__an_index_over_a_table_in_use__locks_nobody_out(fresh_database: Dsn) -> None:
    await migrate(fresh_database)
    async with await open_pool(fresh_database, max_size=2, name="in use") as pool:
        await pool.execute("DROP INDEX intents_open_by_user")
        await pool.execute("DELETE FROM schema_migrations WHERE name LIKE '%open_by_user%'")
        async with pool.acquire() as conn, conn.transaction():
            # Holds the table as any accept does, so that the index has to wait for it.
            await insert(conn, new_intent())
            migrating = asyncio.create_task(migrate(fresh_database))
            async with asyncio.timeout(20):
                while not await pool.fetchval(_BUILDER_WAITS):  # noqa: ASYNC110 (another server's)
                    await asyncio.sleep(0.02)
            # Whoever comes after it does not wait behind it.
            async with asyncio.timeout(5):
                await store_intent(pool)
        assert await migrating != []
        indexed = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'intents_open_by_user'::regclass"
        assert await pool.fetchval(indexed)


async def test_migrate__an_index_that_was_cut_off__is_built_anew(fresh_database: Dsn) -> None:
    await migrate(fresh_database)
    conn = await asyncpg.connect(fresh_database)
    try:
        # As a killed CREATE INDEX CONCURRENTLY leaves it: there, and of no use.
        await conn.execute("DELETE FROM schema_migrations WHERE name LIKE '%open_by_user%'")
        await migrate(fresh_database)
        names = await conn.fetch("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'intents_open_by_user%'")
    finally:
        await conn.close()
    assert [row["indexname"] for row in names] == ["intents_open_by_user"]


async def test_migrate__into_a_schema_of_its_own__leaves_public_alone(fresh_database: Dsn) -> None:
    await migrate(fresh_database, schema="elsewhere")
    conn = await asyncpg.connect(fresh_database)
    try:
        schemas = await conn.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'intents'")
    finally:
        await conn.close()
    assert [s["schemaname"] for s in schemas] == ["elsewhere"]


async def test_migrate__changed_file__is_refused(fresh_database: Dsn) -> None:
    await migrate(fresh_database)
    conn = await asyncpg.connect(fresh_database)
    try:
        await conn.execute("UPDATE schema_migrations SET checksum = 'of another file' WHERE version = 1")
    finally:
        await conn.close()
    with pytest.raises(MigrationError, match="was changed"):
        await migrate(fresh_database)


async def test_migrate__schema_name_that_needs_quoting__is_refused(fresh_database: Dsn) -> None:
    with pytest.raises(MigrationError, match="not a schema name"):
        await migrate(fresh_database, schema='x"; DROP TABLE intents; --')
