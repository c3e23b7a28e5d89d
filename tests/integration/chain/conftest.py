"""Sends from Anvil's own accounts: the bindings are tested without the sender."""

import asyncio
from dataclasses import dataclass

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import ChainConfig
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.chain.records import Receipt, TransactionHash
from intentmesh.domain.types import Address, ChainId, format_address
from intentmesh.embedded.deployment import local_accounts
from intentmesh.embedded.probes import json_rpc

from tests.fixtures.servers import LocalChains

SOLVER = local_accounts("solver")[0].address
INCLUSION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Hands:
    """Acts on both chains; each transaction mines a block."""

    chains: LocalChains
    clients: ChainClients

    async def rpc(self, chain: ChainConfig, method: str, *params: object) -> object:
        anvil = next(one for one in self.chains.both if one.chain_id == chain.chain_id)
        return await json_rpc(anvil.port, method, *params)

    async def send(self, chain: ChainConfig, to: Address, data: bytes, sender: Address = SOLVER) -> Receipt:
        message = {
            "from": format_address(sender),
            "to": format_address(to),
            "data": "0x" + data.hex(),
            "gas": "0x4c4b40",
        }
        sent = await self.rpc(chain, "eth_sendTransaction", message)
        transaction_hash = TransactionHash(bytes.fromhex(str(sent)[2:]))
        client = self.clients.of(chain.chain_id)
        async with asyncio.timeout(INCLUSION_SECONDS):
            # Anvil mines a moment after it has answered.
            while (receipt := await client.receipt(transaction_hash)) is None:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.005)
        assert receipt.succeeded
        return receipt

    async def mine(self, chain: ChainConfig, blocks: int = 1) -> None:
        await self.rpc(chain, "anvil_mine", hex(blocks))

    async def warp(self, chain: ChainConfig, timestamp: int) -> None:
        await self.rpc(chain, "evm_setNextBlockTimestamp", hex(timestamp))
        await self.mine(chain)

    def input_settler(self, chain_id: ChainId) -> InputSettler:
        return InputSettler(self.clients.of(chain_id))

    def output_settler(self, chain_id: ChainId) -> OutputSettler:
        return OutputSettler(self.clients.of(chain_id))


@pytest.fixture
def hands(chains: LocalChains, chain_clients: ChainClients) -> Hands:
    return Hands(chains, chain_clients)
