"""The feed: every event once, in an order that every reader sees alike, whatever commits when."""

import asyncio
import random

from intentmesh.domain.types import IntentId
from intentmesh.store import events
from intentmesh.store.pool import Pool
from intentmesh.v1.event_pb2 import IntentEvent

from tests.fixtures.intents import change_intent, commit_change, store_intent


async def stamp(pool: Pool, limit: int = 1000) -> int:
    async with pool.acquire() as conn, conn.transaction():
        return await events.stamp_feed(conn, limit)


async def read_all(pool: Pool, after: int = 0) -> list[tuple[int, str, int]]:
    """(position, intent, sequence) of everything stamped."""
    async with pool.acquire() as conn:
        entries = await events.read_feed(conn, after, 10_000)
    found = [(e.position, IntentEvent.FromString(e.payload)) for e in entries]
    return [(position, event.intent_id, event.sequence) for position, event in found]


async def test_stamp_feed__older_transaction_still_open__its_event_is_not_skipped(pool: Pool) -> None:
    slow, fast = await store_intent(pool), await store_intent(pool)
    await stamp(pool)
    async with pool.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        # Draws the lower event id, and commits last.
        await change_intent(conn, slow.intent_id)
        for _ in range(3):
            await commit_change(pool, fast.intent_id)
        await stamp(pool)
        seen = await read_all(pool)
        await transaction.commit()
    await stamp(pool)
    everything = await read_all(pool)
    assert everything[: len(seen)] == seen
    assert [position for position, _, _ in everything] == list(range(1, 7))
    assert sum(intent_id == "0x" + slow.intent_id.hex() for _, intent_id, _ in everything) == 2


async def test_stamp_feed__row_locked_late_by_an_older_transaction__keeps_the_intents_order(pool: Pool) -> None:
    row, other = await store_intent(pool), await store_intent(pool)
    await stamp(pool)
    async with pool.acquire() as older, pool.acquire() as open_one:
        first, second = older.transaction(), open_one.transaction()
        await first.start()
        await older.execute("SELECT pg_current_xact_id()")  # its id is older than all that follow
        await second.start()
        await change_intent(open_one, other.intent_id)  # holds the horizon between the two
        await commit_change(pool, row.intent_id)  # sequence 2, by a younger transaction
        await change_intent(older, row.intent_id)  # sequence 3, by the older one
        await first.commit()
        # Only sequence 3 is below the horizon now.
        await stamp(pool)
        early = [sequence for _, intent_id, sequence in await read_all(pool) if intent_id == "0x" + row.intent_id.hex()]
        await second.commit()
    await stamp(pool)
    late = [sequence for _, intent_id, sequence in await read_all(pool) if intent_id == "0x" + row.intent_id.hex()]
    assert early == sorted(early)
    assert late == [1, 2, 3]


async def test_stamp_feed__many_writers_and_stampers__each_event_once_in_its_intents_order(pool: Pool) -> None:
    rows = [await store_intent(pool) for _ in range(5)]
    choose = random.Random(1)
    writing = True
    seen: list[tuple[int, str, int]] = []

    async def write(intent_id: IntentId) -> None:
        for _ in range(15):
            async with pool.acquire() as conn, conn.transaction():
                await change_intent(conn, intent_id)
                await asyncio.sleep(choose.random() * 0.004)

    async def stamp_on() -> None:
        while writing:
            await stamp(pool, choose.randint(1, 20))

    async def follow() -> None:
        while writing:
            seen.extend(await read_all(pool, seen[-1][0] if seen else 0))

    background = [asyncio.create_task(work()) for work in (stamp_on, stamp_on, follow)]
    await asyncio.gather(*(write(choose.choice(rows).intent_id) for _ in range(8)))
    writing = False
    await asyncio.gather(*background)
    while await stamp(pool):
        pass
    seen.extend(await read_all(pool, seen[-1][0] if seen else 0))
    assert [position for position, _, _ in seen] == list(range(1, 5 + 8 * 15 + 1))
    by_intent: dict[str, list[int]] = {}
    for _, intent_id, sequence in seen:
        by_intent.setdefault(intent_id, []).append(sequence)
    assert all(sequences == list(range(1, len(sequences) + 1)) for sequences in by_intent.values())


async def test_stamp_feed__another_stamper_at_work__leaves_it_to_it(pool: Pool) -> None:
    await store_intent(pool)
    async with pool.acquire() as conn, conn.transaction():
        assert await events.stamp_feed(conn, 10) == 1
        assert await stamp(pool) == 0


async def test_stamp_feed__nothing_new__moves_nothing(pool: Pool) -> None:
    await store_intent(pool)
    await stamp(pool)
    async with pool.acquire() as conn:
        before = await events.feed_state(conn)
        assert await stamp(pool) == 0
        assert await events.feed_state(conn) == before
        assert (before.first_position, before.last_position) == (1, 1)
        assert (await events.feed_backlog(conn)).events == 0


async def test_begin_epoch__after_a_restore__stamps_everything_and_names_a_new_epoch(pool: Pool) -> None:
    await store_intent(pool)
    await stamp(pool)
    row = await store_intent(pool)
    # As after a restore into another cluster: an id from the future of this one.
    await pool.execute("UPDATE intent_events SET xid = '999999999' WHERE intent_id = $1", row.intent_id)
    assert await stamp(pool) == 0
    async with pool.acquire() as conn, conn.transaction():
        before = await events.feed_state(conn)
        await events.begin_epoch(conn)
        after = await events.feed_state(conn)
    assert after.epoch != before.epoch
    assert after.last_position == 2
    assert len(await read_all(pool)) == 2
