"""Trouble with the store stays with the orders that have it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from intentmesh.domain.convert import order_from_proto
from intentmesh.domain.types import IntentId
from intentmesh.embedded.postgres import Dsn
from intentmesh.intake import group_commit
from intentmesh.intake.bootstrap import SERVICE_NAME
from intentmesh.intake.group_commit import GroupCommit
from intentmesh.intake.waiting import Accept, Waiting
from intentmesh.store import admission
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    CancelIntentRequest,
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentRequest,
    SubmitIntentResult,
)

from tests.fixtures.cutting_proxy import cutting_proxy
from tests.fixtures.intents import insert, new_intent
from tests.fixtures.orders import id_of
from tests.fixtures.submissions import small_orders, submit_everywhere
from tests.integration.intake.conftest import Intake, StartIntake, principal, reason_of, refused

# Orders that a service brings of a known user are decided in memory: those of one message are stored together, and the
# writer is the first to ask the store about them.
FROM_MEMORY = {"open_orders_cache_seconds": 60, "funds_cache_seconds": 60}
SERVICE = principal("service:shop")
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


@pytest.mark.parametrize(
    ("request_id", "lost"), [("", "answer"), ("mine", "commit"), ("mine", "claim")], ids=lambda value: value or "none"
)
async def test_lost_connection__whatever_the_store_did__order_is_accepted_as_new_once(
    start_intake: StartIntake, fresh_database: Dsn, request_id: str, lost: str
) -> None:
    async with (
        cutting_proxy(fresh_database) as (proxy, dsn),
        start_intake(postgres_dsn=dsn, **FROM_MEMORY) as intake,
    ):
        await _submit(intake, small_orders(intake.network, 1))
        (request,) = small_orders(intake.network, 1)
        request.request_id = request_id
        # Without a request id the insert commits by itself; with one it follows the claim in a transaction.
        proxy.cut_after(b"COMMIT;" if lost == "commit" else _id_of(intake, request))
        others = small_orders(intake.network, 3)
        results = await _submit(intake, [request, *others])
        assert proxy.cut.is_set()
        assert [(result.accepted.created, result.accepted.sequence) for result in results] == [(True, 1)] * 4
        assert await intake.rows() == await intake.rows("intent_events") == await intake.rows("executions") == 5
        assert await intake.rows("request_ids") == len(request_id[:1])
        assert [result.accepted.created for result in await _submit(intake, [request])] == [False]


async def test_lost_connection__ended_by_the_server__orders_are_accepted(
    start_intake: StartIntake, fresh_database: Dsn
) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        requests = small_orders(intake.network, 20)
        async with _stored_elsewhere(intake, requests[:10], fresh_database):
            submitting = asyncio.create_task(_submit(intake, requests))
            await _until_somebody_waits_for_a_lock(intake)
            ended = await intake.database.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'intake' AND wait_event_type = 'Lock'"
            )
            assert len(ended) == 1
        assert [result.accepted.created for result in await submitting] == [True] * 20


async def test_lost_connection__store_stays_away__says_to_send_the_same_order_again(
    start_intake: StartIntake, fresh_database: Dsn
) -> None:
    async with (
        cutting_proxy(fresh_database) as (proxy, dsn),
        start_intake(postgres_dsn=dsn, **FROM_MEMORY) as intake,
    ):
        await _submit(intake, small_orders(intake.network, 1))
        (request,) = small_orders(intake.network, 1)
        proxy.cut_after(_id_of(intake, request), then_refuse=True)
        (result,) = await _submit(intake, [request])
        assert result.refused.reason == ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
        assert "may be stored" in result.refused.message
        assert "send the same order again" in result.refused.message
        assert result.refused.retry_after_ms
        # It is stored indeed.
        async with asyncio.timeout(PROMPT_SECONDS):
            while await intake.rows() < 2:  # noqa: ASYNC110 (the database tells nobody)
                await asyncio.sleep(0.005)
        proxy.let_through()
        (again,) = await _submit(intake, [request])
        assert again.HasField("accepted"), again.refused
        assert not again.accepted.created


async def test_store__is_no_longer_the_primary__orders_are_unavailable_until_there_is_one(
    start_intake: StartIntake,
) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        requests = small_orders(intake.network, 3)
        await _let_the_store_write(intake, is_primary=False)
        results = await _submit(intake, requests)
        assert {result.refused.reason for result in results} == {ErrorReason.ERROR_REASON_STORE_UNAVAILABLE}
        await _let_the_store_write(intake, is_primary=True)
        assert [result.accepted.created for result in await _submit(intake, requests)] == [True] * 3


async def test_store__away__whatever_asks_it_says_so(start_intake: StartIntake, fresh_database: Dsn) -> None:
    async with cutting_proxy(fresh_database) as (proxy, dsn), start_intake(postgres_dsn=dsn) as intake:
        (request,) = small_orders(intake.network, 1)
        intent_id = (await intake.stub.SubmitIntent(request, metadata=SERVICE)).intent_id
        cancellation = CancelIntentRequest(intent_id=intent_id, signature=bytes(65), valid_until=int(time.time()) + 60)
        proxy.leave()
        for call in (
            intake.stub.GetIntent(GetIntentRequest(intent_id=intent_id)),
            intake.stub.ListIntents(ListIntentsRequest(), metadata=principal("operator:ops")),
            intake.stub.CancelIntent(cancellation),
            intake.stub.SubmitIntent(small_orders(intake.network, 1)[0], metadata=SERVICE),
        ):
            error = await refused(call)
            assert (reason_of(error), error.retry_after) == ("STORE_UNAVAILABLE", 1.0)


@pytest.mark.parametrize(
    ("errors", "inserts", "stored"),
    [
        # By a connection that leads to a server which was the primary once: the next one may lead to the right one.
        ([asyncpg.ReadOnlySQLTransactionError("read only")], 2, True),
        # Split, and then a connection is lost: one by one each has its other connection.
        ([asyncpg.DeadlockDetectedError("deadlock"), ConnectionResetError()], 22, True),
        # No order is stored any better by itself.
        ([asyncpg.DiskFullError("no space left")] * 1000, 2, False),
    ],
    ids=["read only", "deadlock", "disk full"],
)
async def test_group__fails__is_stored_again_as_often_as_that_may_help(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch, errors: list[Exception], inserts: int, stored: bool
) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        insert_intents, tried = admission.insert_intents, 0

        async def insert(*arguments: Any) -> Any:
            nonlocal tried
            tried += 1
            if tried <= len(errors):
                raise errors[tried - 1]
            return await insert_intents(*arguments)

        monkeypatch.setattr(admission, "insert_intents", insert)
        with _one_group_of(20, monkeypatch):
            results = await _submit(intake, small_orders(intake.network, 20))
        if stored:
            assert [result.accepted.created for result in results] == [True] * 20
        else:
            assert {result.refused.reason for result in results} == {ErrorReason.ERROR_REASON_STORE_UNAVAILABLE}
        assert tried == inserts


async def test_group__fails_after_its_insert__tells_new_intents_as_new(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start_intake(**FROM_MEMORY) as intake:
        (old,) = small_orders(intake.network, 1)
        await _submit(intake, [old])
        (new,) = small_orders(intake.network, 1)
        with monkeypatch.context() as trouble:
            # The question that follows an insert which left something out.
            trouble.setattr(admission, "standing_of", _failing_once(admission.standing_of))
            results = await _submit(intake, [old, new])
    assert [result.accepted.created for result in results] == [False, True], results


async def test_writer__dies__callers_are_told_and_health_shows_it_until_it_is_back(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing is known that kills it, so a bug is put in.
    monkeypatch.setattr(group_commit, "REST_SECONDS", 0.5)
    async with start_intake(health_interval_seconds=0.02, **FROM_MEMORY) as intake:
        await _submit(intake, small_orders(intake.network, 1))
        requests = small_orders(intake.network, 5)
        await _until_health_is(intake, health_pb2.HealthCheckResponse.SERVING)
        with monkeypatch.context() as bug:
            bug.setattr(Waiting, "take_group", lambda *_: 1 / 0)
            async with asyncio.timeout(PROMPT_SECONDS):
                results = await _submit(intake, requests)
        assert {result.refused.reason for result in results} == {ErrorReason.ERROR_REASON_STORE_UNAVAILABLE}
        await _until_health_is(intake, health_pb2.HealthCheckResponse.NOT_SERVING)
        await _until_health_is(intake, health_pb2.HealthCheckResponse.SERVING)
        assert [result.accepted.created for result in await _submit(intake, requests)] == [True] * 5


def _failing_once(ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    failures = [asyncpg.QueryCanceledError("canceling statement due to statement timeout")]

    async def asked(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await ask(*arguments)

    return asked


async def _let_the_store_write(intake: Intake, *, is_primary: bool) -> None:
    """As after a failover: those who are connected to it are cut off, and who comes anew finds what it is now."""
    name = await intake.database.fetchval("SELECT current_database()")
    await intake.database.execute(
        f'ALTER DATABASE "{name}" SET default_transaction_read_only = {"off" if is_primary else "on"}'
    )
    await intake.database.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def _until_health_is(intake: Intake, status: int) -> None:
    async with grpc.aio.insecure_channel(intake.target) as channel, asyncio.timeout(PROMPT_SECONDS):
        stub = health_pb2_grpc.HealthStub(channel)
        async for told in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME)):
            if told.status == status:
                return


async def _submit(intake: Intake, requests: Sequence[SubmitIntentRequest]) -> list[SubmitIntentResult]:
    """By one stream; the results in the order of the requests."""
    (results,) = await submit_everywhere(intake.target, requests, 1, SERVICE)
    return [results[index] for index in range(len(requests))]


@contextmanager
def _one_group_of(count: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So many orders reach the writer at once, however slowly they come."""
    add, held = GroupCommit.add, []

    def add_together(writer: GroupCommit, accept: Accept) -> None:
        held.append(accept)
        if len(held) == count:
            for each in held:
                add(writer, each)

    with monkeypatch.context() as patch:
        patch.setattr(GroupCommit, "add", add_together)
        yield


@asynccontextmanager
async def _stored_elsewhere(intake: Intake, requests: Sequence[SubmitIntentRequest], dsn: Dsn) -> AsyncIterator[None]:
    """Another replica has the orders in a transaction that it cannot end; the store rolls it back in the end."""
    conn = await asyncpg.connect(dsn)
    try:
        transaction = conn.transaction()
        await transaction.start()
        await insert(conn, *[new_intent(intent_id=_id_of(intake, request)) for request in requests])
        yield
        await transaction.rollback()
    finally:
        await conn.close()


def _id_of(intake: Intake, request: SubmitIntentRequest) -> IntentId:
    return id_of(intake.network, order_from_proto(request.order))


async def _until_somebody_waits_for_a_lock(intake: Intake) -> None:
    async with asyncio.timeout(PROMPT_SECONDS):
        while True:
            if await intake.database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                return
            await asyncio.sleep(0.005)
