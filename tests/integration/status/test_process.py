"""The service as a process: configured by its environment, ended by SIGTERM with its streams."""

import asyncio
import os
import signal
import sys

from intentmesh.rpc.channels import open_channel
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub

from tests.integration.status.replicas import DEADLINE_SECONDS, Mesh, Reader


async def test_process__sigterm_with_a_stream_open__ends_it_as_planned_and_itself_well(mesh: Mesh) -> None:
    environment = os.environ | {
        "INTENTMESH_LISTEN": "127.0.0.1:0",
        "INTENTMESH_METRICS_LISTEN": "127.0.0.1:0",
        "INTENTMESH_POSTGRES_DSN": mesh.postgres_dsn,
        "INTENTMESH_VALKEY_URL": mesh.valkey_url,
        "INTENTMESH_ANONYMOUS_LISTS": "true",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from intentmesh.status.bootstrap import main; main()"),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            ready = (await process.stdout.readline()).decode()
        target = ready.split("grpc=")[1].split()[0]
        async with open_channel(target) as channel:
            reader = Reader(StatusServiceStub(channel).WatchIntents(WatchIntentsRequest(from_start=True)))
            await mesh.store()
            await reader.until(lambda r: len(r.events) == 1)
            process.send_signal(signal.SIGTERM)
            failure = await reader.failure()
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert failure.reason == ErrorReason.ERROR_REASON_STREAM_CLOSED
    assert failure.metadata["resume_token"] == reader.token
