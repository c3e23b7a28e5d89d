"""The pool: its time-outs, and work that is tried again."""

import asyncio

import asyncpg
import pytest
from intentmesh.embedded.postgres import Dsn
from intentmesh.store.pool import Connection, Pool, open_pool, retrying

from tests.fixtures.intents import change_intent, store_intent


async def test_open_pool__transaction_that_never_ends__is_ended(fresh_database: Dsn) -> None:
    pool = await open_pool(fresh_database, transaction_timeout=0.2)
    async with asyncio.timeout(5):
        async with pool.acquire() as conn:
            await conn.execute("BEGIN")
            with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
                await conn.execute("SELECT pg_sleep(30)")
        await pool.close()


async def test_open_pool__every_connection__plans_without_whole_tables_and_compiles_no_plan(pool: Pool) -> None:
    # What the first of the two guards against is shown beside the indexes; the second costs something only where
    # PostgreSQL was built with a compiler.
    async with pool.acquire() as one, pool.acquire() as other:
        for conn in (one, other):
            assert await conn.fetchval("SHOW enable_seqscan") == "off"
            assert await conn.fetchval("SHOW jit") == "off"


async def test_open_pool__database_that_answers_before_it_has_written__is_made_to_write_first(
    fresh_database: Dsn,
) -> None:
    conn = await asyncpg.connect(fresh_database)
    name = await conn.fetchval("SELECT current_database()")
    await conn.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    await conn.close()
    async with await open_pool(fresh_database) as pool:
        assert await pool.fetchval("SHOW synchronous_commit") == "on"


async def test_retrying__deadlock__both_are_done(pool: Pool) -> None:
    first, second = await store_intent(pool), await store_intent(pool)
    tries, both_hold_one = 0, asyncio.Barrier(2)

    def work(*order: bytes):
        async def change(conn: Connection) -> None:
            nonlocal tries
            tries += 1
            is_first = tries <= both_hold_one.parties
            await change_intent(conn, order[0])
            if is_first:
                await both_hold_one.wait()
            await change_intent(conn, order[1])

        return change

    await asyncio.gather(
        retrying(pool, work(first.intent_id, second.intent_id)), retrying(pool, work(second.intent_id, first.intent_id))
    )
    assert tries == 3
    assert await pool.fetchval("SELECT array_agg(sequence) FROM intents") == [3, 3]


async def test_retrying__connection_killed__is_done_on_another(pool: Pool) -> None:
    row = await store_intent(pool)
    killed = False

    async def work(conn: Connection) -> None:
        nonlocal killed
        if not killed:
            killed = True
            backend = await conn.fetchval("SELECT pg_backend_pid()")
            await pool.execute("SELECT pg_terminate_backend($1)", backend)
        await change_intent(conn, row.intent_id)

    await retrying(pool, work)
    assert await pool.fetchval("SELECT sequence FROM intents") == 2


async def test_retrying__error_that_does_not_pass__is_raised_at_once(pool: Pool) -> None:
    tries = 0

    async def work(conn: Connection) -> None:
        nonlocal tries
        tries += 1
        await conn.execute("SELECT no_such_column")

    with pytest.raises(asyncpg.UndefinedColumnError):
        await retrying(pool, work)
    assert tries == 1
