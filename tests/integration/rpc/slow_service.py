"""A service as a process: one call that takes a moment, and a stream that tells when that call has begun."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from intentmesh.rpc.server import Service, main
from intentmesh.rpc.settings import ServiceSettings
from intentmesh.v1 import status_service_pb2
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer, add_StatusServiceServicer_to_server


class Slow(StatusServiceServicer):
    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        self.begun.set()
        await asyncio.sleep(0.5)
        return status_service_pb2.GetIntentStatusResponse(message="finished")

    async def WatchIntent(self, request, context):  # noqa: N802, ARG002
        yield status_service_pb2.WatchIntentResponse()
        await self.begun.wait()
        yield status_service_pb2.WatchIntentResponse()


@asynccontextmanager
async def build(settings: ServiceSettings) -> AsyncIterator[Service]:  # noqa: ARG001
    slow = Slow()
    yield Service(
        "slow", lambda server: add_StatusServiceServicer_to_server(slow, server), ("intentmesh.v1.StatusService",)
    )


if __name__ == "__main__":
    main("slow", ServiceSettings, build)
