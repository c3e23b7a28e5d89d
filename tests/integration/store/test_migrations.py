"""Migrations: each once, whoever runs them and however often."""

import asyncio

import asyncpg
import pytest
from intentmesh.embedded.postgres import Dsn
from intentmesh.store.migrations import MESH, MigrationError, migrate, read_migrations


async def test_migrate__twice__applies_once(fresh_database: Dsn) -> None:
    versions = [m.version for m in read_migrations(MESH)]
    assert await migrate(fresh_database) == versions
    assert await migrate(fresh_database) == []


async def test_migrate__by_many_at_once__applies_once(fresh_database: Dsn) -> None:
    applied = await asyncio.gather(*(migrate(fresh_database) for _ in range(5)))
    assert sorted(version for one in applied for version in one) == [m.version for m in read_migrations(MESH)]


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
