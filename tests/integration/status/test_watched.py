"""Retention leaves alone what somebody reads, and the store is told so with few writes."""

from datetime import UTC, datetime, timedelta

from intentmesh.domain.types import IntentId
from intentmesh.status import watched
from intentmesh.status.room import Bounds, Room
from intentmesh.status.settings import StatusSettings
from intentmesh.status.watched import Watched
from intentmesh.store import retention
from intentmesh.v1.status_service_pb2 import WatchIntentRequest, WatchIntentsRequest

from tests.fixtures.intents import commit_change, transition
from tests.integration.status.replicas import Mesh, Reader, eventually, id_of

LONG_AGO = datetime.now(UTC) - timedelta(days=60)


def _room() -> Room:
    return Room(StatusSettings().name_bounds())


async def _until(mesh: Mesh, intent_id: IntentId) -> datetime | None:
    found: datetime | None = await mesh.pool.fetchval(
        "SELECT until FROM intent_watches WHERE intent_id = $1", intent_id
    )
    return found


async def _expired(mesh: Mesh, before: datetime) -> list[IntentId]:
    async with mesh.pool.acquire() as conn, conn.transaction():
        return [row.intent_id for row in await retention.lock_expired(conn, before, 10)]


async def test_watched__by_one_and_by_many__are_marked_and_retention_leaves_them(mesh: Mesh, monkeypatch) -> None:
    monkeypatch.setattr(watched, "LOOK_SECONDS", 0.05)
    one, several, nobody = [await mesh.store(created_at=LONG_AGO, expires_at=LONG_AGO) for _ in range(3)]
    async with mesh.replica() as stub:
        first = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(one))))
        second = Reader(stub.WatchIntents(WatchIntentsRequest(intent_ids=[id_of(several), "0x" + "ef" * 32])))
        assert await first.read()
        assert await second.read()

        async def marked() -> bool:
            return bool(await _until(mesh, one.intent_id)) and bool(await _until(mesh, several.intent_id))

        await eventually(marked)
        # They end while they are read; what nobody reads is free to go.
        for row in (one, several, nobody):
            await commit_change(mesh.pool, row.intent_id, transition(3, 7, 1))
        await mesh.pool.execute("UPDATE executions SET due_at = NULL")

        async def stamped() -> bool:
            return not await mesh.pool.fetchval("SELECT count(*) FROM intent_events WHERE feed_position IS NULL")

        await eventually(stamped)
        assert await _expired(mesh, datetime.now(UTC) + timedelta(minutes=1)) == [nobody.intent_id]
        first.call.cancel()
        second.call.cancel()


async def test_watched__many_readers_and_looks__write_once_until_it_is_old(mesh: Mesh) -> None:
    row = await mesh.store()
    now = 100.0
    marks = Watched(mesh.pool, _room(), lambda: now)
    with marks.reading([row.intent_id]), marks.reading([row.intent_id]):
        assert await marks.mark() == 1
        first = await _until(mesh, row.intent_id)
        assert await marks.mark() == 0
        now += watched.RENEWED_AFTER_SECONDS
        assert await marks.mark() == 1
        # By the store's own clock the mark is fresh, so it is not written again.
        assert await _until(mesh, row.intent_id) == first
        await mesh.pool.execute("UPDATE intent_watches SET until = now() + interval '20 seconds'")
        now += watched.RENEWED_AFTER_SECONDS
        assert await marks.mark() == 1
        renewed = await _until(mesh, row.intent_id)
        assert renewed is not None
        assert first is not None
        assert renewed > first
    now += watched.RENEWED_AFTER_SECONDS
    assert await marks.mark() == 0


async def test_watched__intent_that_is_not_there__is_no_failure(mesh: Mesh) -> None:
    marks = Watched(mesh.pool, _room())
    with marks.reading([IntentId(b"\x77" * 32)]):
        assert await marks.mark() == 1
    assert await mesh.pool.fetchval("SELECT count(*) FROM intent_watches") == 0


async def test_watched__no_intent_is_named__takes_no_place(mesh: Mesh) -> None:
    full = Bounds(all_callers=0, each_caller=0, each_service=0, reserved=0, reserved_for_operators=0)
    marks = Watched(mesh.pool, Room(full))
    with marks.reading([]), marks.reading([]):
        pass
