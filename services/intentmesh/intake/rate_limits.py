"""Limits on submissions, shared by all replicas through Valkey: fixed windows that begin with a caller's first request.

Valkey away: a limiter of this process takes over, which is as strict per replica and is never an open door.
"""

import math
import time
from dataclasses import dataclass
from enum import StrEnum

import structlog
from limits import RateLimitItem, RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from redis.asyncio import Redis

from intentmesh.domain.errors import ResourceExhausted
from intentmesh.intake.metrics import RATE_LIMITER_FALLBACKS
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.v1.error_pb2 import ErrorReason

log = structlog.get_logger()

# How long Valkey is left alone after it failed.
_FALLBACK_SECONDS = 5.0


class Budget(StrEnum):
    """What is counted."""

    # Calls that change something or search.
    REQUESTS = "requests"
    # Items that would create an intent, whatever comes of them.
    NEW_INTENTS = "new-intents"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `amount` in `seconds`."""

    amount: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one class of callers."""

    requests: Limit = Limit(1000, 60)
    new_intents: Limit = Limit(100, 15 * 60)

    def of(self, budget: Budget) -> Limit:
        return self.requests if budget is Budget.REQUESTS else self.new_intents


_REASONS = {
    Budget.REQUESTS: ErrorReason.ERROR_REASON_RATE_LIMITED,
    Budget.NEW_INTENTS: ErrorReason.ERROR_REASON_TOO_MANY_INTENTS_CREATED,
}
_MESSAGES = {
    Budget.REQUESTS: "Too many requests, please try again later",
    Budget.NEW_INTENTS: "Too many intents created, please try again later",
}


class RateLimiter:
    """Counts by principal, or by client address for those who have none."""

    def __init__(self, valkey: Redis, limits: Limits, service_limits: Limits) -> None:
        storage = RedisStorage(
            "async+redis://",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix="intentmesh:limits",
            # The pool is an object, which the library's annotation of its options does not foresee.
            connection_pool=valkey.connection_pool,  # type: ignore[arg-type]
        )
        self._shared = FixedWindowRateLimiter(storage)
        self._local = FixedWindowRateLimiter(MemoryStorage())
        self._limits = limits
        self._service_limits = service_limits
        self._valkey_rests_until = 0.0

    async def count(self, budget: Budget, caller: Principal, address: str, cost: int = 1) -> None:
        """Counts `cost` against the caller. Raises ResourceExhausted with the seconds until the window ends."""
        limits = self._service_limits if caller.kind is PrincipalKind.SERVICE else self._limits
        limit = limits.of(budget)
        item = RateLimitItemPerSecond(limit.amount, limit.seconds, namespace=budget.value)
        key = f"address:{address}" if caller.kind is PrincipalKind.ANONYMOUS else str(caller)
        wait = await self._hit(item, key, cost)
        if wait is not None:
            raise ResourceExhausted(
                _MESSAGES[budget],
                reason=_REASONS[budget],
                metadata={"limit": str(limit.amount), "window_seconds": str(limit.seconds)},
                retry_after=wait,
            )

    async def _hit(self, item: RateLimitItem, key: str, cost: int) -> float | None:
        if time.monotonic() >= self._valkey_rests_until:
            try:
                return await _hit(self._shared, item, key, cost)
            except StorageError as error:
                self._valkey_rests_until = time.monotonic() + _FALLBACK_SECONDS
                log.warning("rate_limiter_degraded", error=repr(error.__cause__ or error), seconds=_FALLBACK_SECONDS)
        RATE_LIMITER_FALLBACKS.inc()
        return await _hit(self._local, item, key, cost)


async def _hit(limiter: FixedWindowRateLimiter, item: RateLimitItem, key: str, cost: int) -> float | None:
    """None when within the limit, else the seconds to wait."""
    if await limiter.hit(item, key, cost=cost):
        return None
    reset_time, _ = await limiter.get_window_stats(item, key)
    return max(1.0, math.ceil(reset_time - time.time()))
