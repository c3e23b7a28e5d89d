"""The status of one intent, from the nearest level that has it: memory, Valkey, the store."""

import asyncio
from dataclasses import dataclass

from intentmesh.domain.errors import FieldViolation, InvalidArgument, NotFound
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.status import metrics
from intentmesh.status.memory_cache import MemoryCache, Unknown
from intentmesh.status.shared_cache import SharedCache
from intentmesh.status.snapshot import Snapshot, snapshot_of_row
from intentmesh.store import intents
from intentmesh.store.pool import Pool
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import StatusSource


@dataclass(frozen=True, slots=True)
class Answer:
    """A status and the level it came from."""

    snapshot: Snapshot
    source: "StatusSource.ValueType"


class Statuses:
    """Concurrent misses of one intent share one load."""

    def __init__(self, pool: Pool, memory: MemoryCache, shared: SharedCache) -> None:
        self._pool = pool
        self._memory = memory
        self._shared = shared
        self._loads: dict[tuple[IntentId, bool], asyncio.Task[Answer | None]] = {}

    async def get(self, intent_id: IntentId, min_sequence: int) -> Answer:
        """The status, no older than `min_sequence`. Raises NotFound, and InvalidArgument for a sequence yet to come."""
        kept = self._memory.get(intent_id)
        if isinstance(kept, Snapshot) and kept.sequence >= min_sequence:
            return _counted(Answer(kept, StatusSource.STATUS_SOURCE_MEMORY))
        if isinstance(kept, Unknown) and min_sequence == 0:
            raise _not_found(intent_id)
        answer = await self._load_once(intent_id, from_store=False)
        # A load that was under way when the caller came may have read before the caller's own write: the load after it
        # cannot.
        for _ in range(2):
            if answer is not None and answer.snapshot.sequence >= min_sequence:
                return _counted(answer)
            if answer is None and min_sequence == 0:
                raise _not_found(intent_id)
            answer = await self._load_once(intent_id, from_store=True)
        if answer is None:
            raise _not_found(intent_id)
        if answer.snapshot.sequence < min_sequence:
            raise _yet_to_come(min_sequence, answer.snapshot.sequence)
        return _counted(answer)

    async def _load_once(self, intent_id: IntentId, *, from_store: bool) -> Answer | None:
        key = (intent_id, from_store)
        load = self._loads.get(key)
        if load is None:
            load = self._loads[key] = asyncio.create_task(self._load(intent_id, from_store=from_store))
            load.add_done_callback(lambda done: self._loaded(key, done))
        # One caller's cancellation must not take the load from the others.
        return await asyncio.shield(load)

    def _loaded(self, key: tuple[IntentId, bool], load: "asyncio.Task[Answer | None]") -> None:
        del self._loads[key]
        if not load.cancelled():
            load.exception()  # taken note of, for the case that nobody waits any more

    async def _load(self, intent_id: IntentId, *, from_store: bool) -> Answer | None:
        if not from_store:
            shared = await self._shared.get(intent_id)
            if shared is not None:
                return Answer(self._memory.put(intent_id, shared), StatusSource.STATUS_SOURCE_VALKEY)
        async with self._pool.acquire() as conn:
            row = await intents.get_intent(conn, intent_id)
        if row is None:
            self._memory.put_unknown(intent_id)
            return None
        snapshot = snapshot_of_row(row)
        await self._shared.put(intent_id, snapshot)
        return Answer(self._memory.put(intent_id, snapshot), StatusSource.STATUS_SOURCE_STORE)


def _counted(answer: Answer) -> Answer:
    metrics.STATUS_READS.labels(StatusSource.Name(answer.source).removeprefix("STATUS_SOURCE_")).inc()
    return answer


def _not_found(intent_id: IntentId) -> NotFound:
    metrics.STATUS_READS.labels("UNKNOWN").inc()
    return NotFound("there is no such intent", metadata={"resource": format_intent_id(intent_id)})


def _yet_to_come(wanted: int, newest: int) -> InvalidArgument:
    message = f"the newest sequence of this intent is {newest}"
    violation = FieldViolation("min_sequence", ErrorReason.ERROR_REASON_INVALID_FIELD, message)
    return InvalidArgument(f"there is no sequence {wanted} yet; {message}", violations=(violation,))
