"""The connection of the group commit's writer, which waits for nobody's locks for long."""

import contextlib

import asyncpg

from intentmesh.store.pool import CONNECT_TIMEOUT_SECONDS, Connection, Pool

# A group waits this long for other transactions: longer than any group of another replica takes to be stored, and
# short beside the time-out of a caller.
LOCK_SECONDS = 0.25
# The least that PostgreSQL knows: to it, 0 is no limit.
_NEXT_TO_NOTHING_SECONDS = 0.001
# OSError: nobody answered in time. The next ones: the server ended it, after a commit perhaps. The last: it leads to a
# server that was the primary once.
_LOST = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.ReadOnlySQLTransactionError,
)


class WriterConnection:
    """Taken from the pool when it is first needed, and kept as long as it is well.

    Raises the errors of asyncpg, and OSError (TimeoutError is one) where none is to be had.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._conn: Connection | None = None
        self._lock_seconds = LOCK_SECONDS

    @property
    def is_open(self) -> bool:
        """Whether there is one, as far as this side knows."""
        try:
            return self._conn is not None and not self._conn.is_closed()
        except asyncpg.InterfaceError:
            # The pool takes back what the other side has closed.
            return False

    async def get(self) -> Connection:
        """The connection. A new one costs a round trip for its lock time-out, groups cost none."""
        if not self.is_open:
            await self.drop()
        if self._conn is None:
            self._conn = await self._pool.acquire(timeout=CONNECT_TIMEOUT_SECONDS)
            await self._wait_for_locks(self._lock_seconds)
        return self._conn

    async def hurry(self) -> None:
        """From here on locks that are held are as good as not waited for."""
        await self._wait_for_locks(_NEXT_TO_NOTHING_SECONDS)

    async def take_time(self) -> None:
        """Ends the hurry. Never raises: a connection that is lost has none."""
        try:
            await self._wait_for_locks(LOCK_SECONDS)
        except Exception:  # noqa: BLE001 (whoever needs one next takes a new one, and hears why there is none)
            await self.drop()

    async def drop(self) -> None:
        """Cuts it, whatever it is doing; the next one is new."""
        if self._conn is not None and self.is_open:
            self._conn.terminate()
        await self.give_back()

    async def give_back(self) -> None:
        """Returns it to the pool, as it came."""
        conn, self._conn = self._conn, None
        if conn is not None:
            with contextlib.suppress(Exception):
                await self._pool.release(conn)

    def is_lost(self, error: Exception) -> bool:
        """Whether the error left the connection in a state in which nobody knows what the store has done."""
        return not self.is_open or isinstance(error, _LOST)

    async def _wait_for_locks(self, seconds: float) -> None:
        self._lock_seconds = seconds
        if self._conn is not None:
            await self._conn.execute("SELECT set_config('lock_timeout', $1, false)", f"{seconds * 1000:.0f}ms")
