"""How often a caller may look. Counted apart from what the intake counts, so that nobody is punished for looking.

The budgets are there against floods. Who loses many streams at once, by a planned close for instance, may open them all
again: those beyond a minute's worth are told to wait until the next, and lose nothing by it.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from intentmesh.rpc.leases import Grant, LeasedTokens, Limit
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.rate_limits import LimitReached, counted_as


class Budget(StrEnum):
    """What is counted."""

    # Answers to GetIntentStatus.
    READS = "status-reads"
    # Streams opened, resumed ones included; what is told on them is free.
    WATCHES = "status-watches"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one class of callers."""

    # Large enough to be leased in portions: most answers come from memory, and must not wait for Valkey after all.
    reads: Limit = field(default_factory=lambda: Limit(12_000, 60))
    watches: Limit = field(default_factory=lambda: Limit(600, 60))

    def of(self, budget: Budget) -> Limit:
        return self.reads if budget is Budget.READS else self.watches


class Budgets:
    """Those of all callers."""

    def __init__(self, tokens: LeasedTokens, limits: Limits, service_limits: Limits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._service_limits = service_limits

    async def count(self, budget: Budget, caller: Principal, address: str) -> Grant:
        """Counts one against the caller. Raises LimitReached with the seconds until the window ends."""
        limits = self._service_limits if caller.kind is PrincipalKind.SERVICE else self._limits
        limit, key = limits.of(budget), f"{budget}:{counted_as(caller, address)}"
        grant = self._tokens.take_now(key, limit) or await self._tokens.take(key, limit)
        if grant.granted == 0:
            raise LimitReached(grant)
        return grant
