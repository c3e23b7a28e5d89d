"""GetIntentStatus: the nearest level answers, and none of them ever goes back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from intentmesh.domain.errors import InvalidArgument, MeshError, NotFound
from intentmesh.domain.types import IntentId
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.valkey import open_valkey
from intentmesh.status.memory_cache import MemoryCache
from intentmesh.status.shared_cache import SharedCache
from intentmesh.status.snapshot import Snapshot
from intentmesh.status.statuses import Answer, Statuses
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus
from intentmesh.v1.status_service_pb2 import GetIntentStatusRequest, GetIntentStatusResponse, StatusSource

from tests.fixtures.intents import COMPLETED, commit_change, new_intent, store_intent
from tests.integration.status.replicas import Mesh, eventually, id_of

ONE = IntentId(b"\x01" * 32)


async def ask(stub: Any, intent_id: str, min_sequence: int = 0) -> GetIntentStatusResponse:
    return await stub.GetIntentStatus(GetIntentStatusRequest(intent_id=intent_id, min_sequence=min_sequence))


async def refusal(stub: Any, intent_id: str, min_sequence: int = 0) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await ask(stub, intent_id, min_sequence)
    return mesh_error_from_rpc(error.value)


async def test_get_status__asked_again_and_elsewhere__is_answered_by_the_nearest_level(mesh: Mesh) -> None:
    row = await mesh.store(hint=False)
    async with mesh.replica() as one, mesh.replica() as other:
        answers = [await ask(one, id_of(row)), await ask(one, id_of(row)), await ask(other, id_of(row))]
    assert [answer.source for answer in answers] == [
        StatusSource.STATUS_SOURCE_STORE,
        StatusSource.STATUS_SOURCE_MEMORY,
        StatusSource.STATUS_SOURCE_VALKEY,
    ]
    for answer in answers:
        answer.source = StatusSource.STATUS_SOURCE_UNSPECIFIED
        assert answer == answers[0]
    assert answers[0].status == IntentStatus.INTENT_STATUS_PENDING
    assert answers[0].sequence == 1
    assert answers[0].message == "Accepted."
    assert answers[0].update_time.ToMicroseconds() == round(row.updated_at.timestamp() * 1_000_000)


async def test_get_status__min_sequence_above_what_is_cached__reads_the_store(mesh: Mesh) -> None:
    row = await mesh.store(hint=False)
    async with mesh.replica() as stub:
        await ask(stub, id_of(row))
        await mesh.change(row.intent_id, COMPLETED, hint=False)
        answer = await ask(stub, id_of(row), min_sequence=2)
        again = await ask(stub, id_of(row))
    assert (answer.sequence, answer.source) == (2, StatusSource.STATUS_SOURCE_STORE)
    assert answer.phase == IntentPhase.INTENT_PHASE_CONFIRMED
    assert (again.sequence, again.source) == (2, StatusSource.STATUS_SOURCE_MEMORY)


async def test_get_status__min_sequence_yet_to_come__is_refused(mesh: Mesh) -> None:
    row = await mesh.store(hint=False)
    async with mesh.replica() as stub:
        failure = await refusal(stub, id_of(row), min_sequence=2)
    assert isinstance(failure, InvalidArgument)
    assert [violation.field for violation in failure.violations] == ["min_sequence"]


async def test_get_status__unknown_then_stored__is_known_at_once_with_min_sequence_and_soon_without(mesh: Mesh) -> None:
    new = new_intent()
    text = "0x" + new.intent_id.hex()
    async with mesh.replica() as stub:
        assert isinstance(await refusal(stub, text), NotFound)
        await store_intent(mesh.pool, intent_id=new.intent_id)
        assert (await ask(stub, text, min_sequence=1)).sequence == 1
        assert (await ask(stub, text)).sequence == 1


async def test_get_status__hint_of_a_change__renews_memory_and_valkey(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica() as one, mesh.replica() as other:
        for stub in (one, other):
            await ask(stub, id_of(row))
        await mesh.change(row.intent_id, COMPLETED)
        async with open_valkey(mesh.valkey_url) as valkey:

            async def renewed() -> bool:
                in_valkey = await valkey.get(f"intent:{id_of(row)}:status")
                return int(in_valkey[:20]) == 2 and (await ask(one, id_of(row))).sequence == 2

            await eventually(renewed)
        answer = await ask(one, id_of(row))
    assert answer.phase == IntentPhase.INTENT_PHASE_CONFIRMED


async def test_get_status__valkey_away__is_answered(mesh: Mesh) -> None:
    row = await mesh.store()
    async with mesh.replica(valkey_url="redis://127.0.0.1:1/0") as stub:
        assert (await ask(stub, id_of(row))).source == StatusSource.STATUS_SOURCE_STORE


async def test_shared_cache__slow_loader__cannot_put_old_over_new(mesh: Mesh) -> None:
    async with open_valkey(mesh.valkey_url) as valkey:
        cache = SharedCache(valkey)
        assert await cache.get(ONE) is None
        await cache.put(ONE, Snapshot(10, False, b"ten"))
        await cache.put(ONE, Snapshot(9, False, b"nine"))
        assert await cache.get(ONE) == Snapshot(10, False, b"ten")
        await cache.put(ONE, Snapshot(11, True, b"eleven"))
        assert await cache.get(ONE) == Snapshot(11, True, b"eleven")
        key = "intent:0x" + ONE.hex() + ":status"
        assert 29_000 < await valkey.pttl(key) <= 30_000


async def test_shared_cache__change_during_the_first_load__is_not_hidden_by_what_was_read_before_it(mesh: Mesh) -> None:
    async with open_valkey(mesh.valkey_url) as valkey, _writing_behind(SharedCache(valkey)) as cache:
        assert await cache.get(ONE) is None
        # The loader reads sequence 1 here, and is slow; somebody hears of the change meanwhile.
        cache.raise_soon("0x" + ONE.hex(), Snapshot(2, False, b"two"))
        await eventually(lambda: _holds(cache, ONE, 2))
        await cache.put(ONE, Snapshot(1, False, b"one"))
        assert await cache.get(ONE) == Snapshot(2, False, b"two")


async def test_shared_cache__load_outlasts_the_wait_for_it__is_not_kept(mesh: Mesh) -> None:
    async with open_valkey(mesh.valkey_url) as valkey:
        cache = SharedCache(valkey)
        assert await cache.get(ONE) is None
        await valkey.delete("intent:0x" + ONE.hex() + ":status")
        # Whatever changed since then was told to nobody.
        await cache.put(ONE, Snapshot(1, False, b"one"))
        assert await cache.get(ONE) is None


async def test_shared_cache__mark_of_a_reader__is_nothing_to_replicas_that_know_no_marks(mesh: Mesh) -> None:
    async with open_valkey(mesh.valkey_url) as valkey:
        cache = SharedCache(valkey)
        assert await cache.get(ONE) is None
        mark = await valkey.get("intent:0x" + ONE.hex() + ":status")
        # They take whatever is long enough for a snapshot, and compare sequences as numbers.
        assert len(mark) < len(b"%020d0" % 1)
        assert int(mark) == 0


async def test_shared_cache__change_of_what_nobody_asked_for__is_not_kept(mesh: Mesh) -> None:
    async with open_valkey(mesh.valkey_url) as valkey, _writing_behind(SharedCache(valkey)) as cache:
        asked, ignored = "0x" + ONE.hex(), "0x" + "02" * 32
        assert await cache.get(ONE) is None
        await cache.put(ONE, Snapshot(1, False, b"one"))
        cache.raise_soon(ignored, Snapshot(5, False, b"five"))
        cache.raise_soon(asked, Snapshot(2, False, b"two"))
        await eventually(lambda: _holds(cache, ONE, 2))
        assert await valkey.exists(f"intent:{ignored}:status") == 0


async def _holds(cache: SharedCache, intent_id: IntentId, sequence: int) -> bool:
    kept = await cache.get(intent_id)
    return kept is not None and kept.sequence == sequence


@asynccontextmanager
async def _writing_behind(cache: SharedCache) -> AsyncIterator[SharedCache]:
    writing = asyncio.create_task(cache.write_behind())
    try:
        yield cache
    finally:
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


async def test_statuses__concurrent_misses__share_one_load(mesh: Mesh) -> None:
    row = await store_intent(mesh.pool)
    loads = 0

    class Counting(SharedCache):
        async def get(self, intent_id: IntentId) -> Snapshot | None:
            nonlocal loads
            loads += 1
            return await super().get(intent_id)

    async with open_valkey(mesh.valkey_url) as valkey:
        statuses = Statuses(mesh.pool, MemoryCache(100), Counting(valkey))
        first = asyncio.create_task(statuses.get(row.intent_id, 0))
        others = [asyncio.create_task(statuses.get(row.intent_id, 0)) for _ in range(20)]
        await asyncio.sleep(0)
        # Who started the load goes away; the others still get it.
        first.cancel()
        answers = await asyncio.gather(*others)
    assert loads == 1
    assert {answer.snapshot.sequence for answer in answers} == {1}


async def test_statuses__own_write_after_anothers_load_has_read__is_seen(mesh: Mesh) -> None:
    row = await store_intent(mesh.pool)
    has_read, go_on, both_wait = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Slow(Statuses):
        async def _load_once(self, intent_id: IntentId, *, from_store: bool) -> Answer | None:
            if from_store and has_read.is_set():
                both_wait.set()
            return await super()._load_once(intent_id, from_store=from_store)

        async def _load(self, intent_id: IntentId, *, from_store: bool) -> Answer | None:
            answer = await super()._load(intent_id, from_store=from_store)
            if from_store and not has_read.is_set():
                has_read.set()
                await go_on.wait()
            return answer

    async with open_valkey(mesh.valkey_url) as valkey:
        statuses = Slow(mesh.pool, MemoryCache(100), SharedCache(valkey))
        early = asyncio.create_task(statuses.get(row.intent_id, 2))
        await has_read.wait()
        await commit_change(mesh.pool, row.intent_id)
        late = asyncio.create_task(statuses.get(row.intent_id, 2))
        await both_wait.wait()
        go_on.set()
        assert [answer.snapshot.sequence for answer in await asyncio.gather(early, late)] == [2, 2]
