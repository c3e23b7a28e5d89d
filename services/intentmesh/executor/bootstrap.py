"""The one place where the executor's dependencies are wired."""

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from random import SystemRandom

import grpc

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import InvalidNetworkError, NetworkConfig, load_network
from intentmesh.domain.types import ChainId
from intentmesh.executor.alerts import Alerts
from intentmesh.executor.attestation import AttestationCollector, OracleMembers
from intentmesh.executor.auction import AuctionStep
from intentmesh.executor.award import AwardPolicy, AwardStep
from intentmesh.executor.claims import Claims
from intentmesh.executor.gateway import OWN_CONNECTION, Attesters, Registry, Solvers
from intentmesh.executor.gather import Gatherer
from intentmesh.executor.journal import Journal
from intentmesh.executor.machine import Machine, Pace, Steps
from intentmesh.executor.observe import Observer
from intentmesh.executor.refund import RefundStep
from intentmesh.executor.reporting import Reporter
from intentmesh.executor.servicer import ExecutorServicer
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.executor.slots import SlotLimits
from intentmesh.executor.worker import Worker, WorkerLimits
from intentmesh.rpc import metrics, server
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.server import Service
from intentmesh.rpc.settings import SettingsError
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store.hints import HintPublisher, HintSubscriber
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.transactions.sender import TransactionSender
from intentmesh.transactions.signers import KeyUnavailableError, load_signer
from intentmesh.v1.executor_service_pb2_grpc import add_ExecutorServiceServicer_to_server

NAME = "executor"
SERVICE = "intentmesh.v1.ExecutorService"

_POOL_SIZE = 16
_TRANSACTIONS_PACKAGE = "intentmesh.transactions.migrations"
_TRANSACTIONS_SCHEMA = "transactions"


@asynccontextmanager
async def build(settings: ExecutorSettings) -> AsyncIterator[Service]:
    """Everything the executor needs, closed again at the end."""
    async with assemble(settings, _network(settings)) as service:
        yield service


@asynccontextmanager
async def assemble(settings: ExecutorSettings, network: NetworkConfig) -> AsyncIterator[Service]:
    """As `build`, with the network already read."""
    _require(settings)
    async with AsyncExitStack() as stack:
        await migrate(settings.postgres_dsn)
        pool = await open_pool(settings.postgres_dsn, max_size=_POOL_SIZE, name=NAME)
        stack.push_async_callback(pool.close)
        valkey = open_valkey(settings.valkey_url)
        stack.push_async_callback(valkey.aclose)
        clients = await stack.enter_async_context(ChainClients(network))

        def channel(target: str) -> grpc.aio.Channel:
            return open_channel(
                target,
                principal=Principal(PrincipalKind.EXECUTOR, settings.worker_name),
                internal_token=settings.internal_token,
            )

        def foreign_channel(target: str) -> grpc.aio.Channel:
            # Anybody may be a solver: it learns nothing that would let it speak for us.
            return open_channel(target, options=OWN_CONNECTION)

        registry_channel = channel(settings.registry_target)
        stack.push_async_callback(registry_channel.close)
        attester_channels = [channel(target) for target in settings.attester_targets]
        for attester_channel in attester_channels:
            stack.push_async_callback(attester_channel.close)

        registry = Registry(registry_channel, settings.call_timeout_seconds, settings.auction_timeout_seconds)
        solvers = Solvers(registry, foreign_channel, time.monotonic)
        stack.push_async_callback(solvers.close)
        alerts = Alerts(settings.alert_webhook_url, settings.alert_repeat_seconds, time.time)
        senders = await _senders(settings, network, clients, stack)

        gatherer = Gatherer(clients, time.monotonic)
        journal = Journal(pool, HintPublisher(valkey), time.time)
        observer = Observer(gatherer, clients, journal, alerts, time.time, settings.settlement_margin_seconds)
        random = SystemRandom()
        steps = Steps(
            journal=journal,
            observer=observer,
            auction=AuctionStep(
                registry,
                observer,
                journal,
                time.time,
                random,
                retry_base_seconds=settings.auction_retry_base_seconds,
                retry_cap_seconds=settings.auction_retry_cap_seconds,
                longest_seconds=settings.reconcile_seconds,
            ),
            award=AwardStep(
                gatherer,
                journal,
                alerts,
                time.time,
                random,
                AwardPolicy(settings.retry_policy(), settings.max_awards),
            ),
            attestations=AttestationCollector(
                Attesters(attester_channels, settings.call_timeout_seconds), network, OracleMembers(clients)
            ),
            refund=RefundStep(senders, clients, alerts, time.time),
            reporter=Reporter(registry, journal, alerts),
            solvers=solvers,
        )
        pace = Pace(settings.chain_poll_seconds, settings.reconcile_seconds, settings.least_seconds)
        worker = Worker(
            Claims(pool, settings.worker_name, time.time),
            Machine(steps, pace, time.time),
            WorkerLimits(
                SlotLimits(settings.concurrency, settings.max_waiting),
                settings.claim_batch,
                settings.lease_seconds,
                settings.claim_poll_seconds,
            ),
            HintSubscriber(valkey).listen,
        )
        stack.push_async_callback(worker.close)
        servicer = ExecutorServicer(pool, network)
        metrics.start_intent_series_at_zero()
        metrics.INTENTS_HELD.labels("working").set_function(lambda: worker.working)
        metrics.INTENTS_HELD.labels("waiting").set_function(lambda: worker.waiting)

        def add(grpc_server: grpc.aio.Server) -> None:
            add_ExecutorServiceServicer_to_server(servicer, grpc_server)

        async def store_answers() -> None:
            await pool.fetchval("SELECT 1")

        yield Service(
            name=NAME,
            add=add,
            service_names=(SERVICE,),
            background=(worker.claim_forever, worker.renew_forever, worker.listen_forever, alerts.send_forever),
            checks={"store": store_answers},
            drain=(worker.drain,),
        )


def main() -> None:
    """Run the service until it is told to stop."""
    server.main(NAME, ExecutorSettings, build)


def _require(settings: ExecutorSettings) -> None:
    if not settings.postgres_dsn:
        raise SettingsError("postgres_dsn: the executor needs a database")
    if not settings.valkey_url:
        raise SettingsError("valkey_url: the executor needs Valkey for its hints")


def _network(settings: ExecutorSettings) -> NetworkConfig:
    try:
        network = load_network(settings.network_file)
    except InvalidNetworkError as error:
        raise SettingsError(f"network_file: {error}") from error
    most = max(chain.attestation_threshold for chain in network.chains)
    if len(settings.attester_targets) < most:
        raise SettingsError(f"attester_targets: {most} signatures are needed, {len(settings.attester_targets)} named")
    return network


async def _senders(
    settings: ExecutorSettings, network: NetworkConfig, clients: ChainClients, stack: AsyncExitStack
) -> Mapping[ChainId, TransactionSender]:
    """One sender per chain, if the network file names a key for the executor."""
    references = network.key_references("executor")
    if not references:
        return {}
    try:
        signer = load_signer(references[0])
    except KeyUnavailableError as error:
        raise SettingsError(f"network_file: key of role executor: {error}") from error
    dsn = settings.transactions_dsn or settings.postgres_dsn
    await migrate(dsn, _TRANSACTIONS_PACKAGE, _TRANSACTIONS_SCHEMA)
    # Each sender holds a connection for its lease.
    pool = await open_pool(
        dsn, max_size=2 * len(network.chains) + 2, name=f"{NAME}-transactions", schema=_TRANSACTIONS_SCHEMA
    )
    stack.push_async_callback(pool.close)
    senders = {}
    for chain in network.chains:
        sender = TransactionSender(pool, clients.of(chain.chain_id), signer)
        stack.push_async_callback(sender.close)
        senders[chain.chain_id] = sender
    return senders
