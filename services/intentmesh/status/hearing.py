"""Listening to hints and handing them on. None of it is needed for anything but speed."""

import structlog
from google.protobuf.message import DecodeError

from intentmesh.domain.types import parse_intent_id
from intentmesh.status import metrics
from intentmesh.status.feed import Feed
from intentmesh.status.hub import Hub
from intentmesh.status.memory_cache import MemoryCache
from intentmesh.status.shared_cache import SharedCache
from intentmesh.status.snapshot import snapshot_of_event
from intentmesh.status.stamping import Stamper
from intentmesh.status.told import age_seconds, told
from intentmesh.store.hints import HintSubscriber
from intentmesh.v1.event_pb2 import IntentEvent

log = structlog.get_logger()


class Hearing:
    """`event_hints` are events just committed, `feed_hints` say that some replica has stamped."""

    def __init__(
        self,
        event_hints: HintSubscriber,
        feed_hints: HintSubscriber,
        *,
        hub: Hub,
        feed: Feed,
        stamper: Stamper,
        memory: MemoryCache,
        shared: SharedCache,
    ) -> None:
        self._event_hints = event_hints
        self._feed_hints = feed_hints
        self._hub = hub
        self._feed = feed
        self._stamper = stamper
        self._memory = memory
        self._shared = shared

    async def listen_to_events(self) -> None:
        """Background work. Never returns."""
        async for payload in self._event_hints.listen():
            if payload is None:
                self._hub.hints_were_lost()
            else:
                self._hear(payload)
            self._stamper.wake()

    async def listen_to_feed(self) -> None:
        """Background work. Never returns."""
        async for _ in self._feed_hints.listen():
            self._feed.look()

    def _hear(self, payload: bytes) -> None:
        try:
            event = IntentEvent.FromString(payload)
            intent_id = parse_intent_id(event.intent_id)
        except (DecodeError, ValueError):
            log.warning("hint_malformed", length=len(payload))
            return
        metrics.EVENT_DELAY_SECONDS.labels("hint").observe(age_seconds(event))
        self._hub.hear(told(payload, event))
        snapshot = snapshot_of_event(event)
        self._memory.raise_known(intent_id, snapshot)
        self._shared.raise_soon(event.intent_id, snapshot)
