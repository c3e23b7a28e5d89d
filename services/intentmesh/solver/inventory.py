"""What this solver can spend: its balances on chain less what running jobs hold back."""

import asyncio
from typing import Final

from intentmesh.chain.tokens import Token
from intentmesh.domain.types import ZERO_ADDRESS, Address, ChainId
from intentmesh.solver.approvals import Approvals
from intentmesh.solver.declined import Declined
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.jobs import Funds, Reservations
from intentmesh.solver.sides import Sides
from intentmesh.v1 import error_pb2 as reasons

# Of the native currency, never spent on outputs: gas for what is under way.
GAS_RESERVE_WEI: Final = 10**16


class Inventory:
    """Reads raise ChainUnavailable where a chain does not answer."""

    def __init__(self, sides: Sides, store: JobStore, approvals: Approvals) -> None:
        self._sides = sides
        self._store = store
        self._approvals = approvals

    async def check(self, needs: Reservations) -> None:
        """Raises Declined when the needs are not covered, or a token's spending is not approved yet."""
        # In this order: what is freed in between counts twice, rather than not at all.
        held = await asyncio.gather(*(self._store.reserved(*key) for key in needs))
        funds = await self.funds(needs)
        for (key, units), reserved in zip(needs.items(), held, strict=True):
            if units > funds.balances[key] - reserved:
                raise Declined(reasons.ERROR_REASON_NO_QUOTES, "this solver holds too little of the output token")

    async def funds(self, needs: Reservations) -> Funds:
        """What is held of each needed token. Raises Declined for tokens not approved yet."""
        if not all(self._approvals.granted(*key) for key in needs):
            raise Declined(reasons.ERROR_REASON_NO_QUOTES, "this solver is not ready to pay the output token yet")
        frees = await self._store.frees()
        held = await asyncio.gather(*(self._balance(*key) for key in needs))
        return Funds(dict(zip(needs, held, strict=True)), frees)

    async def _balance(self, chain_id: ChainId, token: Address) -> int:
        side = self._sides.of(chain_id)
        if token == ZERO_ADDRESS:
            return max(0, await side.client.balance(side.solver) - GAS_RESERVE_WEI)
        return await Token(side.client, token).balance_of(side.solver)
