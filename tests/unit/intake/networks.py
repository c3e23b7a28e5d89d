"""A network that exists on paper only."""

from intentmesh.chain.config import ChainConfig, Erc3009Domain, NetworkConfig, TokenConfig
from intentmesh.domain.types import Address, ChainId


def _address(number: int) -> Address:
    return Address(number.to_bytes(20, "big"))


def _chain(chain_id: int, name: str, base: int) -> ChainConfig:
    return ChainConfig(
        chain_id=ChainId(chain_id),
        name=name,
        rpc_urls=("http://127.0.0.1:1",),
        confirmations=2,
        max_reorg_depth=3,
        block_time_seconds=1.0,
        input_settler=_address(base + 1),
        output_settler=_address(base + 2),
        oracle=_address(base + 3),
        tokens={
            "USDC": TokenConfig(
                address=_address(base + 10), decimals=6, erc3009=Erc3009Domain(name="USD Coin", version="2")
            ),
            "WETH": TokenConfig(address=_address(base + 11), decimals=18),
        },
    )


ALPHA = _chain(31337, "alpha", 0xA0_00)
BETA = _chain(31338, "beta", 0xB0_00)
NETWORK = NetworkConfig(chains=(ALPHA, BETA))
