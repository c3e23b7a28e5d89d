"""Versioned migrations: `NNNN_name.sql` files of a package, applied once each, in their order.

The mesh's own schema is in this package; other rooms with tables of their own hand in their package, schema and DSN. A
file that has been released is never edited: the runner refuses one whose content changed.

Each file is one transaction, which services that run must not feel: what would lock a large table for long, an index
over it above all, is built CONCURRENTLY, in a file that begins with "-- outside a transaction". Its statements end with
the line; they must stand being run again, since one may have been cut off.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from importlib.resources import files

import asyncpg

MESH = "intentmesh.store.migrations"
_FILE = re.compile(r"(\d{4})_\w+\.sql")
_OUTSIDE = "-- outside a transaction"
_LOCK_POLL_SECONDS = 0.05
# Of one that changes a table: behind it everybody would wait for whoever holds the table now.
_LOCK_TIMEOUT = "3s"
_LOCK_ATTEMPTS = 20
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class MigrationError(Exception):
    """The database and the migrations at hand do not fit together."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def statements(self) -> list[str]:
        """Each to be run by itself, outside of a transaction; none where the file is one transaction."""
        return [part for part in self.sql.split(";\n") if part.strip()] if self.sql.startswith(_OUTSIDE) else []


async def migrate(dsn: str, package: str = MESH, schema: str = "public") -> list[int]:
    """Bring a database up to date; returns the versions applied now. Safe to run from many processes at once.

    Versions the package does not know (a newer release has been here) are left alone. Raises MigrationError, and the
    errors of asyncpg.
    """
    if not _SCHEMA.fullmatch(schema):
        raise MigrationError(f"{schema!r} is not a schema name: lower-case letters, digits and underscores")
    migrations = read_migrations(package)
    conn = await asyncpg.connect(dsn, server_settings={"search_path": schema, "application_name": "migrations"})
    try:
        await _lock(conn, schema)
        await _prepare(conn, schema)
        return [m.version for m in migrations if await _apply(conn, package, m)]
    finally:
        # Ends the session, and the lock with it.
        await conn.close()


def read_migrations(package: str) -> list[Migration]:
    """The migrations of a package by version. Raises MigrationError when two have one version."""
    found: list[Migration] = []
    for entry in files(package).iterdir():
        match = _FILE.fullmatch(entry.name)
        if match:
            found.append(Migration(int(match[1]), entry.name, entry.read_text(encoding="utf-8")))
    found.sort(key=lambda m: m.version)
    if not found or len({m.version for m in found}) != len(found):
        raise MigrationError(f"{package} holds no migrations, or two of one version")
    return found


async def _lock(conn: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
    """Until the session ends. Asks again and again: an index that is built CONCURRENTLY waits for all statements that
    run, so also for one that waits for whoever builds it."""
    name = f"intentmesh.migrations.{schema}"
    while not await conn.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name):  # noqa: ASYNC110
        await asyncio.sleep(_LOCK_POLL_SECONDS)


async def _prepare(conn: "asyncpg.Connection[asyncpg.Record]", schema: str) -> None:
    # Asking first: a role that may not create schemas can still use one that was made for it.
    if not await conn.fetchval("SELECT true FROM pg_namespace WHERE nspname = $1", schema):
        await conn.execute(f"CREATE SCHEMA {schema}")
    await conn.execute(
        """CREATE TABLE IF NOT EXISTS schema_migrations (
             package text, version integer, name text NOT NULL, checksum text NOT NULL,
             applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (package, version))"""
    )


async def _apply(conn: "asyncpg.Connection[asyncpg.Record]", package: str, migration: Migration) -> bool:
    known = await conn.fetchval(
        "SELECT checksum FROM schema_migrations WHERE package = $1 AND version = $2", package, migration.version
    )
    if known == migration.checksum:
        return False
    if known is not None:
        raise MigrationError(f"{package}/{migration.name} was changed after it had been applied; add a new migration")
    for statement in migration.statements:
        await conn.execute(statement)
    for attempts_left in reversed(range(_LOCK_ATTEMPTS)):
        try:
            async with conn.transaction():
                await conn.execute(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'")
                if not migration.statements:
                    await conn.execute(migration.sql)
                await conn.execute(
                    "INSERT INTO schema_migrations (package, version, name, checksum) VALUES ($1, $2, $3, $4)",
                    *(package, migration.version, migration.name, migration.checksum),
                )
        except asyncpg.LockNotAvailableError:
            if not attempts_left:
                raise
        else:
            break
    return True
