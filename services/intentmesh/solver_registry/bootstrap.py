"""The one place where the registry's dependencies are wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from intentmesh.chain.config import InvalidNetworkError, load_network
from intentmesh.rpc import server
from intentmesh.rpc.leases import LeasedTokens
from intentmesh.rpc.server import Service
from intentmesh.rpc.settings import SettingsError
from intentmesh.rpc.valkey import open_valkey
from intentmesh.solver_registry import metrics
from intentmesh.solver_registry.asking import SolverCaller, SolverChannels
from intentmesh.solver_registry.auctions import AuctionHouse
from intentmesh.solver_registry.budgets import SOLVER_HEARTBEATS, Budget, Budgets
from intentmesh.solver_registry.outcomes import Outcomes
from intentmesh.solver_registry.registration import Registration
from intentmesh.solver_registry.roster import Roster
from intentmesh.solver_registry.servicer import SolverRegistryServicer
from intentmesh.solver_registry.settings import RegistrySettings
from intentmesh.solver_registry.upkeep import Upkeep
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.v1.solver_registry_service_pb2_grpc import add_SolverRegistryServiceServicer_to_server

NAME = "solver_registry"
SERVICE = "intentmesh.v1.SolverRegistryService"


@asynccontextmanager
async def build(settings: RegistrySettings) -> AsyncIterator[Service]:
    """Everything the registry needs, closed again at the end."""
    if not settings.postgres_dsn or not settings.valkey_url:
        raise SettingsError("postgres_dsn and valkey_url: the registry needs both")
    chains_without_surplus = _chains_without_surplus(settings.network_file)
    await migrate(settings.postgres_dsn)
    metrics.start_at_zero((*Budget, SOLVER_HEARTBEATS))
    async with await open_pool(settings.postgres_dsn) as pool, open_valkey(settings.valkey_url) as valkey:
        channels = SolverChannels()
        caller = SolverCaller(channels, settings.quote_timeout_seconds, settings.auction_timeout_seconds)
        roster = Roster(settings.approved_solvers)
        budgets = Budgets(
            LeasedTokens(valkey), settings.limits(), settings.service_limits(), settings.solver_heartbeats()
        )
        registration = Registration(
            pool,
            caller,
            roster,
            budgets,
            window_seconds=settings.registration_window_seconds,
            strangers_kept=settings.unapproved_kept,
            strangers_kept_seconds=settings.unapproved_kept_seconds,
        )
        auctions = AuctionHouse(
            pool,
            caller,
            roster,
            heartbeat_window_seconds=settings.heartbeat_window_seconds,
            chains_without_surplus=chains_without_surplus,
            longest_fill_seconds=settings.longest_fill_seconds,
        )
        servicer = SolverRegistryServicer(
            pool,
            registration,
            auctions,
            Outcomes(pool),
            roster,
            budgets,
            heartbeat_interval_seconds=settings.heartbeat_interval_seconds,
        )
        upkeep = Upkeep(pool, channels, registration, roster, settings.refresh_seconds)

        def add(grpc_server: grpc.aio.Server) -> None:
            add_SolverRegistryServiceServicer_to_server(servicer, grpc_server)

        async def store_answers() -> None:
            await pool.fetchval("SELECT 1")

        try:
            yield Service(
                name=NAME,
                add=add,
                service_names=(SERVICE,),
                background=(upkeep.run,),
                checks={"store": store_answers},
                drain=(auctions.finish_running,),
                count_refused=servicer.count_refused,
            )
        finally:
            await channels.close()


def _chains_without_surplus(network_file: Path | None) -> frozenset[int]:
    if network_file is None:
        return frozenset()
    try:
        network = load_network(network_file)
    except InvalidNetworkError as error:
        raise SettingsError(f"network_file: {error}") from error
    return frozenset(chain.chain_id for chain in network.chains if not chain.output_settler_accepts_surplus)


def main() -> None:
    """Run the service until it is told to stop."""
    server.main(NAME, RegistrySettings, build)
