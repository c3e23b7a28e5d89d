"""The indexes of intents serve the queries that they are there for."""

import json
from datetime import timedelta
from typing import Any

import pytest
from intentmesh.domain.types import Address
from intentmesh.store import executions, intents
from intentmesh.store.executions import Claim
from intentmesh.store.intents import IntentFilter
from intentmesh.store.pool import Pool
from intentmesh.store.queries import load_queries

from tests.fixtures.intents import insert, new_intent

EXECUTIONS = load_queries("intentmesh.store.queries", "executions")
INTENTS = load_queries("intentmesh.store.queries", "intents")
RETENTION = load_queries("intentmesh.store.queries", "retention")
USER = Address(b"\x01" * 20)

_FILL = """
INSERT INTO intents (intent_id, user_address, type, status, phase, obligation, sequence, order_payload, input_settler,
                     origin_chain_id, signature, created_at, updated_at, expires_at, message)
SELECT sha256(int8send(n)), substring(sha256(int8send(n % 500)) FOR 20), 1,
       CASE WHEN n % 1000 = 0 THEN 4 WHEN n % 7 = 0 THEN 1 ELSE 3 END, 7, 1, 1,
       '\\x00', decode(repeat('11', 20), 'hex'), 1, '\\x00', at, at, at, ''
FROM generate_series(1, 20000) AS n, LATERAL (SELECT now() - n * interval '1 minute' AS at) AS t
"""
_TRANSACTIONS = """
INSERT INTO intent_transactions (intent_id, chain_id, hash, kind, status, block_number, gas_used, effective_gas_price)
SELECT intent_id, 1, sha256(intent_id), 1, 1, 1, 1, 1 FROM intents
"""


@pytest.fixture
async def filled(pool: Pool) -> Pool:
    """20,000 intents of 500 users, each with a transaction."""
    await pool.execute(_FILL)
    await pool.execute(_TRANSACTIONS)
    await pool.execute("ANALYZE")
    return pool


LIST = INTENTS["list_intents"]
CASES = [
    pytest.param("intents_by_status", LIST, (None, [4], None, None, None, None, None, 50, None), id="list by status"),
    pytest.param(
        "intents_by_user", LIST, (USER, [3], None, None, None, None, None, 50, None), id="list by user and status"
    ),
    pytest.param("intents_by_user", LIST, (USER, None, None, None, None, None, None, 50, None), id="list by user"),
    pytest.param(
        "intents_by_user", LIST, (USER, None, [3], None, None, None, None, 50, None), id="list by user and type"
    ),
    pytest.param("intents_by_user", INTENTS["ids_of_user"], (USER, 1_001), id="ids of a user"),
    pytest.param("intents_open_by_user", INTENTS["open_of_users"], ([USER],), id="open intents of a user"),
    pytest.param("intents_by_age", LIST, (None, None, None, None, None, None, None, 50, None), id="newest first"),
    pytest.param("intents_pkey", LIST, (None, None, None, None, None, None, None, 50, [b"\x02" * 32]), id="list some"),
    pytest.param("intent_transactions_by_hash", INTENTS["find_by_transaction"], (b"\x02" * 32,), id="by transaction"),
]


@pytest.mark.parametrize(("index", "query", "arguments"), CASES)
async def test_explain__query__is_served_by_its_index(
    filled: Pool, index: str, query: str, arguments: tuple[Any, ...]
) -> None:
    used = await _nodes(filled, query, arguments)
    assert index in {node.get("Index Name") for node in used}, used
    assert "Seq Scan" not in {node["Node Type"] for node in used}


@pytest.mark.parametrize(
    "bounds",
    [(True, True, False), (True, False, False), (False, True, False), (False, False, True), (True, True, True)],
    ids=["from and to", "from", "to", "second page", "second page of a range"],
)
async def test_explain__list_by_time__reads_from_where_it_begins_to_where_it_ends(
    filled: Pool, bounds: tuple[bool, bool, bool]
) -> None:
    oldest, newest, (last, last_id) = (
        await filled.fetchval("SELECT now() - interval '10 days'"),
        await filled.fetchval("SELECT now() - interval '8 days'"),
        await filled.fetchrow("SELECT created_at, intent_id FROM intents ORDER BY created_at LIMIT 1 OFFSET 7000"),
    )
    is_from, is_to, is_second = bounds
    arguments = (
        *(None, None, None, oldest if is_from else None, newest if is_to else None),
        *((last, last_id) if is_second else (None, None)),
        *(50, None),
    )
    (scan,) = [node for node in await _nodes(filled, LIST, arguments) if "Relation Name" in node]
    assert (scan["Node Type"], scan["Index Name"]) == ("Index Scan", "intents_by_age")
    # Nothing is read only to be thrown away.
    assert "Filter" not in scan
    assert ("created_at >=" in scan["Index Cond"]) == is_from
    assert ("created_at <" in scan["Index Cond"]) == is_to
    assert ("ROW(created_at" in scan["Index Cond"]) == is_second


async def test_explain__marks_of_readers__are_removed_by_their_end(filled: Pool) -> None:
    await filled.execute("INSERT INTO intent_watches SELECT intent_id, now() + interval '1 hour' FROM intents")
    await filled.execute("UPDATE intent_watches SET until = now() WHERE intent_id < '\\x01'")
    await filled.execute("ANALYZE intent_watches")
    used = await _nodes(filled, RETENTION["remove_watches"], (500,))
    assert "intent_watches_by_end" in {node.get("Index Name") for node in used}, used
    assert "Seq Scan" not in {node["Node Type"] for node in used}


async def test_explain__retention__is_served_by_the_expiry(filled: Pool) -> None:
    before = await filled.fetchval("SELECT now() - interval '13 days 20 hours'")
    used = await _nodes(filled, RETENTION["lock_expired"], (before, 50))
    assert "intents_by_expiry" in {node.get("Index Name") for node in used}, used
    assert ("Seq Scan", "intents") not in {(node["Node Type"], node.get("Relation Name")) for node in used}


async def test_explain__statistics_that_know_of_nothing_open__the_open_of_a_user_are_found_by_user(
    filled: Pool,
) -> None:
    # What a store in use for long says of itself: of millions nearly all have ended. Then those that are open by status
    # look as few as those of one user, and reading them means reading everybody's.
    await filled.execute("UPDATE intents SET status = 3")
    await filled.execute("VACUUM ANALYZE intents")
    await filled.execute("UPDATE intents SET status = 1 WHERE status = 3")
    used = await _nodes(filled, INTENTS["open_of_users"], ([USER],))
    assert {node["Index Name"] for node in used if "Index Name" in node} == {"intents_open_by_user"}, used


HELD = 2_000
LEASE_SECONDS = 600.0


@pytest.fixture
async def held(filled: Pool) -> list[Claim]:
    """Claims, all renewed, in a store whose statistics are of an hour in which there were none."""
    await filled.execute("INSERT INTO executions (intent_id) SELECT intent_id FROM intents")
    await filled.execute("ANALYZE executions")
    await filled.execute(
        "UPDATE executions SET due_at = now() WHERE intent_id IN (SELECT intent_id FROM intents LIMIT $1)", HELD
    )
    async with filled.acquire() as conn:
        claims = await executions.claim_due(conn, "holder", HELD, LEASE_SECONDS)
        return await executions.renew(conn, claims, LEASE_SECONDS)


async def test_renew__statistics_that_know_of_no_claim__does_not_compare_each_claim_with_each(
    filled: Pool, held: list[Claim]
) -> None:
    arguments = ([c.intent_id for c in held], [c.fence for c in held], timedelta(seconds=LEASE_SECONDS))
    async with filled.acquire() as conn:
        nodes = _flat(await conn.fetchval("EXPLAIN (FORMAT JSON) " + EXECUTIONS["renew"], *arguments))
    # Where both are compared, the join is by nothing else.
    assert not [node["Join Filter"] for node in nodes if "intent_id" in node.get("Join Filter", "")]


async def test_claim_due__many_claims_held__looks_at_none_of_them(filled: Pool, held: list[Claim]) -> None:
    assert len(held) == HELD
    async with filled.acquire() as conn, conn.transaction():
        explain = "EXPLAIN (ANALYZE, FORMAT JSON) " + EXECUTIONS["claim_due"]
        plan = await conn.fetchval(explain, "another", 16, timedelta(seconds=LEASE_SECONDS))
    assert {node.get("Rows Removed by Filter", 0) for node in _flat(plan)} == {0}


async def _nodes(pool: Pool, query: str, arguments: tuple[Any, ...]) -> list[dict[str, Any]]:
    async with pool.acquire() as conn, conn.transaction():
        # Ours do without; here the planner shall have the choice.
        await conn.execute("SET LOCAL enable_seqscan = on")
        return _flat(await conn.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *arguments))


def _flat(explained: str) -> list[dict[str, Any]]:
    (plan,) = json.loads(explained)
    found: list[dict[str, Any]] = []
    stack = [plan["Plan"]]
    while stack:
        node = stack.pop()
        stack += node.get("Plans", [])
        found.append(node)
    return found


async def test_list__asked_again_and_again_on_one_connection__keeps_the_plan_of_its_filter(filled: Pool) -> None:
    # PostgreSQL may change over to one plan for all arguments, which would read the newest intents of everybody to find
    # those of a user with few of them.
    async with filled.acquire() as conn:
        for number in range(40):
            user = Address(number.to_bytes(20, "big"))
            await intents.list_intents(conn, IntentFilter(user, (), (), None, None), None, 50)
        plans = await conn.fetchrow(
            "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement LIKE '-- A page, newest%'"
        )
    assert tuple(plans) == (0, 40)


async def test_insert_intents__into_tables_that_were_empty_when_last_looked_at__reads_no_table_from_end_to_end(
    pool: Pool,
) -> None:
    # With statistics that say so, reading an empty table is the best plan, and a connection keeps the plans with which
    # foreign keys are checked: each accept then reads all of those before it, until statistics are taken anew.
    await pool.execute("VACUUM ANALYZE")
    async with pool.acquire() as conn:
        for _ in range(20):
            await insert(conn, *(new_intent() for _ in range(50)))
        await conn.execute("SELECT pg_stat_force_next_flush()")
        read = await conn.fetchval("SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'intents'")
    assert read < 100
