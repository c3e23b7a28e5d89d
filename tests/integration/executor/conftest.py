"""The world of the executor's tests."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from intentmesh.attester import bootstrap as attester
from intentmesh.attester.settings import AttesterSettings
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import KeyReference, NetworkConfig
from intentmesh.chain.network_file import write_network
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import UINT256_MAX
from intentmesh.embedded.deployment import local_accounts
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.rpc.server import serving
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.v1 import solver_registry_service_pb2_grpc

from tests.fixtures.servers import LocalChains
from tests.integration.executor.world import INTERNAL_TOKEN, RIVAL, Hands, ScriptedRegistry, World


@pytest.fixture
async def world(
    fresh_database: str,
    valkey_url: str,
    network: NetworkConfig,
    chains: LocalChains,
    chain_clients: ChainClients,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
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
    hands = Hands(network, chain_clients, {chain.chain_id: chain.port for chain in chains.both})
    await hands.set_clocks()
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
        internal_token=INTERNAL_TOKEN,
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
    monkeypatch.setenv("EXECUTOR_KEY", local_accounts("executor")[0].private_key.hex())
    keys = (KeyReference(role="executor", key="env:EXECUTOR_KEY"),)
    async with AsyncExitStack() as stack:
        targets = await _attesters(stack, settings, network, tmp_path, monkeypatch)
        settings = settings.model_copy(update={"attester_targets": targets})
        yield World(pool, hands, registry, settings, network.model_copy(update={"keys": keys}), serve)
    for solver in registry.solvers:
        await solver.close()
    for server in servers:
        await server.stop(0)
    await pool.close()


async def _attesters(
    stack: AsyncExitStack,
    settings: ExecutorSettings,
    network: NetworkConfig,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, ...]:
    """The real attesters, each with its own key; a journal is told apart by its signer."""
    file = folder / "network.toml"
    write_network(file, network)
    targets = []
    for number, account in enumerate(local_accounts("attester")):
        monkeypatch.setenv(f"ATTESTER_KEY_{number}", account.private_key.hex())
        own = AttesterSettings(
            listen=settings.listen,
            metrics_listen=settings.metrics_listen,
            internal_token=settings.internal_token,
            postgres_dsn=settings.postgres_dsn,
            network_file=file,
            key=f"env:ATTESTER_KEY_{number}",
        )
        service = await stack.enter_async_context(attester.build(own))
        targets.append((await stack.enter_async_context(serving(own, service))).target)
    return tuple(targets)


async def _equip_rival(hands: Hands) -> None:
    for chain in hands.network.chains:
        for config in chain.tokens.values():
            token = Token(hands.clients.of(chain.chain_id), config.address)
            amount = 10_000 * 10**config.decimals
            await hands.send(chain.chain_id, RIVAL.address, token.address, token.encode_mint(RIVAL.address, amount))
            approval = token.encode_approve(chain.output_settler, UINT256_MAX)
            await hands.send(chain.chain_id, RIVAL.address, token.address, approval)
