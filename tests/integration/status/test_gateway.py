"""Through the gateway one connection to a replica carries everybody's watches."""

from dataclasses import replace
from pathlib import Path

from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.envoy import EnvoyGateway
from intentmesh.embedded.gateway_config import PublicService
from intentmesh.rpc.channels import open_channel
from intentmesh.status.metrics import STREAM_CLOSES
from intentmesh.v1.status_service_pb2 import WatchIntentRequest
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub

from tests.fixtures.intents import waiting
from tests.integration.status.replicas import Mesh, Reader, eventually, id_of
from tests.integration.status.stalling import stalling

# Together more than the gateway holds for one reader.
LARGE = "x" * 8_000
EVENTS = 400
# As many as would fill a connection's window of 1 MiB, and some more.
STALLED = 6
SETTINGS = {"write_timeout_seconds": 1.0, "max_message_bytes": 32_768, "last_word_seconds": 120.0}


async def test_watch__others_take_nothing_of_theirs__hears_of_changes_all_the_same(mesh: Mesh, tmp_path: Path) -> None:
    row, quiet = await mesh.store(), await mesh.store()
    large = replace(waiting(row.state), message=LARGE)
    for _ in range(EVENTS):
        await mesh.change(row.intent_id, large, hint=False)
    closes = STREAM_CLOSES.labels("WatchIntent", "SLOW_READER")._value
    before = closes.get()

    async def all_stalled() -> bool:
        return bool(closes.get() >= before + STALLED)

    async with mesh.replica_at(**SETTINGS) as (_, target):
        upstreams = {service: [target] for service in PublicService}
        # With one thread it has one connection.
        async with (
            EnvoyGateway(DataFolder(tmp_path), upstreams, threads=1) as gateway,
            open_channel(gateway.address) as channel,
            stalling(gateway.address) as staller,
        ):
            reader = Reader(StatusServiceStub(channel).WatchIntent(WatchIntentRequest(intent_id=id_of(quiet))))
            await reader.until(lambda r: len(r.events) == 1)
            for _ in range(STALLED):
                await staller.ask("WatchIntent", WatchIntentRequest(intent_id=id_of(row)))
            await eventually(all_stalled)
            await mesh.change(quiet.intent_id)
            await reader.until(lambda r: len(r.events) == 2)
            reader.call.cancel()
