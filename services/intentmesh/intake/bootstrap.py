"""The one place where the intake's parts are wired."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
from redis.asyncio import Redis

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import InvalidNetworkError, NetworkConfig, load_network
from intentmesh.intake import answers
from intentmesh.intake.accept import Acceptor
from intentmesh.intake.admission import Admission
from intentmesh.intake.announce import Announcer
from intentmesh.intake.cancel import Canceller
from intentmesh.intake.checks.chain import ChainChecks
from intentmesh.intake.checks.pipeline import Pipeline
from intentmesh.intake.group_commit import GroupCommit
from intentmesh.intake.open_orders import OpenOrders
from intentmesh.intake.policy import Terms
from intentmesh.intake.policy_file import InvalidPolicyError, PolicyFile
from intentmesh.intake.rate_limits import RateLimiter
from intentmesh.intake.reading import Reader
from intentmesh.intake.retention import Retention
from intentmesh.intake.servicer import IntakeServicer
from intentmesh.intake.settings import IntakeSettings
from intentmesh.rpc import server
from intentmesh.rpc.leases import LeasedTokens
from intentmesh.rpc.metrics import start_intent_series_at_zero
from intentmesh.rpc.settings import SettingsError
from intentmesh.rpc.supervision import Work
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
    answers.start_error_series_at_zero()
    await migrate(settings.postgres_dsn)
    async with (
        ChainClients(network) as clients,
        await open_pool(settings.postgres_dsn, max_size=settings.postgres_pool_size, name="intake") as pool,
        await open_pool(
            settings.postgres_dsn,
            max_size=settings.list_pool_size,
            statement_timeout=settings.list_timeout_seconds,
            name="intake-lists",
        ) as lists,
        open_valkey(settings.valkey_url) as valkey,
        _announcing(valkey) as announcer,
        GroupCommit(pool, announcer) as writer,
    ):
        terms = settings.terms()
        limiter = RateLimiter(LeasedTokens(valkey), terms.limits, terms.service_limits)
        policy = _policy(settings, network, limiter)
        chain = ChainChecks(clients, settings.chain_checks())
        pipeline = Pipeline(network, policy.policy, chain)
        open_orders = OpenOrders(pool, seconds=settings.open_orders_cache_seconds)
        servicer = IntakeServicer(
            Admission(pipeline, Acceptor(pool, writer), open_orders, limiter),
            Canceller(pool, clients, chain, announcer),
            Reader(
                pool,
                lists,
                list_wait=settings.list_timeout_seconds,
                anonymous_lists=settings.anonymous_lists,
                delegations=lambda: policy.policy().delegations,
            ),
            limiter,
        )

        def add(target: grpc.aio.Server) -> None:
            add_IntakeServiceServicer_to_server(servicer, target)

        async def store_answers() -> None:
            await pool.fetchval("SELECT 1")

        background: list[Work] = []
        if settings.policy_file is not None:
            background.append(policy.watch)
        if settings.retention_days:
            background.append(Retention(pool, settings.retention()).run)

        yield server.Service(
            name="intake",
            add=add,
            service_names=(SERVICE_NAME,),
            background=tuple(background),
            checks={"store": store_answers, "writer": writer.check},
            count_refused=servicer.count_refused,
        )


@asynccontextmanager
async def _announcing(valkey: Redis) -> AsyncIterator[Announcer]:
    announcer = Announcer(HintPublisher(valkey))
    try:
        yield announcer
    finally:
        await announcer.drain()


def _policy(settings: IntakeSettings, network: NetworkConfig, limiter: RateLimiter) -> PolicyFile:
    def apply(terms: Terms) -> None:
        limiter.replace(terms.limits, terms.service_limits)

    try:
        return PolicyFile(settings.terms(), network, settings.policy_file, apply)
    except InvalidPolicyError as error:
        raise SettingsError(f"policy_file: {error}") from error


def _network(settings: IntakeSettings) -> NetworkConfig:
    try:
        return load_network(settings.network_file)
    except InvalidNetworkError as error:
        raise SettingsError(f"network_file: {error}") from error


def main() -> None:
    """Entry of the process: `intentmesh serve intake`."""
    server.main("intake", IntakeSettings, build)
