"""Servers that stand where the services of the mesh would and tell what reached them through the gateway.

They know the mesh's method names and nothing of its messages: what they answer is what they were sent, and the trailing
metadata say who answered and what the request carried.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Self

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from intentmesh.embedded.ports import PortReservation
from intentmesh.v1 import (
    executor_service_pb2,
    intake_service_pb2,
    solver_registry_service_pb2,
    status_service_pb2,
)

PUBLIC_NAMES = tuple(
    module.DESCRIPTOR.services_by_name[name].full_name
    for module, name in (
        (intake_service_pb2, "IntakeService"),
        (solver_registry_service_pb2, "SolverRegistryService"),
        (executor_service_pb2, "ExecutorService"),
        (status_service_pb2, "StatusService"),
    )
)
Context = grpc.aio.ServicerContext[bytes, bytes]


class EchoServer:
    """One such server. `unavailable_next` makes that many of the coming calls fail as a replica that goes away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: list[str] = []
        self.unavailable_next = 0
        self.stuck = False
        self.hold = asyncio.Event()
        self._reservation = PortReservation()
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return self._reservation.address

    async def start(self) -> None:
        self._server = server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Echo(self),))
        servicer = health.aio.HealthServicer()
        await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        reflection.enable_server_reflection(
            (*PUBLIC_NAMES, reflection.SERVICE_NAME, health.SERVICE_NAME), server, pool=descriptor_pool.Default()
        )
        server.add_insecure_port(self.address)
        await server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        self._reservation.release()

    async def unary(self, request: bytes, context: Context) -> bytes:
        await self._arrived(context)
        if self.stuck:
            await self.hold.wait()
        return request

    async def stream(self, requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        await self._arrived(context)
        async for request in requests:
            yield request

    async def _arrived(self, context: Context) -> None:
        metadata = [(key, str(value)) for key, value in context.invocation_metadata() or ()]
        self.calls.append(dict(metadata).get("method", ""))
        seen = [(f"seen-{key}", value) for key, value in metadata if not key.endswith("-bin")]
        context.set_trailing_metadata((("answered-by", self.name), *seen))
        if self.unavailable_next > 0:
            self.unavailable_next -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this replica goes away")


class _Echo(grpc.GenericRpcHandler):
    def __init__(self, server: EchoServer) -> None:
        self._server = server

    def service(self, handler_call_details: Any) -> Any:
        method = handler_call_details.method
        if not method.startswith("/intentmesh.v1."):
            return None
        if "Watch" in method or method.endswith("/SubmitIntents"):
            return grpc.stream_stream_rpc_method_handler(self._server.stream)
        return grpc.unary_unary_rpc_method_handler(self._server.unary)
