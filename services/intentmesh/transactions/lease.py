"""One process at a time sends for a signer on a chain.

The lease is an advisory lock of a connection of its own. All writes that precede a broadcast go through that very
connection, so who has lost the lease cannot write, and who cannot write does not broadcast.
"""

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from intentmesh.domain.types import Address, ChainId
from intentmesh.transactions.model import SignerBusy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


class LeaseTaken(Exception):
    """Another process holds the lease."""


class SignerLease:
    """The right to send for one signer. Taken when needed, kept until `release` or the connection's end."""

    def __init__(self, pool: Pool, chain_id: ChainId, signer: Address) -> None:
        self._pool = pool
        # 64 bits of a random-looking address and the chain: a collision would only make two signers take turns.
        self._key = (int.from_bytes(signer[-8:], "big", signed=True) ^ chain_id * 0x9E3779B9) % 2**63
        self._connection: PoolConnectionProxy[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()

    async def connection(self) -> Connection:
        """The connection that holds the lease; use it alone. Raises LeaseTaken, and what asyncpg raises."""
        async with self._lock:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            await self._forget()
            connection = await self._pool.acquire()
            try:
                taken = await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._key)
            except BaseException:
                await self._pool.release(connection)
                raise
            if not taken:
                await self._pool.release(connection)
                raise LeaseTaken
            self._connection = connection
            return connection

    async def release(self) -> None:
        """Lets another process send."""
        async with self._lock:
            await self._forget()

    async def _forget(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock($1)", self._key)
        finally:
            await self._pool.release(connection)


class PatientLease:
    """The lease as one caller sees it, who waits only so many seconds for another process to let go of it.

    Whoever holds it may do so for as long as it runs. `clock` gives seconds.
    """

    def __init__(self, lease: SignerLease, seconds: float, clock: Callable[[], float]) -> None:
        self._lease = lease
        self._seconds = seconds
        self._clock = clock
        self._refused_at: float | None = None

    async def connection(self) -> Connection:
        """As SignerLease.connection; raises SignerBusy when the lease was refused for long enough."""
        try:
            connection = await self._lease.connection()
        except LeaseTaken:
            now = self._clock()
            if self._refused_at is None:
                self._refused_at = now
            if now - self._refused_at >= self._seconds:
                raise SignerBusy("another process sends for this signer") from None
            raise
        self._refused_at = None
        return connection
