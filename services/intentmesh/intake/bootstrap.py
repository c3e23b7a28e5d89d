"""The one place where the intake's parts are wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import InvalidNetworkError, NetworkConfig, load_network
from intentmesh.intake.accept import Acceptor
from intentmesh.intake.admission import Admission
from intentmesh.intake.announce import Announcer
from intentmesh.intake.cancel import Canceller
from intentmesh.intake.checks.business import BusinessChecks
from intentmesh.intake.checks.chain import ChainChecks
from intentmesh.intake.checks.pipeline import Pipeline
from intentmesh.intake.rate_limits import RateLimiter
from intentmesh.intake.reading import Reader
from intentmesh.intake.servicer import IntakeServicer
from intentmesh.intake.settings import IntakeSettings
from intentmesh.rpc import server
from intentmesh.rpc.metrics import start_intent_series_at_zero
from intentmesh.rpc.settings import SettingsError
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store.hints import HintPublisher
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.v1.intake_service_pb2_grpc import add_IntakeServiceServicer_to_server

SERVICE_NAME = "intentmesh.v1.IntakeService"


@asynccontextmanager
async def build(settings: IntakeSettings) -> AsyncIterator[server.Service]:
    """The intake, connected. Raises SettingsError for a network file that cannot be used."""
    network = _network(settings)
    start_intent_series_at_zero()
    await migrate(settings.postgres_dsn)
    async with (
        ChainClients(network) as clients,
        await open_pool(settings.postgres_dsn, max_size=settings.postgres_pool_size, name="intake") as pool,
        open_valkey(settings.valkey_url) as valkey,
    ):
        announcer = Announcer(HintPublisher(valkey))
        chain = ChainChecks(clients, settings.chain_checks())
        acceptor = Acceptor(pool, announcer)
        pipeline = Pipeline(network, settings.policy(), BusinessChecks(pool), chain)
        servicer = IntakeServicer(
            Admission(pipeline, acceptor),
            Canceller(pool, clients, chain, announcer),
            Reader(pool, anonymous_lists=settings.anonymous_lists),
            RateLimiter(valkey, settings.limits(), settings.service_limits()),
        )

        def add(target: grpc.aio.Server) -> None:
            add_IntakeServiceServicer_to_server(servicer, target)

        async def store_answers() -> None:
            await pool.fetchval("SELECT 1")

        try:
            yield server.Service(name="intake", add=add, service_names=(SERVICE_NAME,), checks={"store": store_answers})
        finally:
            await announcer.drain()


def _network(settings: IntakeSettings) -> NetworkConfig:
    try:
        return load_network(settings.network_file)
    except InvalidNetworkError as error:
        raise SettingsError(f"network_file: {error}") from error


def main() -> None:
    """Entry of the process: `intentmesh serve intake`."""
    server.main("intake", IntakeSettings, build)
