"""The world of the executor's tests."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import UINT256_MAX
from intentmesh.embedded.deployment import local_accounts
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.v1 import attester_service_pb2_grpc, solver_registry_service_pb2_grpc

from tests.fixtures.servers import LocalChains
from tests.integration.executor.world import RIVAL, Hands, ScriptedAttester, ScriptedRegistry, World


@pytest.fixture
async def world(
    fresh_database: str, valkey_url: str, network: NetworkConfig, chains: LocalChains, chain_clients: ChainClients
) -> AsyncIterator[World]:
    """A registry and attesters that listen, an empty store, and no executor yet."""
    servers: list[grpc.aio.Server] = []

    async def serve(add: Callable[[grpc.aio.Server], None]) -> str:
        server = grpc.aio.server()
        add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    registry = ScriptedRegistry()
    registry_target = await serve(
        lambda server: solver_registry_service_pb2_grpc.add_SolverRegistryServiceServicer_to_server(registry, server)
    )
    attesters = [ScriptedAttester(account, chain_clients) for account in local_accounts("attester")]
    attester_targets = [
        await serve(
            lambda server, one=one: attester_service_pb2_grpc.add_AttesterServiceServicer_to_server(one, server)
        )
        for one in attesters
    ]
    hands = Hands(network, chain_clients, {chain.chain_id: chain.port for chain in chains.both})
    await _equip_rival(hands)
    await migrate(fresh_database)
    pool = await open_pool(fresh_database)
    settings = ExecutorSettings(
        listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        postgres_dsn=fresh_database,
        valkey_url=valkey_url,
        network_file=Path("unused.toml"),
        registry_target=registry_target,
        attester_targets=tuple(attester_targets),
        grace_seconds=5.0,
        chain_poll_seconds=0.1,
        claim_poll_seconds=0.1,
        auction_retry_base_seconds=0.3,
        auction_retry_cap_seconds=0.6,
        retry_base_seconds=0.1,
        retry_cap_seconds=0.3,
        failover_grace_seconds=0.5,
        least_seconds=0.5,
        reconcile_seconds=1.0,
    )
    yield World(pool, hands, registry, settings, network, serve)
    for solver in registry.solvers:
        await solver.close()
    for server in servers:
        await server.stop(0)
    await pool.close()


async def _equip_rival(hands: Hands) -> None:
    for chain in hands.network.chains:
        for config in chain.tokens.values():
            token = Token(hands.clients.of(chain.chain_id), config.address)
            amount = 10_000 * 10**config.decimals
            await hands.send(chain.chain_id, RIVAL.address, token.address, token.encode_mint(RIVAL.address, amount))
            approval = token.encode_approve(chain.output_settler, UINT256_MAX)
            await hands.send(chain.chain_id, RIVAL.address, token.address, approval)
