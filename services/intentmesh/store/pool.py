"""Connections to PostgreSQL, with the time-outs that keep one stuck transaction from holding up the feed."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from intentmesh.domain.backoff import full_jitter

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"
Result = TypeVar("Result")

STATEMENT_TIMEOUT_SECONDS = 10.0
TRANSACTION_TIMEOUT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 5.0
RETRY_BASE_SECONDS = 0.05
RETRY_CAP_SECONDS = 1.0

# The work was not done, or was not seen to be done, for a reason that passes.
TRANSIENT: tuple[type[Exception], ...] = (
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    ConnectionError,
)
_CONNECTION_GONE = ("connection is closed", "connection was closed", "released back to the pool")


async def open_pool(
    dsn: str,
    *,
    min_size: int = 1,
    max_size: int = 10,
    statement_timeout: float = STATEMENT_TIMEOUT_SECONDS,
    transaction_timeout: float = TRANSACTION_TIMEOUT_SECONDS,
    name: str = "intentmesh",
    schema: str = "public",
) -> Pool:
    """A pool on PostgreSQL 17 or newer. Times are in seconds; `name` shows in pg_stat_activity.

    Raises the errors of asyncpg and OSError when the server cannot be reached.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_SECONDS,
        command_timeout=statement_timeout + 5.0,
        server_settings={
            "application_name": name,
            "search_path": schema,
            "statement_timeout": _milliseconds(statement_timeout),
            "transaction_timeout": _milliseconds(transaction_timeout),
            "idle_in_transaction_session_timeout": _milliseconds(transaction_timeout),
            # Nobody is answered before what was promised is on disk, whatever the database or the role is set to.
            "synchronous_commit": "on",
            # A table that was empty when it was last looked at is read from end to end, by a plan that a connection
            # keeps: each row then costs the more the more there are, until statistics are taken anew.
            "enable_seqscan": "off",
            # Where a table has to be read all the same, that makes its plan look dear enough to be compiled.
            "jit": "off",
        },
    )


async def retrying(pool: Pool, work: Callable[[Connection], Awaitable[Result]], *, attempts: int = 4) -> Result:
    """Run `work` in a transaction of its own; again after a lost race or a lost connection.

    A connection lost at commit leaves open whether it was done, so `work` must decide from what it reads: run again
    after a commit that it did not hear of, it finds its own result.
    """
    random = Random()  # noqa: S311 - spreads retries, guards nothing
    for attempt in range(1, attempts + 1):
        try:
            async with pool.acquire() as conn, conn.transaction():
                return await work(conn)
        except (*TRANSIENT, asyncpg.InterfaceError) as error:
            if attempt == attempts or not _passes(error):
                raise
        await asyncio.sleep(full_jitter(attempt, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS, random))
    raise ValueError("at least one attempt is needed")


def _passes(error: Exception) -> bool:
    # asyncpg has one class for a connection that is gone and for wrong use of one; only their texts differ.
    return not isinstance(error, asyncpg.InterfaceError) or any(text in str(error) for text in _CONNECTION_GONE)


def _milliseconds(seconds: float) -> str:
    return str(int(seconds * 1000))
