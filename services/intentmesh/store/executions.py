"""The executor's work: claims with leases and fences, and what it has found out about an intent.

A claim's fence rises with every claim of the same work. `lock_claimed` at the head of a transaction makes all that the
transaction writes void for a worker whose claim went to another.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from intentmesh.domain.types import Address, Bytes32, IntentId, format_address, format_intent_id, parse_address
from intentmesh.store.intents import lock_intent
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries
from intentmesh.store.rows import IntentRow
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.auction_pb2 import Quote
from intentmesh.v1.intent_pb2 import ChainTransaction

_SQL = load_queries("intentmesh.store.queries", "executions")


class ClaimLost(Exception):
    """The work was claimed by another worker, or given back: drop it, nothing was written."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A worker's lease on the work on one intent."""

    intent_id: IntentId
    fence: int
    worker: str


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """The work on one intent. `due_at` None: nothing is left to do."""

    intent_id: IntentId
    due_at: datetime | None
    claimed_by: str | None
    claim_expires_at: datetime | None
    fence: int
    rounds: int
    attempts: int
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ExecutionKey:
    """The last row of a page of executions."""

    due_at: datetime
    intent_id: IntentId


@dataclass(frozen=True, slots=True)
class Award:
    """A won auction. `state` is the executor's word for what became of it; `token` (32 bytes) is its winner's alone."""

    intent_id: IntentId
    award_number: int
    auction_id: str
    solver_id: str
    solver: Address
    quote: Quote
    state: str
    token: bytes
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredAttestation:
    """What one attester signed about one output."""

    output_hash: Bytes32
    attester: Address
    attestation: FillAttestation


@dataclass(frozen=True, slots=True)
class Pause:
    """New work is kept back."""

    reason: str
    paused_by: str
    paused_at: datetime


# --- claims


async def claim_due(conn: Connection, worker: str, limit: int, lease_seconds: float) -> list[Claim]:
    """Claim due work that nobody holds, or whose holder's lease has run out. Commit before working on it."""
    return _claims(await conn.fetch(_SQL["claim_due"], worker, limit, timedelta(seconds=lease_seconds)))


async def renew(conn: Connection, claims: Sequence[Claim], lease_seconds: float) -> list[Claim]:
    """Prolong claims; returns those that are still held."""
    records = await conn.fetch(
        _SQL["renew"], [c.intent_id for c in claims], [c.fence for c in claims], timedelta(seconds=lease_seconds)
    )
    return _claims(records)


async def lock_claimed(conn: Connection, claim: Claim) -> IntentRow:
    """The intent, locked together with its execution until the transaction ends. Raises ClaimLost."""
    row = await lock_intent(conn, claim.intent_id)
    if row is None or not await conn.fetchval(_SQL["lock_fence"], claim.intent_id, claim.fence):
        raise _lost(claim)
    return row


async def release(conn: Connection, claim: Claim, due_at: datetime) -> None:
    """Give a claim back; due again at `due_at`, or at once when it was woken meanwhile. Raises ClaimLost."""
    await _let_go(conn, claim, due_at)


async def finish(conn: Connection, claim: Claim) -> None:
    """Give a claim back for good; when it was woken meanwhile it is looked at once more. Raises ClaimLost."""
    await _let_go(conn, claim, None)


async def wake(conn: Connection, intent_id: IntentId) -> bool:
    """Make work due at once, finished work included. False: there is none."""
    return bool(await conn.fetchval(_SQL["wake"], intent_id))


async def get_execution(conn: Connection, intent_id: IntentId) -> ExecutionRow | None:
    """The work on one intent."""
    record = await conn.fetchrow(_SQL["get_execution"], intent_id)
    return None if record is None else _execution(record)


async def list_executions(conn: Connection, after: ExecutionKey | None = None, limit: int = 50) -> list[ExecutionRow]:
    """A page of work that is not done, longest waiting first."""
    key = (None, None) if after is None else (after.due_at, after.intent_id)
    return [_execution(record) for record in await conn.fetch(_SQL["list_executions"], *key, limit)]


async def update_execution(
    conn: Connection,
    claim: Claim,
    *,
    rounds: int | None = None,
    attempts: int | None = None,
    state: Mapping[str, Any] | None = None,
) -> None:
    """Remember something about the work; None keeps it. `state` must be fit for JSON. Raises ClaimLost."""
    document = None if state is None else json.dumps(state)
    values = (claim.intent_id, claim.fence, rounds, attempts, document)
    if not await conn.fetchval(_SQL["update_execution"], *values):
        raise _lost(claim)


# --- what was found out; the caller holds the fence by `lock_claimed`


async def add_award(conn: Connection, award: Award) -> None:
    """Store an award, before its solver hears of it. Raises asyncpg.UniqueViolationError for a number in use."""
    await conn.execute(
        _SQL["add_award"],
        *(award.intent_id, award.award_number, award.auction_id, award.solver_id, award.solver),
        *(award.quote.SerializeToString(), award.state, award.token),
    )


async def set_award_state(conn: Connection, intent_id: IntentId, award_number: int, state: str) -> None:
    """Say what became of an award."""
    await conn.execute(_SQL["set_award_state"], intent_id, award_number, state)


async def list_awards(conn: Connection, intent_id: IntentId) -> list[Award]:
    """Awards of an intent, newest last."""
    return (await list_awards_of(conn, [intent_id]))[intent_id]


async def list_awards_of(conn: Connection, ids: Sequence[IntentId]) -> dict[IntentId, list[Award]]:
    """Awards of each of the intents, newest last."""
    awards: dict[IntentId, list[Award]] = {intent_id: [] for intent_id in ids}
    for r in await conn.fetch(_SQL["list_awards"], ids):
        award = Award(
            IntentId(r["intent_id"]),
            *(r["award_number"], r["auction_id"], r["solver_id"], Address(r["solver"])),
            *(Quote.FromString(r["quote"]), r["state"], r["token"], r["created_at"]),
        )
        awards[award.intent_id].append(award)
    return awards


async def upsert_transaction(conn: Connection, intent_id: IntentId, transaction: ChainTransaction) -> bool:
    """Store what is known of a transaction now, and the intent's sums of gas and cost. False: nothing is new."""
    changed = await conn.fetchval(
        _SQL["upsert_transaction"],
        *(intent_id, transaction.chain_id, bytes.fromhex(transaction.hash.removeprefix("0x"))),
        *(transaction.kind, transaction.status, transaction.block_number, transaction.gas_used),
        Decimal(transaction.effective_gas_price or "0"),
        parse_address(transaction.sender) if transaction.sender else None,
    )
    if changed:
        await conn.execute(_SQL["sum_transactions"], intent_id)
    return bool(changed)


async def list_transactions(conn: Connection, intent_id: IntentId) -> list[ChainTransaction]:
    """Transactions of an intent in the order of discovery."""
    return (await list_transactions_of(conn, [intent_id])).get(intent_id, [])


async def list_transactions_of(
    conn: Connection, intent_ids: Iterable[IntentId]
) -> dict[IntentId, list[ChainTransaction]]:
    """Transactions of several intents; those without any are absent."""
    found: dict[IntentId, list[ChainTransaction]] = {}
    for r in await conn.fetch(_SQL["list_transactions"], list(intent_ids)):
        transaction = ChainTransaction(
            hash="0x" + r["hash"].hex(),
            chain_id=r["chain_id"],
            kind=r["kind"],
            status=r["status"],
            block_number=r["block_number"],
            gas_used=r["gas_used"],
            effective_gas_price=str(int(r["effective_gas_price"])),
            sender=format_address(r["sender"]) if r["sender"] else "",
        )
        found.setdefault(IntentId(r["intent_id"]), []).append(transaction)
    return found


async def save_attestation(
    conn: Connection, intent_id: IntentId, output_hash: Bytes32, attester: Address, attestation: FillAttestation
) -> None:
    """Store what an attester signed, instead of what it has signed over the same output before."""
    await conn.execute(_SQL["save_attestation"], intent_id, output_hash, attester, attestation.SerializeToString())


async def list_attestations(conn: Connection, intent_id: IntentId) -> list[StoredAttestation]:
    """Attestations of an intent by output and, within one, by attester address, as the oracle wants them."""
    return [
        StoredAttestation(Bytes32(r["output_hash"]), Address(r["attester"]), FillAttestation.FromString(r["payload"]))
        for r in await conn.fetch(_SQL["list_attestations"], intent_id)
    ]


# --- the operator's pause


async def pause(conn: Connection, reason: str, paused_by: str) -> None:
    """Keep new work back until `resume`; a pause that stands is not replaced. Workers read it with `get_pause`."""
    await conn.execute(_SQL["pause"], reason, paused_by)


async def resume(conn: Connection) -> None:
    """End a pause."""
    await conn.execute(_SQL["resume"])


async def get_pause(conn: Connection) -> Pause | None:
    """The pause that stands."""
    record = await conn.fetchrow(_SQL["get_pause"])
    return None if record is None else Pause(record["reason"], record["paused_by"], record["paused_at"])


async def _let_go(conn: Connection, claim: Claim, due_at: datetime | None) -> None:
    if not await conn.fetchval(_SQL["release"], claim.intent_id, claim.fence, due_at):
        raise _lost(claim)


def _lost(claim: Claim) -> ClaimLost:
    return ClaimLost(f"{format_intent_id(claim.intent_id)}: fence {claim.fence} of {claim.worker} is void")


def _claims(records: Iterable[Mapping[str, Any]]) -> list[Claim]:
    return [Claim(IntentId(r["intent_id"]), r["fence"], r["claimed_by"]) for r in records]


def _execution(r: Mapping[str, Any]) -> ExecutionRow:
    return ExecutionRow(
        IntentId(r["intent_id"]),
        *(r["due_at"], r["claimed_by"], r["claim_expires_at"], r["fence"]),
        *(r["rounds"], r["attempts"], json.loads(r["state"])),
    )
