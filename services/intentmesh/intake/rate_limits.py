"""Limits on what callers and users may do: who is counted, under which limit, and how a refusal reads.

Counted before validation, by the authenticated principal or else by the client's address; new intents are counted once
more by the order's user, after the signature has shown that it is the user's own order.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache

from intentmesh.domain.types import Address
from intentmesh.intake.caller import Caller
from intentmesh.rpc.leases import Grant, LeasedTokens, Limit
from intentmesh.rpc.principals import PrincipalKind
from intentmesh.rpc.rate_limits import TOO_MANY_REQUESTS, LimitReached
from intentmesh.v1.error_pb2 import ErrorReason

BURST_SECONDS = 10
# Kept, since an active user's are asked for with each order.
_KEYS = 8_192


class Budget(StrEnum):
    """What is counted."""

    # Calls that change something or search.
    REQUESTS = "requests"
    # Items that would create an intent, whatever comes of them.
    NEW_INTENTS = "new-intents"
    # New intents of one user, whoever brings them.
    USER_INTENTS = "user-intents"
    # The same within seconds: nobody signs that fast by hand.
    USER_BURST = "user-burst"
    # Looks at one intent by its id.
    READS = "reads"


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one class of callers."""

    requests: Limit = field(default_factory=lambda: Limit(1000, 60))
    new_intents: Limit = field(default_factory=lambda: Limit(100, 15 * 60))
    user_intents: Limit = field(default_factory=lambda: Limit(100, 15 * 60))
    # None: bursts are nothing unusual, since the caller brings the orders of many.
    user_burst: Limit | None = field(default_factory=lambda: Limit(50, BURST_SECONDS))
    reads: Limit = field(default_factory=lambda: Limit(12_000, 60))

    def of(self, budget: Budget) -> Limit:
        """Of a budget that is counted for the caller."""
        match budget:
            case Budget.REQUESTS:
                return self.requests
            case Budget.NEW_INTENTS:
                return self.new_intents
            case Budget.READS:
                return self.reads
            case _:
                raise ValueError(f"{budget} is counted for users")


_REASONS = {
    Budget.REQUESTS: ErrorReason.ERROR_REASON_RATE_LIMITED,
    Budget.NEW_INTENTS: ErrorReason.ERROR_REASON_TOO_MANY_INTENTS_CREATED,
    Budget.USER_INTENTS: ErrorReason.ERROR_REASON_TOO_MANY_INTENTS_CREATED,
    Budget.USER_BURST: ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN,
    Budget.READS: ErrorReason.ERROR_REASON_RATE_LIMITED,
}
_MESSAGES = {
    Budget.REQUESTS: TOO_MANY_REQUESTS,
    Budget.NEW_INTENTS: "Too many intents created, please try again later",
    Budget.USER_INTENTS: "Too many intents created, please try again later",
    Budget.USER_BURST: "This user's intents come in a burst, please try again later",
    Budget.READS: TOO_MANY_REQUESTS,
}


def limit_reached(budget: Budget, grant: Grant) -> LimitReached:
    """The refusal by this budget."""
    return LimitReached(grant, _MESSAGES[budget], _REASONS[budget])


class RateLimiter:
    """`limits` may be replaced while it runs; running windows keep what was counted."""

    def __init__(self, tokens: LeasedTokens, limits: Limits, service_limits: Limits) -> None:
        self._tokens = tokens
        self._limits = limits
        self._service_limits = service_limits

    def replace(self, limits: Limits, service_limits: Limits) -> None:
        """From now on."""
        self._limits, self._service_limits = limits, service_limits
        self._tokens.reconsider()

    async def count(self, budget: Budget, caller: Caller) -> Grant:
        """Counts one against the caller. Raises LimitReached with the seconds until the window ends."""
        grant = await self.take(budget, caller, 1)
        if grant.granted == 0:
            raise limit_reached(budget, grant)
        return grant

    async def take(self, budget: Budget, caller: Caller, wanted: int) -> Grant:
        """Counts up to `wanted` against the caller."""
        limit = self._limits_of(caller).of(budget)
        key = f"{budget}:{caller.counted_as}"
        return self._tokens.take_now(key, limit, wanted) or await self._tokens.take(key, limit, wanted)

    def count_user_now(self, user: Address, caller: Caller) -> bool:
        """Counts one new intent of the user where that needs nobody else; False: nothing was counted."""
        if self.counts_bursts(caller):
            return False
        return self._tokens.use_one_now(user_key(Budget.USER_INTENTS, user, caller))

    def counts_bursts(self, caller: Caller) -> bool:
        """Whether what this caller brings counts like what users bring by hand."""
        return self._limits_of(caller).user_burst is not None

    async def count_user(self, user: Address, caller: Caller) -> None:
        """Counts one new intent of the user. Raises LimitReached."""
        limits = self._limits_of(caller)
        if limits.user_burst is not None:
            await self._count_for_user(Budget.USER_BURST, limits.user_burst, user, caller)
        await self._count_for_user(Budget.USER_INTENTS, limits.user_intents, user, caller)

    async def _count_for_user(self, budget: Budget, limit: Limit, user: Address, caller: Caller) -> None:
        grant = await self._tokens.take(user_key(budget, user, caller), limit)
        if grant.granted == 0:
            raise limit_reached(budget, grant)

    def _limits_of(self, caller: Caller) -> Limits:
        return self._service_limits if caller.principal.kind is PrincipalKind.SERVICE else self._limits


def user_key(budget: Budget, user: Address, caller: Caller) -> str:
    """What a new intent of the user is counted under when this caller brings it."""
    principal = caller.principal
    return _key_of(budget, user, principal.name if principal.kind is PrincipalKind.SERVICE else None)


@lru_cache(_KEYS)
def _key_of(budget: Budget, user: Address, service: str | None) -> str:
    # What a service brings for its users uses up neither what they may bring themselves nor what other services may.
    return f"{budget}:{user.hex()}" if service is None else f"{budget}:{user.hex()}:{service}"
