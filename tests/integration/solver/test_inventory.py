"""Tokens are promised once, whatever happens while they are counted."""

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import Address, ChainId
from intentmesh.solver.inventory import Inventory
from intentmesh.v1 import solver_service_pb2 as pb

from tests.integration.solver.test_others import RIVAL, send
from tests.integration.solver.world import ONE_WETH, SOLVER, SolverClient, fills, stages, swap

# What one order takes, and all that is there.
ORDER = ONE_WETH // 25
HELD = ORDER * 3 // 2


async def test_execute__another_job_pays_while_the_balance_is_read__does_not_spend_the_same_tokens(
    solver: SolverClient, network: NetworkConfig, chain_clients: ChainClients, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = swap(network, weth=ORDER), swap(network, weth=ORDER)
    awards = [await solver.award(signed) for signed in (first, second)]
    await leave_with(network, chain_clients, HELD)
    balance = Inventory._balance
    reads = 0

    async def slowly(self: Inventory, chain_id: ChainId, token: Address) -> int:
        nonlocal reads
        reads += 1
        is_first = reads == 1
        held = await balance(self, chain_id, token)
        if is_first:
            # Between the read and its use: the first job takes its tokens, pays, and holds nothing back any more.
            await solver.execute_until(awards[0], pb.EXECUTE_STAGE_FILLED)
        return held

    monkeypatch.setattr(Inventory, "_balance", slowly)
    updates = await solver.execute(awards[1])

    assert len(await fills(chain_clients, first)) == 1
    assert stages(updates) == ["RELEASED"]
    assert "too little" in updates[-1].message


async def leave_with(network: NetworkConfig, clients: ChainClients, units: int) -> None:
    """The solver gives away all its WETH of the first chain but so much."""
    chain = network.chains[0]
    client = clients.of(chain.chain_id)
    weth = Token(client, chain.tokens["WETH"].address)
    too_much = await weth.balance_of(SOLVER.address) - units
    await send(client, SOLVER, weth.address, weth.encode_transfer(RIVAL.address, too_much))
