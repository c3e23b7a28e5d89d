"""Lets the output settlers take the solver's tokens; done once, at start, for every token it may pay with."""

import asyncio
from random import Random
from typing import Final

import structlog

from intentmesh.chain.tokens import Token
from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import UINT256_MAX, ZERO_ADDRESS, Address, ChainId, format_address
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.calls import Call
from intentmesh.solver.outcomes import NotYet, TryFailed
from intentmesh.solver.sides import Side, Sides

_log = structlog.get_logger(__name__)

# Below this an allowance is renewed: some tokens count down even the largest one.
ENOUGH: Final = UINT256_MAX // 2
RETRY_BASE_SECONDS: Final = 0.5
RETRY_CAP_SECONDS: Final = 30.0


class Approvals:
    """Knows which tokens can be paid with. The native currency needs no approval."""

    def __init__(self, sides: Sides, achiever: Achiever, random: Random) -> None:
        self._sides = sides
        self._achiever = achiever
        self._random = random
        self._granted: set[tuple[ChainId, Address]] = set()

    def granted(self, chain_id: ChainId, token: Address) -> bool:
        """Whether the output settler of the chain may take this token from the solver."""
        return token == ZERO_ADDRESS or (chain_id, token) in self._granted

    @property
    def complete(self) -> bool:
        """Whether every configured token of every chain can be paid with."""
        return all(self.granted(side.chain_id, token) for side in self._sides for token in _tokens(side))

    async def run(self) -> None:
        """Approve all tokens of all chains; a chain that does not answer is tried again for ever."""
        await asyncio.gather(*(self._approve_all(side) for side in self._sides))

    async def _approve_all(self, side: Side) -> None:
        for token in _tokens(side):
            attempt = 0
            while not self.granted(side.chain_id, token):
                try:
                    await self._approve(side, token)
                except (MeshError, TryFailed, NotYet) as error:
                    attempt += 1
                    _log.warning("approval_set_back", chain=side.config.name, token=token.hex(), error=str(error))
                    await asyncio.sleep(full_jitter(attempt, RETRY_BASE_SECONDS, RETRY_CAP_SECONDS, self._random))

    async def _approve(self, side: Side, address: Address) -> None:
        token = Token(side.client, address)
        settler = side.config.output_settler

        async def look() -> bool | None:
            return True if await token.allowance(side.solver, settler) >= ENOUGH else None

        async def call() -> Call:
            return Call(address, token.encode_approve(settler, UINT256_MAX))

        step = f"{side.chain_id}/{format_address(settler)}/{format_address(address)}:approve"
        await self._achiever.achieve(step, side, look, call)
        self._granted.add((side.chain_id, address))


def _tokens(side: Side) -> list[Address]:
    return [token.address for token in side.config.tokens.values() if token.address != ZERO_ADDRESS]
