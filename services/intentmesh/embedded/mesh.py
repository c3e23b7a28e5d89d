"""The whole mesh on one machine: real parts, the services as their containers would run them, one folder for all."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from intentmesh.chain.config import ChainConfig
from intentmesh.chain.network_file import write_network
from intentmesh.domain.types import format_address
from intentmesh.embedded import endpoints as endpoints_file
from intentmesh.embedded.anvil import AnvilChain
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.endpoints import (
    TOKEN_FILE,
    ChainEndpoint,
    ContractAddresses,
    Endpoints,
    ServiceEndpoints,
    TokenEndpoint,
)
from intentmesh.embedded.envoy import EnvoyGateway
from intentmesh.embedded.errors import EmbeddedError, PartFailedError
from intentmesh.embedded.gateway_config import PublicService
from intentmesh.embedded.network import (
    Network,
    deploy_on,
    make_local_chains,
    read_network,
)
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.ports import LOOPBACK
from intentmesh.embedded.postgres import PostgresServer
from intentmesh.embedded.server import ServerPart
from intentmesh.embedded.service import ServiceProcess
from intentmesh.embedded.valkey import ValkeyServer

# US dollars, for the reference solver; `intentmesh up --price` adds to them.
DEFAULT_PRICES = {"USDC": "1", "USDT": "1", "DAI": "1", "WETH": "2000"}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class MeshOptions:
    """What `intentmesh up` can be told."""

    data_dir: Path
    # None: two Anvil chains with our contracts.
    network_file: Path | None = None
    # Replicas of each service that takes calls or work from others; attesters and the solver have one key each.
    workers: int = 1
    gateway_port: int = 0
    prices: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_PRICES))


class Mesh:
    """Starts everything in order, writes `endpoints.json`, and stops everything in the reverse order.

    A second start on the same folder continues where it was. Raises an EmbeddedError or InvalidNetworkError on start.
    """

    def __init__(self, options: MeshOptions, progress: Progress = lambda _: None) -> None:
        self._options = options
        self._progress = progress
        self._folder = DataFolder(options.data_dir)
        self._stack = PartStack()
        self._endpoints: Endpoints | None = None
        self._parts: list[ServerPart] = []

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is; only after `start`."""
        if self._endpoints is None:
            raise RuntimeError("the mesh is not started")
        return self._endpoints

    @property
    def parts(self) -> tuple[ServerPart, ...]:
        """Every part that runs, by start order."""
        return tuple(self._parts)

    async def __aenter__(self) -> Self:
        self._folder.__enter__()
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def failed(self) -> PartFailedError:
        """Wait until a part cannot be kept running any more, and return why."""
        return await self._stack.failed()

    async def _start(self) -> None:
        endpoints_file.remove(self._folder.path)
        postgres, valkey = PostgresServer(self._folder), ValkeyServer(self._folder)
        chains = () if self._options.network_file else make_local_chains(self._folder)
        await self._start_parts("PostgreSQL, Valkey and the chains", postgres, valkey, *chains)
        network = await self._prepare_network(chains)
        services = _Services(self._folder, self._options, network, postgres, valkey)
        await services.create_databases()
        # In two steps: who registers or claims work finds its counterparts ready, and the log stays quiet.
        await self._start_parts("attesters, registry, status and intake", *services.first)
        await self._start_parts("executor and solver", *services.second)
        gateway = EnvoyGateway(self._folder, services.upstreams(), port=self._options.gateway_port)
        await self._start_parts("the gateway", gateway)
        self._endpoints = services.endpoints(gateway)
        endpoints_file.write(self._endpoints, self._folder.path)

    async def _start_parts(self, what: str, *parts: ServerPart) -> None:
        self._progress(f"starting {what}")
        await self._stack.start(*parts)
        self._parts += parts

    async def _prepare_network(self, chains: tuple[AnvilChain, ...]) -> Network:
        if self._options.network_file is not None:
            network = read_network(self._options.network_file)
        else:
            self._progress("deploying the contracts")
            network = await deploy_on(chains, self._folder)
        write_network(self._folder.path / "network.toml", network.config)
        return network

    async def _stop(self) -> None:
        endpoints_file.remove(self._folder.path)
        try:
            await self._stack.stop()
        finally:
            self._parts.clear()
            self._folder.__exit__(None, None, None)


class _Services:
    """The services of one mesh with the settings that tie them together."""

    def __init__(
        self,
        folder: DataFolder,
        options: MeshOptions,
        network: Network,
        postgres: PostgresServer,
        valkey: ValkeyServer,
    ) -> None:
        self._folder = folder
        self._network = network
        self._postgres = postgres
        self._valkey = valkey
        (solver_key, *more) = network.of_role("solver") or (None,)
        attester_keys = network.of_role("attester")
        if solver_key is None or more or not attester_keys:
            raise EmbeddedError(
                "the network file must refer to one key of role solver and at least one of role attester"
            )

        # What the solver gets as well: it is no part of the mesh, and has no token that would let it speak for others.
        outside = {"network_file": str(folder.path / "network.toml"), "trusted_proxies": LOOPBACK}
        common = {**outside, "internal_token_file": str(self._make_token())}
        shared = {**common, "postgres_dsn": postgres.dsn("intentmesh"), "valkey_url": valkey.url}
        without_chains = {key: value for key, value in shared.items() if key != "network_file"}
        self.attesters = [
            ServiceProcess(
                folder,
                "attester",
                {**common, "key": key.reference, "postgres_dsn": postgres.dsn(f"attester_{number}")},
                name=f"attester-{number}",
            )
            for number, key in enumerate(attester_keys, start=1)
        ]
        self.registries = self._replicas(
            "solver_registry",
            {**shared, "approved_solvers": "*"},
            options.workers,
        )
        self.statuses = self._replicas("status", without_chains, options.workers)
        self.intakes = self._replicas("intake", shared, options.workers)
        registry_target = _target(self.registries)
        self.executors = self._replicas(
            "executor",
            {
                **shared,
                "registry_target": registry_target,
                "attester_targets": ",".join(attester.address for attester in self.attesters),
            },
            options.workers,
        )
        self.solver = ServiceProcess(folder, "solver", {})
        self.solver.configure(
            {
                **outside,
                "postgres_dsn": postgres.dsn("solver"),
                "solver_key": solver_key.reference,
                "registry_target": registry_target,
                "executor_target": _target(self.executors),
                "advertised_endpoint": self.solver.address,
                "prices": ",".join(f"{symbol}={price}" for symbol, price in options.prices.items()),
                # It is alone here, so nobody makes it offer more than the order asks for.
                "surplus_share_bps": "0",
            }
        )

    @property
    def first(self) -> list[ServiceProcess]:
        """Those that need no other service."""
        return [*self.attesters, *self.registries, *self.statuses, *self.intakes]

    @property
    def second(self) -> list[ServiceProcess]:
        """Those that call the first."""
        return [*self.executors, self.solver]

    async def create_databases(self) -> None:
        """One for the mesh, one for each service that trusts nobody else's."""
        names = ["intentmesh", "solver", *(attester.name.replace("-", "_") for attester in self.attesters)]
        for name in names:
            await self._postgres.create_database(name)

    def upstreams(self) -> dict[PublicService, list[str]]:
        """What the gateway routes to."""
        return {
            PublicService.INTAKE: [replica.address for replica in self.intakes],
            PublicService.SOLVER_REGISTRY: [replica.address for replica in self.registries],
            PublicService.EXECUTOR: [replica.address for replica in self.executors],
            PublicService.STATUS: [replica.address for replica in self.statuses],
        }

    def endpoints(self, gateway: EnvoyGateway) -> Endpoints:
        """What `endpoints.json` says."""
        replicas = [*self.first, *self.second]
        return Endpoints(
            gateway=gateway.address,
            services=ServiceEndpoints(
                intake=self.intakes[0].address,
                solver_registry=self.registries[0].address,
                executor=self.executors[0].address,
                status=self.statuses[0].address,
                solver=self.solver.address,
                attesters=[attester.address for attester in self.attesters],
            ),
            metrics={**{one.name: one.metrics_url for one in replicas}, gateway.name: gateway.metrics_url},
            postgres_dsn=self._postgres.dsn("intentmesh"),
            valkey_url=self._valkey.url,
            chains=[_chain_endpoint(chain) for chain in self._network.config.chains],
            accounts=[key.account() for key in self._network.keys],
        )

    def _replicas(self, service: str, settings: Mapping[str, str], count: int) -> list[ServiceProcess]:
        return [
            ServiceProcess(self._folder, service, settings, name=service if number == 1 else f"{service}-{number}")
            for number in range(1, count + 1)
        ]

    def _make_token(self) -> Path:
        """The secret by which the services of this mesh know each other; anew on every start."""
        file = self._folder.part_folder("keys") / TOKEN_FILE
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(32), encoding="ascii")
        return file


def _target(replicas: list[ServiceProcess]) -> str:
    """A gRPC target over all replicas."""
    return "ipv4:" + ",".join(replica.address for replica in replicas)


def _chain_endpoint(chain: ChainConfig) -> ChainEndpoint:
    return ChainEndpoint(
        chain_id=chain.chain_id,
        name=chain.name,
        rpc_url=chain.rpc_urls[0],
        ws_url=chain.ws_url,
        contracts=ContractAddresses(
            input_settler=format_address(chain.input_settler),
            output_settler=format_address(chain.output_settler),
            oracle=format_address(chain.oracle),
            permit2=format_address(chain.permit2),
        ),
        tokens={
            symbol: TokenEndpoint(
                address=format_address(token.address),
                decimals=token.decimals,
                erc3009=token.erc3009.model_dump() if token.erc3009 is not None else None,
            )
            for symbol, token in chain.tokens.items()
        },
    )
