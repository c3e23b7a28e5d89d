"""Hints: events told to whoever listens, after their commit. Losing them does no harm; the store heals every gap."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from functools import lru_cache
from random import Random
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from intentmesh.domain.backoff import full_jitter
from intentmesh.rpc.logs import log_events
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

log = structlog.get_logger()

EVENTS_CHANNEL = "intentmesh:events"
PUBLISH_TIMEOUT_SECONDS = 0.5
RECONNECT_BASE_SECONDS = 0.1
RECONNECT_CAP_SECONDS = 2.0
# After a failure, hints are not even tried for this long: a caller must not wait for Valkey at every commit.
PAUSE_SECONDS = 1.0
READ_SECONDS = 5.0
_PUBLISH_ALL = "for _, event in ipairs(ARGV) do redis.call('PUBLISH', KEYS[1], event) end"


class HintPublisher:
    """Tells of committed events: on Valkey for other processes, in the log for people."""

    def __init__(self, valkey: Redis, channel: str = EVENTS_CHANNEL) -> None:
        self._valkey = valkey
        self._channel = channel
        # One command for a group of events: making a command costs more than sending it.
        self._publish_all = valkey.register_script(_PUBLISH_ALL)
        self._failing = False
        self._silent_until = 0.0

    async def publish(self, events: Sequence[IntentEvent]) -> None:
        """Call after the commit. Never raises for trouble with Valkey, which is logged once until it passes."""
        log_events("intent_status_update", [_shown(event) for event in events])
        if not events or asyncio.get_running_loop().time() < self._silent_until:
            return
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                await self._publish_all(keys=[self._channel], args=[event.SerializeToString() for event in events])
            self._failing = False
        except (RedisError, OSError, TimeoutError) as error:
            self._silent_until = asyncio.get_running_loop().time() + PAUSE_SECONDS
            if not self._failing:
                log.warning("hints_failing", error=repr(error))
            self._failing = True


class HintSubscriber:
    """Listens to hints; connects again by itself for as long as somebody iterates."""

    def __init__(self, valkey: Redis, channel: str = EVENTS_CHANNEL) -> None:
        self._valkey = valkey
        self._channel = channel

    async def listen(self) -> AsyncIterator[bytes | None]:
        """The bytes of each hinted event. None whenever a subscription begins, the first included: what was said before
        was not heard, so read the store."""
        failures, random = 0, Random()  # noqa: S311 - spreads reconnects, guards nothing
        while True:
            try:
                async with aclosing(self._subscription()) as messages:
                    async for message in messages:
                        failures = 0
                        yield message
            except (RedisError, OSError, TimeoutError) as error:
                failures += 1
                if failures == 1:
                    log.warning("hints_lost", error=repr(error))
            await asyncio.sleep(full_jitter(failures, RECONNECT_BASE_SECONDS, RECONNECT_CAP_SECONDS, random))

    async def _subscription(self) -> AsyncGenerator[bytes | None, None]:
        async with self._valkey.pubsub(ignore_subscribe_messages=False) as pubsub:
            await pubsub.subscribe(self._channel)
            while True:
                # Between reads the client looks after the connection's health; it subscribes anew by itself, too.
                message = await pubsub.get_message(timeout=READ_SECONDS)
                if message is None:
                    continue
                if message["type"] == "subscribe":
                    yield None
                elif message["type"] == "message":
                    yield message["data"]


def _shown(event: IntentEvent) -> dict[str, object]:
    return {
        "intent_id": event.intent_id,
        "sequence": event.sequence,
        **_names(event.type, event.status, event.phase, event.obligation, event.reason),
        "message": event.message,
        "trace_id": event.trace_id,
    }


@lru_cache(maxsize=1024)
def _names(type_: int, status: int, phase: int, obligation: int, reason: int) -> dict[str, str]:
    return {
        "type": _name(IntentEventType, type_),
        "status": _name(IntentStatus, status),
        "phase": _name(IntentPhase, phase),
        "obligation": _name(Obligation, obligation),
        "reason": _name(ErrorReason, reason),
    }


_PREFIXES: dict[Any, str] = {
    IntentEventType: "INTENT_EVENT_TYPE_",
    IntentStatus: "INTENT_STATUS_",
    IntentPhase: "INTENT_PHASE_",
    Obligation: "OBLIGATION_",
    ErrorReason: "ERROR_REASON_",
}
_NAMES: dict[Any, dict[int, str]] = {
    kind: {number: name.removeprefix(prefix) for name, number in kind.items()} for kind, prefix in _PREFIXES.items()
}


def _name(kind: Any, number: int) -> str:
    # A newer release may have stored what this one has no name for.
    return _NAMES[kind].get(number, str(number))
