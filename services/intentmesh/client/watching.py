"""Watches that outlive their streams: resumed after every break, without a gap and without a duplicate."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from intentmesh.client.retry import RetryPolicy
from intentmesh.domain.errors import MeshError, ResourceExhausted, Unavailable
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.status_service_pb2 import (
    WatchEnd,
    WatchIntentRequest,
    WatchIntentResponse,
    WatchIntentsRequest,
    WatchIntentsResponse,
)

if TYPE_CHECKING:  # a class of the type stubs only
    from intentmesh.v1.status_service_pb2_grpc import StatusServiceAsyncStub

HEARTBEAT_SECONDS = 15.0
"""The service promises a message at least this often."""
MISSED_HEARTBEATS = 2


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """How long silence and repeated failure are borne. `attempts` counts breaks in a row, without a message between."""

    silence_seconds: float = HEARTBEAT_SECONDS * MISSED_HEARTBEATS
    attempts: int = 20
    retry: RetryPolicy = field(default_factory=RetryPolicy)


class WatchGapError(MeshError):
    """The service broke its promise: an event is missing from the stream. A bug of the service."""


async def watch_intent(
    stub: "StatusServiceAsyncStub", policy: WatchPolicy, intent_id: str, after: int, end: "WatchEnd.ValueType"
) -> AsyncGenerator[IntentEvent, None]:
    """Events of one intent after sequence `after`, each exactly once and in order, until the watch has told all."""
    seen = after

    def start() -> Any:
        return stub.WatchIntent(WatchIntentRequest(intent_id=intent_id, after_sequence=seen, end=end))

    async with aclosing(_resumed(start, policy)) as messages:
        message: WatchIntentResponse
        async for message in messages:
            for event in message.events:
                if event.sequence <= seen:
                    continue
                if event.sequence != seen + 1:
                    raise WatchGapError(f"event {seen + 1} of {intent_id} is missing from the stream")
                seen = event.sequence
                yield event


async def watch_all(
    stub: "StatusServiceAsyncStub", policy: WatchPolicy, request: WatchIntentsRequest
) -> AsyncGenerator[WatchIntentsResponse, None]:
    """Messages of a watch over many intents; a break resumes right after the last message that was yielded."""
    token = request.resume_token

    def start() -> Any:
        resumed = WatchIntentsRequest()
        resumed.CopyFrom(request)
        resumed.resume_token = token
        if token:
            resumed.from_start = False
        return stub.WatchIntents(resumed)

    async with aclosing(_resumed(start, policy)) as messages:
        message: WatchIntentsResponse
        async for message in messages:
            yield message
            token = message.resume_token or token


async def _resumed(start: Callable[[], Any], policy: WatchPolicy) -> AsyncGenerator[Any, None]:
    """Messages of one stream after the other, until one ends well. Raises MeshError where resuming does not help."""
    failures = 0
    while True:
        call = start()
        try:
            while True:
                message = await _read(call, policy.silence_seconds)
                if message is grpc.aio.EOF:
                    return
                failures = 0
                yield message
        except (grpc.aio.AioRpcError, TimeoutError) as error:
            broken = _as_mesh_error(error)
            failures += 1
            if not _is_worth_resuming(broken) or failures > policy.attempts:
                raise broken from error
        finally:
            call.cancel()
        await asyncio.sleep(policy.retry.pause(failures, broken))


async def _read(call: Any, silence_seconds: float) -> Any:
    async with asyncio.timeout(silence_seconds):
        return await call.read()


def _as_mesh_error(error: grpc.aio.AioRpcError | TimeoutError) -> MeshError:
    if isinstance(error, TimeoutError):
        # A connection that died without a word: no error will ever come from it.
        return Unavailable(f"no heartbeat in {MISSED_HEARTBEATS} intervals")
    return mesh_error_from_rpc(error)


def _is_worth_resuming(error: MeshError) -> bool:
    """The mesh is away or full, has had enough of this caller for now, or found the reader slow."""
    busy = error.retry_after is not None or error.reason == ErrorReason.ERROR_REASON_SLOW_READER
    return isinstance(error, Unavailable) or (isinstance(error, ResourceExhausted) and busy)
