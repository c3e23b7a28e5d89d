"""A store that has been in use for long: millions of intents that have ended."""

import asyncpg
from intentmesh.store.migrations import migrate

_INTENTS = """
INSERT INTO intents (intent_id, user_address, type, status, phase, obligation, sequence, order_payload, input_settler,
                     origin_chain_id, signature, permit2_nonce, created_at, updated_at, expires_at, message, source, ip,
                     user_agent)
SELECT sha256(int8send($1 + n)), substring(sha256(int8send(($1 + n) % 1000)) FOR 20), 1, 3, 7, 1, 1,
       decode(repeat('5a', 420), 'hex'), decode(repeat('11', 20), 'hex'), 31337, decode(repeat('22', 66), 'hex'),
       $1 + n, at, at, at + interval '10 minutes', 'Settled.', 'service:benchmark', '127.0.0.1', 'benchmark'
FROM generate_series(1, $2::bigint) AS n,
     LATERAL (SELECT now() - interval '30 days' + ($1 + n) * interval '0.5 s' AS at) AS t
"""
_EVENTS = """
INSERT INTO intent_events (intent_id, sequence, payload, created_at, feed_position)
SELECT sha256(int8send($1 + n)), 1, decode(repeat('5a', 230), 'hex'), now(), $1 + n
FROM generate_series(1, $2::bigint) AS n
"""
_EXECUTIONS = """
INSERT INTO executions (intent_id, due_at)
SELECT sha256(int8send($1 + n)), NULL FROM generate_series(1, $2::bigint) AS n
"""
_AT_A_TIME = 250_000


async def fill(dsn: str, count: int) -> None:
    """Stores `count` intents with their events. Filling needs no durable commits; what is measured later does."""
    await migrate(dsn)
    conn = await asyncpg.connect(dsn)
    try:
        await conn.execute("SET synchronous_commit = off")
        for start in range(0, count, _AT_A_TIME):
            rows = min(_AT_A_TIME, count - start)
            for statement in (_INTENTS, _EVENTS, _EXECUTIONS):
                await conn.execute(statement, start, rows, timeout=600)
        await conn.execute("UPDATE feed SET last_position = $1", count)
        await conn.execute("VACUUM (ANALYZE) intents", timeout=600)
        await conn.execute("VACUUM (ANALYZE) intent_events", timeout=600)
        await conn.execute("VACUUM (ANALYZE) executions", timeout=600)
    finally:
        await conn.close()
