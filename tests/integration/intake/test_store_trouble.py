"""Trouble with the store stays with the orders that have it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import pytest
from intentmesh.domain.convert import order_from_proto
from intentmesh.embedded.postgres import Dsn
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentRequest, SubmitIntentResult

from tests.fixtures.intents import insert, new_intent
from tests.fixtures.orders import id_of
from tests.fixtures.submissions import small_orders, submit_everywhere
from tests.integration.intake.conftest import Intake, StartIntake

# Orders of a known user are decided in memory, so that those of one message are stored together.
FROM_MEMORY = {"open_orders_cache_seconds": 60, "funds_cache_seconds": 60, "user_intents_per_10_seconds": 1000}
# Far below the time-out of a statement, far above what storing takes.
PROMPT_SECONDS = 5.0


@pytest.mark.parametrize("stuck_count", [1, 40])
async def test_stuck_orders__held_by_another_transaction__delay_nobody_else(
    start_intake: StartIntake, fresh_database: Dsn, stuck_count: int
) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        stuck = small_orders(intake.network, stuck_count)
        async with _stored_elsewhere(intake, stuck, fresh_database):
            began = time.monotonic()
            others = small_orders(intake.network, 7)
            together, later = await asyncio.gather(
                _submit(intake, [*stuck, *others]), _submit(intake, small_orders(intake.network, 2))
            )
            assert time.monotonic() - began < PROMPT_SECONDS
            for result in together[:stuck_count]:
                assert result.refused.reason == ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
                assert result.refused.retry_after_ms
            assert [result.accepted.created for result in (*together[stuck_count:], *later)] == [True] * 9
        assert [result.accepted.created for result in await _submit(intake, stuck)] == [True] * stuck_count


async def test_stuck_orders__let_go_in_time__are_accepted(start_intake: StartIntake, fresh_database: Dsn) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        requests = small_orders(intake.network, 20)
        async with _stored_elsewhere(intake, requests[:10], fresh_database):
            submitting = asyncio.create_task(_submit(intake, requests))
            await _until_somebody_waits_for_a_lock(intake)
        assert [result.accepted.created for result in await submitting] == [True] * 20


async def _submit(intake: Intake, requests: Sequence[SubmitIntentRequest]) -> list[SubmitIntentResult]:
    """By one stream; the results in the order of the requests."""
    (results,) = await submit_everywhere(intake.target, requests, 1, ())
    return [results[index] for index in range(len(requests))]


@asynccontextmanager
async def _stored_elsewhere(intake: Intake, requests: Sequence[SubmitIntentRequest], dsn: Dsn) -> AsyncIterator[None]:
    """Another replica has the orders in a transaction that it cannot end; the store rolls it back in the end."""
    conn = await asyncpg.connect(dsn)
    try:
        transaction = conn.transaction()
        await transaction.start()
        ids = [id_of(intake.network, order_from_proto(request.order)) for request in requests]
        await insert(conn, *[new_intent(intent_id=intent_id) for intent_id in ids])
        yield
        await transaction.rollback()
    finally:
        await conn.close()


async def _until_somebody_waits_for_a_lock(intake: Intake) -> None:
    async with asyncio.timeout(PROMPT_SECONDS):
        while True:
            if await intake.database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                return
            await asyncio.sleep(0.005)
