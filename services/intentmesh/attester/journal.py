"""The signing journal: what was signed, once and for ever."""

from dataclasses import dataclass
from datetime import datetime

import asyncpg

from intentmesh.domain.errors import FailedPrecondition
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, format_intent_id
from intentmesh.store.pool import Pool
from intentmesh.v1.error_pb2 import ErrorReason

MIGRATIONS = "intentmesh.attester.migrations"
SCHEMA = "attester"

_COLUMNS = (
    "position, intent_id, output_hash, digest, signature, remote_chain_id, remote_oracle, application, data_hash,"
    " solver, fill_timestamp, created_at"
)
# The f-strings below hold nothing but that constant.
# ruff: noqa: S608


class ConflictingAttestation(FailedPrecondition):
    """Something else was signed about this output before, and that stands."""

    default_reason = ErrorReason.ERROR_REASON_CONFLICTING_ATTESTATION


@dataclass(frozen=True, slots=True)
class Statement:
    """That an output was filled by `solver` at `timestamp` (Unix seconds), as it is signed."""

    intent_id: IntentId
    output_hash: Bytes32
    digest: bytes
    remote_chain_id: ChainId
    remote_oracle: Bytes32
    application: Bytes32
    data_hash: Bytes32
    solver: Bytes32
    timestamp: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A signed statement. Positions grow with time."""

    position: int
    statement: Statement
    signature: bytes
    created_at: datetime


class Journal:
    """The journal of one attester."""

    def __init__(self, pool: Pool, attester: Address) -> None:
        self._pool = pool
        self._attester = attester

    async def find(self, statement: Statement) -> Entry | None:
        """The entry of this very statement; None when nothing was signed. Raises ConflictingAttestation."""
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM attester.journal WHERE (attester, intent_id, output_hash) = ($1, $2, $3)",
            self._attester,
            statement.intent_id,
            statement.output_hash,
        )
        return None if row is None else _same(_entry(row), statement)

    async def record(self, statement: Statement, signature: bytes) -> Entry:
        """Commits the statement before its signature may leave; of several at the same time, the first one stands.

        Returns the entry that stands. Raises ConflictingAttestation when that is another statement.
        """
        await self._pool.execute(
            "INSERT INTO attester.journal (attester, intent_id, output_hash, digest, signature, remote_chain_id,"
            " remote_oracle, application, data_hash, solver, fill_timestamp)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
            " ON CONFLICT (attester, intent_id, output_hash) DO NOTHING",
            self._attester,
            statement.intent_id,
            statement.output_hash,
            statement.digest,
            signature,
            statement.remote_chain_id,
            statement.remote_oracle,
            statement.application,
            statement.data_hash,
            statement.solver,
            statement.timestamp,
        )
        entry = await self.find(statement)
        if entry is None:
            raise RuntimeError("a committed row of the journal is gone")
        return entry

    async def newest(self, intent_id: IntentId | None, before: int | None, limit: int) -> list[Entry]:
        """Entries from the newest on, of one intent or all, below a position."""
        rows = await self._pool.fetch(
            f"SELECT {_COLUMNS} FROM attester.journal WHERE attester = $1"
            " AND ($2::bytea IS NULL OR intent_id = $2) AND ($3::bigint IS NULL OR position < $3)"
            " ORDER BY position DESC LIMIT $4",
            self._attester,
            intent_id,
            before,
            limit,
        )
        return [_entry(row) for row in rows]

    async def check(self) -> None:
        """Raises when the journal does not answer."""
        await self._pool.fetchval("SELECT 1")


def _same(entry: Entry, statement: Statement) -> Entry:
    if entry.statement.digest == statement.digest:
        return entry
    raise ConflictingAttestation(
        "another statement about this output was signed before",
        metadata={"intent_id": format_intent_id(statement.intent_id)},
    )


def _entry(row: asyncpg.Record) -> Entry:
    statement = Statement(
        intent_id=IntentId(row["intent_id"]),
        output_hash=Bytes32(row["output_hash"]),
        digest=row["digest"],
        remote_chain_id=ChainId(row["remote_chain_id"]),
        remote_oracle=Bytes32(row["remote_oracle"]),
        application=Bytes32(row["application"]),
        data_hash=Bytes32(row["data_hash"]),
        solver=Bytes32(row["solver"]),
        timestamp=row["fill_timestamp"],
    )
    return Entry(row["position"], statement, row["signature"], row["created_at"])
