"""Replicas of the status service on free ports, over one real store and Valkey."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.server import serving
from intentmesh.rpc.valkey import open_valkey
from intentmesh.status.bootstrap import build
from intentmesh.status.settings import StatusSettings
from intentmesh.store.hints import HintPublisher
from intentmesh.store.intents import Change
from intentmesh.store.pool import Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.status_service_pb2_grpc import StatusServiceStub

from tests.fixtures.intents import accepted_event, commit_change, new_intent, store_intent

DEADLINE_SECONDS = 15.0
# So that a reader that stops reading is noticed after kilobytes.
SMALL_WINDOWS = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536))
# Slow enough that whatever arrives sooner came by a hint.
NEVER_SECONDS = 3600.0


@dataclass
class Mesh:
    """The store, and the writer's side of hints."""

    postgres_dsn: str
    valkey_url: str
    pool: Pool
    hints: HintPublisher

    async def store(self, *, hint: bool = True, **values: Any) -> IntentRow:
        row = await store_intent(self.pool, **values)
        if hint:
            event = accepted_event(new_intent(intent_id=row.intent_id, user=row.user, created_at=row.created_at))
            await self.hints.publish([event])
        return row

    async def change(self, intent_id: IntentId, change: Change | None = None, *, hint: bool = True) -> IntentEvent:
        event = await commit_change(self.pool, intent_id, change)
        if hint:
            await self.hints.publish([event])
        return event

    @asynccontextmanager
    async def replica(self, **settings: Any) -> AsyncIterator[Any]:
        """A stub of a fresh replica."""
        async with self.replica_at(**settings) as (stub, _):
            yield stub

    @asynccontextmanager
    async def replica_at(self, **settings: Any) -> AsyncIterator[tuple[Any, str]]:
        """The same, with the replica's address."""
        values = {
            "listen": "127.0.0.1:0",
            "metrics_listen": "127.0.0.1:0",
            "postgres_dsn": self.postgres_dsn,
            "valkey_url": self.valkey_url,
            "anonymous_lists": True,
            "grace_seconds": 5.0,
            "postgres_pool_size": 4,
        }
        chosen = StatusSettings(**(values | settings))
        async with AsyncExitStack() as channels, build(chosen) as service, serving(chosen, service) as running:
            # Closed last, so that readers see how the server ends their streams.
            channel = await channels.enter_async_context(open_channel(running.target, options=SMALL_WINDOWS))
            yield StatusServiceStub(channel), running.target


@asynccontextmanager
async def open_mesh(postgres_dsn: str, valkey_url: str, pool: Pool) -> AsyncIterator[Mesh]:
    async with open_valkey(valkey_url) as valkey:
        yield Mesh(postgres_dsn, valkey_url, pool, HintPublisher(valkey))


class Reader:
    """Reads a stream with a deadline; knows what it has seen."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.events: list[IntentEvent] = []
        self.token = ""

    @property
    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events]

    @property
    def seen(self) -> list[tuple[str, int]]:
        return [(event.intent_id, event.sequence) for event in self.events]

    async def read(self) -> bool:
        """One message. False at the end. Raises the typed error of the stream."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise mesh_error_from_rpc(error) from None
        if message is grpc.aio.EOF:
            return False
        self.events.extend(message.events)
        self.token = getattr(message, "resume_token", "")
        return True

    async def until(self, enough: Callable[["Reader"], bool]) -> "Reader":
        while not enough(self):
            assert await self.read(), "the stream has ended too early"
        return self

    async def to_the_end(self) -> "Reader":
        while await self.read():
            pass
        return self

    async def failure(self) -> MeshError:
        try:
            await self.to_the_end()
        except MeshError as error:
            return error
        raise AssertionError("the stream has ended well")


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds that nothing tells of. Raises TimeoutError."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not await holds():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


def id_of(row: IntentRow) -> str:
    return format_intent_id(row.intent_id)
