"""The attempt ledger in PostgreSQL. Functions take a connection; the caller owns the transaction.

Rule: a row is committed as BROADCAST before its raw transaction is given to any node, and final rows never change.
"""

from collections.abc import Sequence
from decimal import Decimal

import asyncpg

from intentmesh.chain.records import TransactionHash
from intentmesh.domain.types import Address, ChainId
from intentmesh.transactions.lease import Connection
from intentmesh.transactions.model import (
    Attempt,
    AttemptState,
    KeyReused,
    Price,
    Purpose,
    TransactionRequest,
)
from intentmesh.transactions.signers import SignedTransaction

MIGRATIONS = "intentmesh.transactions.migrations"
SCHEMA = "transactions"

_ATTEMPT_COLUMNS = "id, key, nonce, purpose, state, hash, raw, gas_limit, max_fee, priority_fee"
_UNFINISHED = "('PLANNED', 'BROADCAST', 'INDETERMINATE')"
_INCLUDED = "('CONFIRMED', 'REVERTED')"
_MOST_INCLUDED = 1024


# The f-strings below hold nothing but the constants above.
# ruff: noqa: S608


class Ledger:
    """The part of the ledger that belongs to one signer on one chain."""

    def __init__(self, chain_id: ChainId, signer: Address) -> None:
        self._owner = (chain_id, signer)

    # --- requests ---

    async def register(self, connection: Connection, request: TransactionRequest) -> None:
        """Remembers what the key stands for. Raises KeyReused when that is something else."""
        await connection.execute(
            "INSERT INTO transactions.requests (chain_id, signer, key, to_address, data, value, deadline)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7)"
            " ON CONFLICT (chain_id, signer, key) DO UPDATE SET deadline = excluded.deadline"
            " WHERE (requests.to_address, requests.data, requests.value)"
            "     = (excluded.to_address, excluded.data, excluded.value)",
            *self._owner,
            request.key,
            request.to,
            request.data,
            Decimal(request.value),
            request.deadline,
        )
        known = await self.request(connection, request.key)
        if known is None or known.names_another_than(request):
            raise KeyReused(f"the key {request.key} stands for another transaction")

    async def request(self, connection: Connection, key: str) -> TransactionRequest | None:
        """What the key stands for."""
        row = await connection.fetchrow(
            "SELECT key, to_address, data, value, deadline FROM transactions.requests"
            " WHERE (chain_id, signer, key) = ($1, $2, $3)",
            *self._owner,
            key,
        )
        return None if row is None else _request(row)

    async def unfinished(self, connection: Connection) -> list[TransactionRequest]:
        """All requests with a transaction whose end is not known, by nonce."""
        rows = await connection.fetch(
            "SELECT r.key, r.to_address, r.data, r.value, r.deadline FROM transactions.requests r JOIN ("
            "   SELECT key, min(nonce) AS nonce FROM transactions.attempts"
            f"  WHERE (chain_id, signer) = ($1, $2) AND state IN {_UNFINISHED} GROUP BY key) a USING (key)"
            " WHERE (r.chain_id, r.signer) = ($1, $2) ORDER BY a.nonce",
            *self._owner,
        )
        return [_request(row) for row in rows]

    # --- attempts ---

    async def lineage(self, connection: Connection, key: str) -> list[Attempt]:
        """All attempts at the newest nonce of the key that any node may have, oldest first."""
        rows = await connection.fetch(
            f"SELECT {_ATTEMPT_COLUMNS} FROM transactions.attempts a"
            " WHERE (chain_id, signer, key) = ($1, $2, $3) AND state <> 'REJECTED' AND nonce = ("
            "   SELECT max(nonce) FROM transactions.attempts b"
            "   WHERE (b.chain_id, b.signer, b.key) = ($1, $2, $3) AND b.state <> 'REJECTED')"
            " ORDER BY attempt",
            *self._owner,
            key,
        )
        return [_attempt(row) for row in rows]

    async def plan(
        self,
        connection: Connection,
        key: str,
        nonce: int,
        purpose: Purpose,
        signed: SignedTransaction,
        gas_limit: int,
        price: Price,
        replaces: Attempt | None = None,
    ) -> Attempt:
        """A new attempt, PLANNED; hands out its nonce where it is the next one."""
        row = await connection.fetchrow(
            "INSERT INTO transactions.attempts (chain_id, signer, key, nonce, attempt, purpose, state, hash, raw,"
            " gas_limit, max_fee, priority_fee, replacement_of)"
            " SELECT $1, $2, $3, $4, coalesce(max(attempt), 0) + 1, $5, 'PLANNED', $6, $7, $8, $9, $10, $11"
            " FROM transactions.attempts WHERE (chain_id, signer, nonce) = ($1, $2, $4)"
            f" RETURNING {_ATTEMPT_COLUMNS}",
            *self._owner,
            key,
            nonce,
            purpose,
            signed.hash,
            signed.raw,
            gas_limit,
            Decimal(price.max_fee),
            Decimal(price.priority_fee),
            None if replaces is None else replaces.id,
        )
        await self.raise_next_nonce(connection, nonce + 1)
        return _attempt(row)

    async def mark(
        self, connection: Connection, attempts: Sequence[Attempt], state: AttemptState, note: str = ""
    ) -> None:
        """Moves attempts to a state; those that are final already stay as they are."""
        await connection.execute(
            "UPDATE transactions.attempts SET state = $2, note = $3, updated_at = now()"
            f" WHERE id = any($1) AND state IN {_UNFINISHED}",
            [attempt.id for attempt in attempts],
            state,
            note,
        )

    async def held(self, connection: Connection, low: int, high: int, limit: int) -> list[Attempt]:
        """The transactions that hold the nonces from `low` to below `high`, the first ones, by nonce.

        Of several at one nonce it is the included one, else the newest.
        """
        rows = await connection.fetch(
            f"SELECT DISTINCT ON (nonce) {_ATTEMPT_COLUMNS} FROM transactions.attempts"
            " WHERE (chain_id, signer) = ($1, $2) AND nonce >= $3 AND nonce < $4 AND state <> 'REJECTED'"
            f" ORDER BY nonce, state IN {_INCLUDED} DESC, attempt DESC LIMIT $5",
            *self._owner,
            low,
            high,
            limit,
        )
        return [_attempt(row) for row in rows]

    async def included_from(self, connection: Connection, nonce: int) -> list[Attempt]:
        """Those that were seen included, at this nonce or a later one, by nonce; of very many the newest."""
        rows = await connection.fetch(
            f"SELECT {_ATTEMPT_COLUMNS} FROM transactions.attempts"
            f" WHERE (chain_id, signer) = ($1, $2) AND nonce >= $3 AND state IN {_INCLUDED}"
            f" ORDER BY nonce DESC LIMIT {_MOST_INCLUDED}",
            *self._owner,
            nonce,
        )
        return [_attempt(row) for row in reversed(rows)]

    # --- nonces ---

    async def next_nonce(self, connection: Connection) -> int:
        """The next nonce to hand out, as far as the ledger knows."""
        nonce: int | None = await connection.fetchval(
            "SELECT next_nonce FROM transactions.signers WHERE (chain_id, signer) = ($1, $2)", *self._owner
        )
        return nonce or 0

    async def free(self, connection: Connection, low: int, high: int, limit: int) -> list[int]:
        """The nonces from `low` to below `high` that nobody holds, the first ones."""
        rows = await connection.fetch(
            "SELECT n FROM generate_series($3::bigint, $4::bigint - 1) n WHERE NOT EXISTS ("
            "   SELECT FROM transactions.attempts"
            "   WHERE (chain_id, signer, nonce) = ($1, $2, n) AND state <> 'REJECTED')"
            " ORDER BY n LIMIT $5",
            *self._owner,
            low,
            high,
            limit,
        )
        return [row["n"] for row in rows]

    async def raise_next_nonce(self, connection: Connection, nonce: int) -> None:
        """Never lowers it."""
        await connection.execute(
            "INSERT INTO transactions.signers (chain_id, signer, next_nonce) VALUES ($1, $2, $3)"
            " ON CONFLICT (chain_id, signer)"
            " DO UPDATE SET next_nonce = greatest(signers.next_nonce, excluded.next_nonce)",
            *self._owner,
            nonce,
        )

    async def reclaim(self, connection: Connection, nonce: int) -> bool:
        """Takes back the last nonce handed out; whether it was that."""
        status: str = await connection.execute(
            "UPDATE transactions.signers SET next_nonce = $3"
            " WHERE (chain_id, signer) = ($1, $2) AND next_nonce = $3 + 1",
            *self._owner,
            nonce,
        )
        return status == "UPDATE 1"


def _request(row: asyncpg.Record) -> TransactionRequest:
    return TransactionRequest(row["key"], Address(row["to_address"]), row["data"], int(row["value"]), row["deadline"])


def _attempt(row: asyncpg.Record) -> Attempt:
    return Attempt(
        id=row["id"],
        key=row["key"],
        nonce=row["nonce"],
        purpose=Purpose(row["purpose"]),
        state=AttemptState(row["state"]),
        hash=TransactionHash(row["hash"]),
        raw=row["raw"],
        gas_limit=row["gas_limit"],
        price=Price(int(row["max_fee"]), int(row["priority_fee"])),
    )
