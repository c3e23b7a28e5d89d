"""Balances read from the chains: who holds how much of what."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from intentmesh.chain.client import ChainClient
from intentmesh.chain.config import ChainConfig
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import Address, format_address, parse_address
from intentmesh.embedded.endpoints import ChainEndpoint

NATIVE = "ETH"
NATIVE_DECIMALS = 18


@dataclass(frozen=True, slots=True)
class Holder:
    """Somebody with a balance; `name` is what a table calls them."""

    name: str
    address: Address


@dataclass(frozen=True, slots=True)
class Holding:
    """An amount in the token's smallest unit."""

    holder: Holder
    chain: str
    token: str
    amount: int
    decimals: int

    @property
    def address_text(self) -> str:
        """EIP-55."""
        return format_address(self.holder.address)


async def read_holdings(chains: Iterable[ChainEndpoint], holders: Sequence[Holder]) -> list[Holding]:
    """Every holder's balance of every token and of the native currency. Raises ChainUnavailable."""
    per_chain = await asyncio.gather(*(_on_chain(chain, holders) for chain in chains))
    return [holding for holdings in per_chain for holding in holdings]


async def _on_chain(chain: ChainEndpoint, holders: Sequence[Holder]) -> list[Holding]:
    client = ChainClient(_config(chain))
    try:
        holdings = []
        for holder in holders:
            for symbol, token in chain.tokens.items():
                amount = await Token(client, parse_address(token.address)).balance_of(holder.address)
                holdings.append(Holding(holder, chain.name, symbol, amount, token.decimals))
            native = await client.balance(holder.address)
            holdings.append(Holding(holder, chain.name, NATIVE, native, NATIVE_DECIMALS))
        return holdings
    finally:
        await client.close()


def _config(chain: ChainEndpoint) -> ChainConfig:
    return ChainConfig.model_validate(
        {
            "chain_id": chain.chain_id,
            "name": chain.name,
            "rpc_urls": (chain.rpc_url,),
            **chain.contracts.model_dump(),
        }
    )
