"""A stored solver as competitions and callers see it."""

from collections.abc import Collection
from datetime import UTC, datetime

from google.protobuf.message import DecodeError

from intentmesh.domain.types import format_address
from intentmesh.solver_registry.eligibility import Candidate
from intentmesh.solver_registry.settings import ANYBODY
from intentmesh.solver_registry.standing import Breaker, Standing
from intentmesh.store import solvers as store
from intentmesh.store.pool import Connection
from intentmesh.store.solvers import SolverRow
from intentmesh.v1.solver_registry_service_pb2 import Solver, SolverState
from intentmesh.v1.solver_service_pb2 import GetCapabilitiesResponse, Route

MAX_SOLVERS = 1_000


class Roster:
    """Reads rows with the configuration's approvals in mind: these are not stored, so taking one out takes effect."""

    def __init__(self, approved_owners: Collection[str]) -> None:
        self._approved = frozenset(approved_owners)
        self._approves_anybody = ANYBODY in self._approved
        self._configured = tuple(self._approved - {ANYBODY})

    def is_approved(self, row: SolverRow) -> bool:
        """By an operator or by the configuration. The owner of a solver is its address."""
        return row.approved or self.approves(row.solver_id)

    def approves(self, solver_id: str) -> bool:
        """By the configuration."""
        return self._approves_anybody or solver_id in self._approved

    async def live(self, conn: Connection) -> list[SolverRow]:
        """All that are registered and approved, at most MAX_SOLVERS."""
        return await store.live_solvers(conn, MAX_SOLVERS, self._configured, anybody=self._approves_anybody)

    async def forget_strangers(self, conn: Connection, most: int, silent_seconds: float) -> int:
        """As the store does; nobody is a stranger where anybody is approved."""
        if self._approves_anybody:
            return 0
        return await store.forget_strangers(conn, self._configured, most, silent_seconds)

    def state(self, row: SolverRow, now: float) -> SolverState.ValueType:
        """What holds first: gone, switched off, not approved, benched."""
        if row.deregistered_at is not None:
            return SolverState.SOLVER_STATE_DEREGISTERED
        if row.disabled:
            return SolverState.SOLVER_STATE_DISABLED
        if not self.is_approved(row):
            return SolverState.SOLVER_STATE_AWAITING_APPROVAL
        if breaker_of(row).is_open(now):
            return SolverState.SOLVER_STATE_BENCHED
        return SolverState.SOLVER_STATE_ACTIVE

    def candidate(self, row: SolverRow, now: float) -> Candidate:
        """For a competition."""
        return Candidate(
            solver_id=row.solver_id,
            solver=row.address,
            endpoint=row.endpoint,
            state=self.state(row, now),
            routes=routes_of(row),
            last_heartbeat=row.heartbeat_at.timestamp(),
            standing=standing_of(row),
            breaker=breaker_of(row),
        )

    def message(self, row: SolverRow, now: float) -> Solver:
        """For a caller."""
        standing = standing_of(row)
        solver = Solver(
            solver_id=row.solver_id,
            address=format_address(row.address),
            endpoint=row.endpoint,
            name=row.name,
            state=self.state(row, now),
            routes=routes_of(row),
            performance_score=standing.performance_score,
            success_rate=standing.success_rate,
            won=standing.won,
            settled=standing.settled,
        )
        solver.create_time.FromDatetime(row.created_at)
        solver.last_heartbeat_time.FromDatetime(row.heartbeat_at)
        return solver


def standing_of(row: SolverRow) -> Standing:
    """Its judged awards."""
    return Standing(row.won, row.settled)


def breaker_of(row: SolverRow) -> Breaker:
    """Its availability."""
    return Breaker(row.failures, row.trips, row.benched_until.timestamp() if row.benched_until else 0.0)


def bench_time(breaker: Breaker) -> datetime | None:
    """`open_until` as it is stored."""
    return datetime.fromtimestamp(breaker.open_until, UTC) if breaker.open_until else None


def routes_of(row: SolverRow) -> tuple[Route, ...]:
    """What it said it serves."""
    try:
        return tuple(GetCapabilitiesResponse.FromString(row.capabilities).routes)
    except DecodeError:
        return ()
