"""Our contracts on real Anvil chains."""

import asyncio
from collections.abc import Sequence

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.tokens import Token
from intentmesh.domain.digests import PERMIT2
from intentmesh.domain.types import UINT256_MAX
from intentmesh.embedded.deployment import (
    DeploymentTerms,
    LocalChain,
    deploy_local_chains,
    local_accounts,
)

USER = local_accounts("user")[0].address
SOLVER = local_accounts("solver")[0].address


def as_local(network: NetworkConfig) -> Sequence[LocalChain]:
    return [LocalChain(chain.chain_id, chain.name, chain.rpc_urls[0], chain.ws_url) for chain in network.chains]


async def test_deployment__fresh_chains__everything_stands_and_is_funded(
    network: NetworkConfig, chain_clients: ChainClients
) -> None:
    for chain in network.chains:
        client = chain_clients.of(chain.chain_id)
        codes = await asyncio.gather(
            *(client.code(one) for one in (chain.input_settler, chain.output_settler, chain.oracle, chain.permit2))
        )
        assert all(codes)
        oracle = AttestedOracle(client)
        assert await oracle.threshold() == chain.attestation_threshold == 2
        assert [await oracle.is_attester(one.address) for one in local_accounts("attester")] == [True, True]
        assert not await oracle.is_attester(USER)
        usdc = Token(client, chain.tokens["USDC"].address)
        assert await usdc.balance_of(USER) == await usdc.balance_of(SOLVER) == 1_000_000 * 10**6
        assert await usdc.allowance(USER, PERMIT2) == UINT256_MAX
        assert await usdc.allowance(SOLVER, chain.output_settler) == UINT256_MAX


async def test_deployment__second_start__changes_nothing(network: NetworkConfig, chain_clients: ChainClients) -> None:
    before = [await client.head() for client in chain_clients.all.values()]
    configs = await deploy_local_chains(as_local(network), DeploymentTerms())
    assert configs == network.chains
    assert [await client.head() for client in chain_clients.all.values()] == before


async def test_deployment__two_chains__share_no_address(network: NetworkConfig) -> None:
    alpha, beta = network.chains
    ours = [
        (chain.input_settler, chain.output_settler, chain.oracle, *(t.address for t in chain.tokens.values()))
        for chain in (alpha, beta)
    ]
    assert not set(ours[0]) & set(ours[1])


async def test_permit2__code_placed__has_the_domain_of_its_chain(chain_clients: ChainClients) -> None:
    separators = [await Permit2(client).domain_separator() for client in chain_clients.all.values()]
    assert len(set(separators)) == 2


async def test_token_domain__as_the_token_tells__is_as_configured(
    network: NetworkConfig, chain_clients: ChainClients
) -> None:
    chain = network.chains[0]
    usdc = chain.tokens["USDC"]
    configured = await Token(chain_clients.of(chain.chain_id), usdc.address).domain()
    unconfigured = chain.model_copy(update={"tokens": {}})
    async with ChainClients(NetworkConfig(chains=(unconfigured,))) as clients:
        assert await Token(clients.of(chain.chain_id), usdc.address).domain() == configured
