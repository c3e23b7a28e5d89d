"""Where the attester's parts are put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog

from intentmesh.attester.attestation import Attestor
from intentmesh.attester.journal import MIGRATIONS, SCHEMA, Journal
from intentmesh.attester.service import AttesterHandler
from intentmesh.attester.settings import AttesterSettings
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import InvalidNetworkError, load_network
from intentmesh.domain.types import format_address
from intentmesh.rpc import server
from intentmesh.rpc.settings import SettingsError
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.transactions.signers import KeyUnavailableError, load_signer
from intentmesh.v1.attester_service_pb2_grpc import add_AttesterServiceServicer_to_server

NAME = "attester"
SERVICE = "intentmesh.v1.AttesterService"

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def build(settings: AttesterSettings) -> AsyncIterator[server.Service]:
    """The attester, ready to serve. Raises SettingsError."""
    if not settings.postgres_dsn:
        raise SettingsError("postgres_dsn: the attester needs a database of its own for its journal")
    try:
        network = load_network(settings.network_file)
        signer = load_signer(settings.key)
    except (InvalidNetworkError, KeyUnavailableError) as error:
        raise SettingsError(str(error)) from error
    await migrate(settings.postgres_dsn, MIGRATIONS, SCHEMA)
    pool = await open_pool(settings.postgres_dsn, name=NAME)
    async with pool, ChainClients(network) as clients:
        journal = Journal(pool, signer.address)
        attestor = Attestor(network, clients, signer, journal)
        handler = AttesterHandler(attestor, journal, settings.allowed_callers)
        _log.info("attester_ready", attester=format_address(signer.address))

        def add(target: grpc.aio.Server) -> None:
            add_AttesterServiceServicer_to_server(handler, target)

        yield server.Service(name=NAME, add=add, service_names=(SERVICE,), checks={"journal": journal.check})


def main() -> None:
    """Entry of the attester's process."""
    server.main(NAME, AttesterSettings, build)
