"""Wires the solver: the one place where its dependencies are named."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import SystemRandom

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import InvalidNetworkError, NetworkConfig, load_network
from intentmesh.domain.types import ChainId
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.server import Service
from intentmesh.rpc.server import main as serve
from intentmesh.rpc.settings import SettingsError
from intentmesh.solver import metrics
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.appraisal import Appraiser, Policy
from intentmesh.solver.approvals import Approvals
from intentmesh.solver.attestations import ExecutorAttestations
from intentmesh.solver.awards import ExecutorAwards
from intentmesh.solver.bell import Bell
from intentmesh.solver.crew import Crew
from intentmesh.solver.desk import Desk
from intentmesh.solver.filling import Filler
from intentmesh.solver.finalising import Finaliser
from intentmesh.solver.inventory import Inventory
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.opening import Opener
from intentmesh.solver.prices import PriceList, Terms
from intentmesh.solver.proving import Prover
from intentmesh.solver.registration import Registration
from intentmesh.solver.runner import JobRunner, Limits
from intentmesh.solver.service import SolverServicer
from intentmesh.solver.settings import SolverSettings
from intentmesh.solver.sides import Side, Sides, poll_seconds
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.transactions.lease import LeaseTaken
from intentmesh.transactions.ledger import MIGRATIONS as LEDGER_MIGRATIONS
from intentmesh.transactions.ledger import SCHEMA as LEDGER_SCHEMA
from intentmesh.transactions.model import SenderSettings
from intentmesh.transactions.sender import TransactionSender
from intentmesh.transactions.signers import KeyUnavailableError, Signer, load_signer
from intentmesh.v1.solver_service_pb2_grpc import add_SolverServiceServicer_to_server

SERVICE_NAME = "intentmesh.v1.SolverService"
MIGRATIONS = "intentmesh.solver.migrations"
LEDGER_CONNECTIONS = 5
LEASE_RETRY_SECONDS = 1.0


@asynccontextmanager
async def build(settings: SolverSettings) -> AsyncIterator[Service]:
    """The solver as a service. Raises SettingsError for a setting that cannot work."""
    network = _network(settings)
    signer = _signer(settings)
    prices = PriceList(
        settings.prices,
        Terms(
            markup_bps=settings.markup_bps,
            gas_margin_usd=settings.gas_margin_usd,
            max_order_value_usd=settings.max_order_value_usd,
            surplus_share_bps=settings.surplus_share_bps,
        ),
    )
    random = SystemRandom()
    await migrate(settings.postgres_dsn, MIGRATIONS)
    async with AsyncExitStack() as stack:
        pool = await open_pool(settings.postgres_dsn)
        stack.push_async_callback(pool.close)
        clients = await stack.enter_async_context(ChainClients(network))
        sides = await _sides(settings, network, clients, signer, stack)
        # As any solver calls the mesh: with no token that would let it speak for others.
        executor = await stack.enter_async_context(open_channel(settings.executor_target))
        registry = await stack.enter_async_context(open_channel(settings.registry_target))

        store = JobStore(pool)
        achiever = Achiever(store)
        filler = Filler(achiever, settings.fill_lookback_blocks)
        bell = Bell()
        runner = JobRunner(
            store,
            sides,
            Opener(achiever),
            filler,
            Prover(achiever, ExecutorAttestations(executor)),
            Finaliser(achiever),
            bell,
            Limits(settings.max_tries, settings.fill_margin_seconds, settings.settle_margin_seconds),
            random,
        )
        crew = Crew(runner, store)
        approvals = Approvals(sides, achiever, random)
        appraiser = Appraiser(network, prices, _policy(settings), signer.address)
        inventory = Inventory(sides, store, approvals)
        desk = Desk(
            store,
            ExecutorAwards(executor, signer.address),
            appraiser,
            inventory,
            filler,
            sides,
            crew,
            bell,
            signer.address,
            settings.quote_validity_seconds,
        )
        registration = Registration(registry, signer, settings.advertised_endpoint, settings.solver_name, random)
        stack.push_async_callback(desk.close)
        await crew.resume()
        metrics.start_series_at_zero()
        yield Service(
            name="solver",
            add=partial(add_SolverServiceServicer_to_server, SolverServicer(desk, network, prices, signer.address)),
            service_names=(SERVICE_NAME,),
            background=(
                partial(_make_ready, sides, approvals, registration, register=settings.register_with_registry),
            ),
            checks={"store": store.check},
            drain=(desk.close,),
        )


def main() -> None:
    """Entry of `intentmesh serve solver`."""
    serve("solver", SolverSettings, build)


async def _make_ready(sides: Sides, approvals: Approvals, registration: Registration, *, register: bool) -> None:
    """Take up what was sent before, approve, and be known. Never returns, as background work must not."""
    async with asyncio.TaskGroup() as group:
        for side in sides:
            group.create_task(_recover(side), name=f"recovery on {side.config.name}")
        group.create_task(approvals.run(), name="approvals")
        if register:
            group.create_task(registration.run(), name="registration")
        group.create_task(asyncio.Event().wait(), name="for ever")


async def _recover(side: Side) -> None:
    """Transactions of an earlier run are seen through even where no job asks for them any more."""
    while True:
        try:
            await side.sender.recover()
        except LeaseTaken:
            # A killed process lets go when the database notices; until then nothing can be sent anyway.
            await asyncio.sleep(LEASE_RETRY_SECONDS)
        else:
            return


def _network(settings: SolverSettings) -> NetworkConfig:
    try:
        return load_network(settings.network_file)
    except InvalidNetworkError as error:
        raise SettingsError(f"network_file: {error}") from error


def _signer(settings: SolverSettings) -> Signer:
    try:
        return load_signer(settings.solver_key)
    except KeyUnavailableError as error:
        raise SettingsError(f"solver_key: {error}") from error


def _policy(settings: SolverSettings) -> Policy:
    return Policy(
        fill_seconds=settings.fill_seconds,
        fill_margin_seconds=settings.fill_margin_seconds,
        settle_margin_seconds=settings.settle_margin_seconds,
        serve_callbacks=settings.serve_callbacks,
    )


async def _sides(
    settings: SolverSettings, network: NetworkConfig, clients: ChainClients, signer: Signer, stack: AsyncExitStack
) -> Sides:
    """Every chain with a sender of its own; all share the ledger."""
    dsn = settings.transactions_dsn or settings.postgres_dsn
    await migrate(dsn, LEDGER_MIGRATIONS, LEDGER_SCHEMA)
    # Each sender keeps one connection for its signer's lease.
    ledger = await open_pool(dsn, max_size=len(network.chains) + LEDGER_CONNECTIONS, name="solver ledger")
    stack.push_async_callback(ledger.close)
    sides: dict[ChainId, Side] = {}
    for chain in network.chains:
        client = clients.of(chain.chain_id)
        pace = SenderSettings(poll_seconds=poll_seconds(chain))
        sender = TransactionSender(ledger, client, signer, pace)
        stack.push_async_callback(sender.close)
        sides[chain.chain_id] = Side(chain, client, sender, signer.address)
    return Sides(sides)
