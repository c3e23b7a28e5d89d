"""Claims of this process: short transactions around the store's lease and fence."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from intentmesh.domain.types import IntentId
from intentmesh.store import executions
from intentmesh.store.executions import Claim
from intentmesh.store.pool import Pool


class Claims:
    """Takes, keeps and gives back. `clock` gives Unix seconds."""

    def __init__(self, pool: Pool, worker: str, clock: Callable[[], float]) -> None:
        self._pool = pool
        self._worker = worker
        self._clock = clock

    async def claim_due(self, limit: int, lease_seconds: float) -> list[Claim]:
        """Due work that nobody holds; committed before it is returned."""
        async with self._pool.acquire() as conn:
            return await executions.claim_due(conn, self._worker, limit, lease_seconds)

    async def renew(self, claims: Sequence[Claim], lease_seconds: float) -> frozenset[IntentId]:
        """Prolongs leases; the intents that are still ours."""
        async with self._pool.acquire() as conn:
            kept = await executions.renew(conn, claims, lease_seconds)
        return frozenset(claim.intent_id for claim in kept)

    async def release(self, claim: Claim, seconds: float) -> None:
        """Gives a claim back, due again after so many seconds. Raises ClaimLost."""
        due = datetime.fromtimestamp(self._clock(), UTC) + timedelta(seconds=seconds)
        async with self._pool.acquire() as conn:
            await executions.release(conn, claim, due)
