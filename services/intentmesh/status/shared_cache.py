"""The level in Valkey, shared by all replicas: 30 s, and never going back to an older sequence.

Whoever finds nothing leaves a mark before it reads the store. Changes that are heard of meanwhile take the place of the
mark, so that what was read before them cannot; and where there is no mark any more, what was read is not kept.

Valkey may be away: reads then find nothing and writes are dropped. For a moment after a failure it is not even asked.
"""

import asyncio
from collections.abc import Awaitable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.status.snapshot import Snapshot
from intentmesh.store.pool import Result

log = structlog.get_logger()

KEPT_MS = 30_000
PAUSE_SECONDS = 1.0
# A cache that takes longer than the store is none.
TIMEOUT_SECONDS = 0.25
MAX_PENDING = 10_000
# Twenty digits of the sequence, one of `is_over`, the payload.
_DIGITS = 20
_HEAD = _DIGITS + 1
# Below all sequences, and too short for a snapshot: replicas of a release that knows no marks take it for nothing, too.
_MARK = b"0"
# Compares and writes in one step: a loader that was slow cannot put old over new.
_RAISE = f"""
local old = redis.call('GETRANGE', KEYS[1], 0, {_DIGITS - 1})
if old == '' or tonumber(old) > tonumber(string.sub(ARGV[1], 1, {_DIGITS})) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', {KEPT_MS})
return 1
"""


class SharedCache:
    """Keys `intent:{id}:status`."""

    def __init__(self, valkey: Redis) -> None:
        self._valkey = valkey
        self._script = valkey.register_script(_RAISE)
        self._silent_until = 0.0
        self._failing = False
        self._pending: dict[str, Snapshot] = {}
        self._wake = asyncio.Event()

    async def get(self, intent_id: IntentId) -> Snapshot | None:
        """What is kept, or None: then the next `put` of what is read from now on is kept."""
        key = _key(format_intent_id(intent_id))
        raw = await self._try(self._valkey.set(key, _MARK, nx=True, get=True, px=KEPT_MS))
        if not isinstance(raw, bytes) or len(raw) < _HEAD or not raw[:_HEAD].isdigit():
            return None
        return Snapshot(int(raw[:_DIGITS]), raw[_DIGITS:_HEAD] == b"1", raw[_HEAD:])

    async def put(self, intent_id: IntentId, snapshot: Snapshot) -> None:
        """Keeps what was read after a `get` that found nothing, unless something newer is kept by now."""
        await self._try(self._script(keys=[_key(format_intent_id(intent_id))], args=[_encode(snapshot)]))

    def raise_soon(self, intent_id: str, snapshot: Snapshot) -> None:
        """A change was heard of: `write_behind` renews what is kept; what nobody asked for is not kept."""
        if len(self._pending) < MAX_PENDING:
            self._pending[intent_id] = snapshot
            self._wake.set()

    async def write_behind(self) -> None:
        """Background work. Never returns."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            pending, self._pending = self._pending, {}
            await self._try(self._raise_known(pending))

    async def _raise_known(self, pending: dict[str, Snapshot]) -> None:
        async with self._valkey.pipeline(transaction=False) as pipe:
            for intent_id, snapshot in pending.items():
                await self._script(keys=[_key(intent_id)], args=[_encode(snapshot)], client=pipe)
            await pipe.execute()

    async def _try(self, command: "Awaitable[Result]") -> "Result | None":
        loop = asyncio.get_running_loop()
        if loop.time() < self._silent_until:
            if asyncio.iscoroutine(command):
                command.close()
            return None
        if self._failing:
            # One tries whether it is back; the others do without meanwhile.
            self._silent_until = loop.time() + PAUSE_SECONDS
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                result = await command
        except (RedisError, OSError, TimeoutError) as error:
            self._silent_until = loop.time() + PAUSE_SECONDS
            if not self._failing:
                log.warning("shared_cache_failing", error=repr(error))
            self._failing = True
            return None
        self._failing, self._silent_until = False, 0.0
        return result


def _key(intent_id: str) -> str:
    return f"intent:{intent_id}:status"


def _encode(snapshot: Snapshot) -> bytes:
    return b"%020d%d" % (snapshot.sequence, snapshot.is_over) + snapshot.payload
