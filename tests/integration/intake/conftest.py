"""An intake as it is deployed, on real parts, and what tests need to talk to it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import grpc
import pytest
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import Address, format_address
from intentmesh.embedded.anvil import AnvilChain
from intentmesh.embedded.postgres import Dsn
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.valkey import ValkeyUrl
from intentmesh.intake.bootstrap import build
from intentmesh.intake.settings import IntakeSettings
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER
from intentmesh.rpc.server import serving
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentResult
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceStub

from tests.fixtures.networks import network_toml
from tests.fixtures.orders import USER

INTERNAL_TOKEN = "shown by the services of these tests"
MINING_SECONDS = 10.0
TABLES = ("intents", "intent_events", "executions", "request_ids")


@dataclass(frozen=True)
class Intake:
    """A running intake: its stub, its database, its network."""

    stub: IntakeServiceStub
    target: str
    database: "asyncpg.Connection[asyncpg.Record]"
    network: NetworkConfig

    async def rows(self, table: str = "intents") -> int:
        count: int = await self.database.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608 (a name of ours)
        return count

    async def is_empty(self) -> bool:
        return not any([await self.rows(table) for table in TABLES])


StartIntake = Callable[..., AbstractAsyncContextManager[Intake]]
Metadata = tuple[tuple[str, str], ...]


def principal(text: str) -> Metadata:
    """Metadata with which a service of the mesh vouches for a caller."""
    return ((TOKEN_HEADER, INTERNAL_TOKEN), (PRINCIPAL_HEADER, text))


async def refused(call: Awaitable[Any]) -> MeshError:
    """The error that the call must end with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() not in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)
    return mesh_error_from_rpc(caught.value)


async def results_of(call: Any, count: int) -> dict[int, SubmitIntentResult]:
    """The next results of a SubmitIntents call, by item; they come in any order and in any number of messages."""
    results: dict[int, SubmitIntentResult] = {}
    while len(results) < count:
        results |= {result.item_id: result for result in (await call.read()).results}
    assert len(results) == count
    return results


def reason_of(error: MeshError) -> str:
    return ErrorReason.Name(error.reason).removeprefix("ERROR_REASON_")


def violations_of(error: MeshError) -> set[tuple[str, str]]:
    return {(ErrorReason.Name(v.reason).removeprefix("ERROR_REASON_"), v.field) for v in error.violations}


async def send(chain: AnvilChain, to: Address, data: bytes, sender: Address = USER) -> None:
    """A transaction of one of the accounts that the local chain signs for; it is mined at once, and has to succeed."""
    message = {"from": format_address(sender), "to": format_address(to), "data": "0x" + data.hex()}
    transaction = await json_rpc(chain.port, "eth_sendTransaction", message)
    receipt = None
    async with asyncio.timeout(MINING_SECONDS):
        while receipt is None:
            receipt = await json_rpc(chain.port, "eth_getTransactionReceipt", transaction)
    assert receipt["status"] == "0x1"


@pytest.fixture
async def start_intake(
    fresh_database: Dsn, valkey_url: ValkeyUrl, network: NetworkConfig, tmp_path: Path
) -> StartIntake:
    """Starts an intake on the test's own database; settings by keyword replace the defaults."""

    @asynccontextmanager
    async def start(served: NetworkConfig = network, **changes: Any) -> AsyncIterator[Intake]:
        network_file = tmp_path / "network.toml"
        network_file.write_text(network_toml(served), encoding="utf-8")
        settings = IntakeSettings(
            **{
                "listen": "127.0.0.1:0",
                "metrics_listen": "127.0.0.1:0",
                "grace_seconds": 2.0,
                "internal_token": INTERNAL_TOKEN,
                "postgres_dsn": fresh_database,
                "valkey_url": valkey_url,
                "network_file": network_file,
                "funds_cache_seconds": 0.0,
            }
            | changes
        )
        database = await asyncpg.connect(fresh_database)
        try:
            async with (
                build(settings) as service,
                serving(settings, service) as running,
                grpc.aio.insecure_channel(running.target) as channel,
            ):
                yield Intake(IntakeServiceStub(channel), running.target, database, served)
        finally:
            await database.close()

    return start


@pytest.fixture
async def intake(start_intake: StartIntake) -> AsyncIterator[Intake]:
    """A running intake with default settings."""
    async with start_intake() as running:
        yield running
