"""The parts around the intake, all real: PostgreSQL with durable commits, Valkey, a chain with contracts and funds."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import UINT256_MAX, Address, format_address
from intentmesh.embedded.anvil import AnvilChain, AnvilOptions, ChainId
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.deployment import DEPLOYER, DeploymentTerms, LocalChain, deploy_local_chains
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.ports import LOOPBACK, PortReservation
from intentmesh.embedded.postgres import PostgresServer
from intentmesh.embedded.probes import grpc_serving, json_rpc
from intentmesh.embedded.process import ChildProcess, ProcessSpec
from intentmesh.embedded.valkey import ValkeyServer
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER

from tests.benchmarks.results import pin
from tests.fixtures.networks import network_toml

TOKEN = "shown by the load of the benchmark"
CALLER = ((TOKEN_HEADER, TOKEN), (PRINCIPAL_HEADER, "service:benchmark"))
SERVER_CPU, OTHER_CPU = {0}, {1}
NATIVE_FUNDS_WEI = hex(10**21)
RICH = 10**30
# Settings of PostgreSQL that a database of this size is run with; commits stay durable. Whole pages go into the log as
# they are: its own compression (this build has no other) costs more of a core than the intents do.
POSTGRES = {"shared_buffers": "2GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@dataclass
class Server:
    """An intake of so many processes on one port."""

    target: str
    metrics_urls: tuple[str, ...]
    processes: list[psutil.Process] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        """User and system time of all of its processes so far."""
        times = [process.cpu_times() for process in self.processes]
        return sum(time.user + time.system for time in times)


@dataclass(frozen=True)
class World:
    """Started parts."""

    folder: DataFolder
    postgres: PostgresServer
    valkey: ValkeyServer
    network: NetworkConfig
    network_file: Path

    @asynccontextmanager
    async def intake(self, database: str, *, workers: int = 1, **settings: str) -> AsyncIterator[Server]:
        """Intake processes on one core, and nothing else on it."""
        dsn = await self.postgres.create_database(database)
        reservation = PortReservation()
        ports = [PortReservation() for _ in range(workers)]
        server = Server(reservation.address, tuple(f"http://{port.address}/metrics" for port in ports))
        children: list[ChildProcess] = []
        try:
            for number, metrics in enumerate(ports):
                environment = {
                    "listen": reservation.address,
                    "metrics_listen": metrics.address,
                    "reuse_port": "true",
                    "postgres_dsn": dsn,
                    "valkey_url": self.valkey.url,
                    "network_file": str(self.network_file),
                    "internal_token": TOKEN,
                    "max_connection_age_seconds": "3600",
                    # Balances are warm: they are read once and then kept for the whole run.
                    "funds_cache_seconds": "3600",
                    "code_cache_seconds": "3600",
                    "maximum_open_intents_per_user": "1000000",
                    **settings,
                }
                spec = ProcessSpec(
                    name=f"intake-{number}",
                    command=(sys.executable, "-m", "intentmesh.cli.main", "serve", "intake"),
                    log_file=self.folder.log_file(f"intake-{database}-{number}"),
                    environment={f"INTENTMESH_{key.upper()}": value for key, value in environment.items()},
                )
                child = ChildProcess.spawn(spec)
                children.append(child)
                server.processes.append(psutil.Process(child.pid))
                await _until_serving(reservation.address, metrics.address)
                pin(child.pid, SERVER_CPU)
            yield server
        finally:
            for child in children:
                await child.stop()
            for port in (reservation, *ports):
                port.release()


@asynccontextmanager
async def started(path: Path, users: Sequence[Address]) -> AsyncIterator[World]:
    """Everything but the intake, on the other core, with funds and allowances for the users."""
    os.sched_setaffinity(0, OTHER_CPU)
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(DataFolder(path))
        postgres = PostgresServer(folder, settings=POSTGRES)
        valkey = ValkeyServer(folder)
        chains = [
            AnvilChain(folder, name, AnvilOptions(ChainId(number)))
            for name, number in (("alpha", 31337), ("beta", 31338))
        ]
        parts = PartStack()
        stack.push_async_callback(parts.stop)
        await parts.start(postgres, valkey, *chains)
        local = [LocalChain(chain.chain_id, chain.name, chain.rpc_url, chain.ws_url) for chain in chains]
        network = NetworkConfig(chains=await deploy_local_chains(local, DeploymentTerms()))
        await _fund(network, chains[0], users)
        network_file = path / "network.toml"
        network_file.write_text(network_toml(network), encoding="utf-8")
        yield World(folder, postgres, valkey, network, network_file)


async def _fund(network: NetworkConfig, chain: AnvilChain, users: Sequence[Address]) -> None:
    """More than they can spend, and an allowance without end for Permit2."""
    config = network.chains[0]
    await json_rpc(chain.port, "anvil_autoImpersonateAccount", True)
    async with ChainClients(network) as clients:
        token = Token(clients.of(config.chain_id), config.tokens["USDC"].address)
        sends = []
        for user in users:
            await json_rpc(chain.port, "anvil_setBalance", format_address(user), NATIVE_FUNDS_WEI)
            sends.append((DEPLOYER, token.encode_mint(user, RICH)))
            sends.append((user, token.encode_approve(config.permit2, UINT256_MAX)))
        await json_rpc(chain.port, "evm_setAutomine", False)
        for sender, data in sends:
            message = {
                "from": format_address(sender),
                "to": format_address(token.address),
                "data": "0x" + data.hex(),
                "gas": hex(120_000),
            }
            await json_rpc(chain.port, "eth_sendTransaction", message)
        for _ in range(len(sends) // 100 + 2):
            await json_rpc(chain.port, "evm_mine")
        await json_rpc(chain.port, "evm_setAutomine", True)
        for user in (users[0], users[-1]):
            if await token.balance_of(user) < RICH or await token.allowance(user, config.permit2) < RICH:
                raise RuntimeError("the users of the benchmark got no funds")


async def _until_serving(address: str, metrics_address: str) -> None:
    """Each worker by its own metrics port, since they share the other."""
    serving = grpc_serving(address)
    host, port = metrics_address.split(":")
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
                writer.close()
                if await serving():
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)


__all__ = ["CALLER", "LOOPBACK", "Server", "World", "started"]
