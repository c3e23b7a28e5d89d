"""Solvers, competitions and outcomes in PostgreSQL. Functions take a connection; the caller owns the transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from intentmesh.domain.types import Address
from intentmesh.store.pool import Connection
from intentmesh.store.queries import load_queries

_QUERIES = load_queries("intentmesh.store.queries", "solvers")
_NO_BOUND = 2**63 - 1


@dataclass(frozen=True, slots=True)
class SolverRow:
    """A registered solver. `capabilities` is a proto GetCapabilitiesResponse."""

    solver_id: str
    address: Address
    endpoint: str
    name: str
    approved: bool
    disabled: bool
    deregistered_at: datetime | None
    signed_time: int
    capabilities: bytes
    created_at: datetime
    heartbeat_at: datetime
    failures: int
    trips: int
    benched_until: datetime | None
    won: int
    settled: int


@dataclass(frozen=True, slots=True)
class NewSolver:
    """What a signed registration says. `signed_time` in Unix seconds."""

    solver_id: str
    address: Address
    endpoint: str
    name: str
    signed_time: int
    capabilities: bytes


@dataclass(frozen=True, slots=True)
class AuctionRow:
    """A stored competition. `payload` is a proto Auction."""

    auction_id: str
    intent_id: bytes
    round: int
    order_hash: bytes
    payload: bytes


async def upsert_solver(conn: Connection, new: NewSolver) -> SolverRow | None:
    """Register or replace; None when something newer has been signed."""
    row = await conn.fetchrow(
        _QUERIES["upsert_solver"],
        new.solver_id,
        new.address,
        new.endpoint,
        new.name,
        new.signed_time,
        new.capabilities,
    )
    return _solver(row)


async def deregister_solver(conn: Connection, solver_id: str, signed_time: int) -> bool:
    """False when there is no such solver, or it has signed something newer."""
    return await conn.fetchval(_QUERIES["deregister_solver"], solver_id, signed_time) is not None


async def get_solver(conn: Connection, solver_id: str) -> SolverRow | None:
    """One solver, deregistered or not."""
    return _solver(await conn.fetchrow(_QUERIES["get_solver"], solver_id))


async def lock_solvers(conn: Connection, solver_ids: Sequence[str]) -> list[SolverRow]:
    """Lock these rows until the transaction ends."""
    return _solvers(await conn.fetch(_QUERIES["lock_solvers"], list(solver_ids)))


async def list_solvers(conn: Connection, after: str, limit: int) -> list[SolverRow]:
    """A page by id, starting after `after` (empty: at the beginning)."""
    return _solvers(await conn.fetch(_QUERIES["list_solvers"], after, limit))


async def live_solvers(
    conn: Connection, limit: int, configured: Sequence[str] = (), *, anybody: bool = False
) -> list[SolverRow]:
    """All that are registered and approved, by an operator or as `configured` (all, with `anybody`), up to a limit."""
    return _solvers(await conn.fetch(_QUERIES["live_solvers"], limit, list(configured), anybody))


async def forget_strangers(conn: Connection, configured: Sequence[str], most: int, silent_seconds: float) -> int:
    """Take out all but `most` of those that nobody has approved, and the silent ones; returns how many went.

    Solvers with outcomes stay, and so do those that are `configured` or that an operator has decided upon.
    """
    return len(await conn.fetch(_QUERIES["forget_strangers"], list(configured), most, silent_seconds))


async def decide_solver(conn: Connection, solver_id: str, *, approved: bool, disabled: bool) -> SolverRow | None:
    """Keep an operator's decision; None when there is no such solver."""
    return _solver(await conn.fetchrow(_QUERIES["decide_solver"], solver_id, approved, disabled))


async def save_capabilities(conn: Connection, solver_id: str, capabilities: bytes) -> None:
    """Keep what the solver says it serves."""
    await conn.execute(_QUERIES["save_capabilities"], solver_id, capabilities)


async def heartbeat(conn: Connection, solver_id: str, signed_time: int) -> int | None:
    """The newest time that the solver has signed, in Unix seconds; None when no such solver is registered.

    Only a heartbeat that is newer than all before shows that the solver lives.
    """
    newest: int | None = await conn.fetchval(_QUERIES["heartbeat"], solver_id, signed_time)
    return newest


async def save_availability(
    conn: Connection, solver_id: str, failures: int, trips: int, benched_until: datetime | None
) -> None:
    """Keep the state of a breaker. The caller has locked the row."""
    await conn.execute(_QUERIES["save_availability"], solver_id, failures, trips, benched_until)


async def claim_probe(conn: Connection, row: SolverRow, until: datetime) -> bool:
    """Whether this caller is the one that may ask a solver whose bench is over."""
    return await conn.fetchval(_QUERIES["claim_probe"], row.solver_id, until, row.benched_until) is not None


async def insert_auction(conn: Connection, auction: AuctionRow) -> bool:
    """False when a competition of this intent and round is stored already."""
    stored = await conn.fetchval(
        _QUERIES["insert_auction"],
        auction.auction_id,
        auction.intent_id,
        auction.round,
        auction.order_hash,
        auction.payload,
    )
    return stored is not None


async def get_auction(conn: Connection, auction_id: str) -> AuctionRow | None:
    """One competition."""
    row = await conn.fetchrow(_QUERIES["get_auction"], auction_id)
    return _auction(row) if row else None


async def list_auctions(conn: Connection, intent_id: bytes, before_round: int | None, limit: int) -> list[AuctionRow]:
    """A page, newest round first."""
    bound = _NO_BOUND if before_round is None else before_round
    return [_auction(row) for row in await conn.fetch(_QUERIES["list_auctions"], intent_id, bound, limit)]


async def insert_outcome(conn: Connection, intent_id: bytes, award_number: int, solver_id: str, payload: bytes) -> bool:
    """False when this award's outcome is stored already. `payload` is a proto Outcome."""
    stored = await conn.fetchval(_QUERIES["insert_outcome"], intent_id, award_number, solver_id, payload)
    return stored is not None


async def count_judged_award(conn: Connection, solver_id: str, *, settled: bool) -> SolverRow | None:
    """Add an award to the standing."""
    return _solver(await conn.fetchrow(_QUERIES["count_judged_award"], solver_id, int(settled)))


async def list_outcomes(
    conn: Connection, solver_id: str, before_number: int | None, limit: int
) -> list[tuple[int, bytes]]:
    """(outcome number, proto Outcome), newest first; of all solvers where `solver_id` is empty."""
    bound = _NO_BOUND if before_number is None else before_number
    rows = await conn.fetch(_QUERIES["list_outcomes"], solver_id, bound, limit)
    return [(row["outcome_number"], row["payload"]) for row in rows]


def _solver(row: Any) -> SolverRow | None:
    return SolverRow(**row) if row else None


def _solvers(rows: Sequence[Any]) -> list[SolverRow]:
    return [SolverRow(**row) for row in rows]


def _auction(row: Any) -> AuctionRow:
    return AuctionRow(row["auction_id"], row["intent_id"], row["round"], row["order_hash"], row["payload"])
