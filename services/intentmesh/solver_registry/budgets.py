"""How often a caller may ask, and a solver may show that it lives.

Anybody may register and ask for quotes, and keys are free: who floods is told to wait, and uses up nobody else's
budget. What the mesh itself asks for (auctions, outcomes) is for its principals only, and not counted.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from intentmesh.rpc.leases import Grant, LeasedTokens, Limit
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.rate_limits import LimitReached, counted_as
from intentmesh.solver_registry import metrics


class Budget(StrEnum):
    """What is counted for a caller."""

    # RegisterSolver and DeregisterSolver: a signature to recover, the store to write, and often a solver to call.
    REGISTRATIONS = "registrations"
    # Of all the solvers that come from one place.
    HEARTBEATS = "heartbeats"
    # RequestQuotes: each asks every solver there is.
    QUOTES = "quotes"
    # Gets and lists, which ask the store alone.
    READS = "reads"


# Counted for a solver, wherever it came from, once it has proven to be it by something new: who only knows its id, or
# has seen a heartbeat, uses up nothing of it.
SOLVER_HEARTBEATS = "solver_heartbeats"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one class of callers."""

    registrations: Limit = field(default_factory=lambda: Limit(60, 60))
    heartbeats: Limit = field(default_factory=lambda: Limit(3_000, 60))
    quotes: Limit = field(default_factory=lambda: Limit(300, 60))
    reads: Limit = field(default_factory=lambda: Limit(12_000, 60))

    def of(self, budget: Budget) -> Limit:
        match budget:
            case Budget.REGISTRATIONS:
                return self.registrations
            case Budget.HEARTBEATS:
                return self.heartbeats
            case Budget.QUOTES:
                return self.quotes
            case Budget.READS:
                return self.reads


class Budgets:
    """Those of all callers, and those of all solvers."""

    def __init__(self, tokens: LeasedTokens, limits: Limits, service_limits: Limits, solver_heartbeats: Limit) -> None:
        self._tokens = tokens
        self._limits = limits
        self._service_limits = service_limits
        self._solver_heartbeats = solver_heartbeats

    async def count(self, budget: Budget, caller: Principal, address: str) -> Grant:
        """Counts one against the caller. Raises LimitReached with the seconds until the window ends."""
        limits = self._service_limits if caller.kind is PrincipalKind.SERVICE else self._limits
        return await self._take(budget, counted_as(caller, address), limits.of(budget))

    async def count_heartbeat_of(self, solver_id: str) -> Grant:
        """Counts one against the solver, wherever it came from. Raises LimitReached as above."""
        return await self._take(SOLVER_HEARTBEATS, solver_id, self._solver_heartbeats)

    async def _take(self, budget: str, whose: str, limit: Limit) -> Grant:
        # Valkey is shared with the other services, which count calls of theirs.
        key = f"registry-{budget}:{whose}"
        grant = self._tokens.take_now(key, limit) or await self._tokens.take(key, limit)
        if grant.granted == 0:
            metrics.REFUSALS.labels(budget).inc()
            raise LimitReached(grant)
        return grant
