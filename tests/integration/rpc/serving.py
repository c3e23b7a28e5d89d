"""A server of the real kind on free ports, with a servicer that each test makes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from intentmesh.rpc.server import Running, Service, serving
from intentmesh.rpc.settings import ServiceSettings
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer, add_StatusServiceServicer_to_server

INTENT_ID = "0x" + "ab" * 32
STATUS = "intentmesh.v1.StatusService"


def free_settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(
        **({"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "grace_seconds": 5.0} | values)
    )


@asynccontextmanager
async def status_server(
    servicer: StatusServiceServicer,
    add_more: Callable[[grpc.aio.Server], None] = lambda _: None,
    more: Any = None,
    **values: Any,
) -> AsyncIterator[Running]:
    def add(server: grpc.aio.Server) -> None:
        add_StatusServiceServicer_to_server(servicer, server)
        add_more(server)

    service = Service("status", add, (STATUS,), **(more or {}))
    async with serving(free_settings(**values), service) as running:
        yield running
