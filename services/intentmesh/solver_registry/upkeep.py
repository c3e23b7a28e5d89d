"""Background work: strangers are forgotten, capabilities read again, gauges follow the store, channels are closed."""

import asyncio

from intentmesh.rpc import metrics
from intentmesh.solver_registry.asking import SolverChannels
from intentmesh.solver_registry.registration import Registration, show_standing
from intentmesh.solver_registry.roster import Roster
from intentmesh.store.pool import Pool


class Upkeep:
    """Runs every few seconds in each replica; what it does may be done by several at once."""

    def __init__(
        self,
        pool: Pool,
        channels: SolverChannels,
        registration: Registration,
        roster: Roster,
        refresh_seconds: float,
    ) -> None:
        self._pool = pool
        self._channels = channels
        self._registration = registration
        self._roster = roster
        self._refresh_seconds = refresh_seconds
        self._shown: set[str] = set()

    async def run(self) -> None:
        """Never returns."""
        while True:
            await self.once()
            await asyncio.sleep(self._refresh_seconds)

    async def once(self) -> None:
        """One round."""
        await self._registration.forget_strangers()
        async with self._pool.acquire() as conn:
            rows = await self._roster.live(conn)
        await self._channels.keep_only({row.endpoint for row in rows})
        await asyncio.gather(*(self._registration.refresh(row) for row in rows if not row.disabled))
        for row in rows:
            show_standing(row)
        present = {row.solver_id for row in rows}
        for gone in self._shown - present:
            metrics.SOLVER_PERFORMANCE_SCORE.remove(gone)
            metrics.SOLVER_SUCCESS_RATE.remove(gone)
        self._shown = present
