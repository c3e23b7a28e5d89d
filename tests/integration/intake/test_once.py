"""Accepts are exact: the same order by many is one intent, and what was acknowledged outlives the intake."""

import asyncio
from pathlib import Path

import pytest
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.ports import PortReservation
from intentmesh.embedded.postgres import Dsn, PostgresServer
from intentmesh.embedded.valkey import ValkeyUrl
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus

from tests.fixtures.background import BackgroundLoop
from tests.fixtures.intake_process import intake_process, kill_while_submitting
from tests.fixtures.orders import make_order, permit2_request, with_output
from tests.fixtures.submissions import small_orders, submit_everywhere
from tests.integration.intake.conftest import StartIntake, principal, reason_of, refused

CLIENTS = 64
ORDERS = 1000


async def test_same_orders__by_many_clients_at_once__are_one_intent_each(start_intake: StartIntake) -> None:
    shop = principal("service:shop")
    async with (
        start_intake(maximum_open_intents_per_user=2 * ORDERS, funds_cache_seconds=60) as intake,
        # Half of the clients meet another replica.
        start_intake(maximum_open_intents_per_user=2 * ORDERS, funds_cache_seconds=60) as replica,
    ):
        requests = small_orders(intake.network, ORDERS)
        both = await asyncio.gather(
            submit_everywhere(intake.target, requests, CLIENTS // 2, shop),
            submit_everywhere(replica.target, requests, CLIENTS // 2, shop),
        )
        told = [results for side in both for results in side]
        assert len(told) == CLIENTS
        created = [0] * ORDERS
        ids: list[set[str]] = [set() for _ in range(ORDERS)]
        for results in told:
            assert sorted(results) == list(range(ORDERS))
            for index, result in results.items():
                assert result.HasField("accepted"), result.refused
                assert result.accepted.status == IntentStatus.INTENT_STATUS_PENDING
                assert result.accepted.sequence == 1
                created[index] += result.accepted.created
                ids[index].add(result.accepted.intent_id)
        assert all(len(found) == 1 for found in ids)
        assert len(set.union(*ids)) == ORDERS
        assert created == [1] * ORDERS
        stored = await intake.database.fetch("SELECT intent_id FROM intents")
        assert {format_intent_id(IntentId(row["intent_id"])) for row in stored} == set.union(*ids)
        events = [
            IntentEvent.FromString(row["payload"])
            for row in await intake.database.fetch("SELECT payload FROM intent_events")
        ]
        assert sorted((event.intent_id, event.sequence) for event in events) == sorted(
            (intent_id, 1) for intent_id in set.union(*ids)
        )
        assert {event.phase for event in events} == {IntentPhase.INTENT_PHASE_ACCEPTED}
        assert await intake.rows() == await intake.rows("executions") == ORDERS


async def test_one_nonce__orders_in_one_message__one_is_stored(start_intake: StartIntake) -> None:
    async with start_intake() as intake:
        alpha = intake.network.chains[0]
        orders = [with_output(make_order(alpha, nonce=4711), amount=amount) for amount in range(1, 33)]
        requests = [permit2_request(intake.network, order) for order in orders]
        (results,) = await submit_everywhere(intake.target, requests, 1, principal("service:shop"))
        refusals = [result.refused for result in results.values() if result.HasField("refused")]
        assert len(refusals) == 31
        assert {refusal.reason for refusal in refusals} == {ErrorReason.ERROR_REASON_DUPLICATE_NONCE}
        (holder,) = (result.accepted.intent_id for result in results.values() if result.HasField("accepted"))
        assert [dict(refusal.metadata) for refusal in refusals] == [{"intent_id": holder}] * 31
        assert await intake.rows() == 1


async def test_request_ids__in_one_message__each_is_honoured(start_intake: StartIntake) -> None:
    async with start_intake() as intake:
        alpha = intake.network.chains[0]
        clash = [permit2_request(intake.network, make_order(alpha), request_id="one") for _ in range(4)]
        again = permit2_request(intake.network, make_order(alpha), request_id="two")
        requests = [*clash, again, again, again]
        (results,) = await submit_everywhere(intake.target, requests, 1, principal("service:shop"))
        reused = [r for r in results.values() if r.refused.reason == ErrorReason.ERROR_REASON_REQUEST_ID_REUSED]
        assert len(reused) == 3
        assert [results[index].accepted.created for index in (4, 5, 6)].count(True) == 1
        assert all(results[index].HasField("accepted") for index in (4, 5, 6))
        assert await intake.rows() == await intake.rows("request_ids") == 2


async def test_killed_intake__acknowledged_orders__are_stored_once(
    data_folder: DataFolder, fresh_database: Dsn, valkey_url: ValkeyUrl, network: NetworkConfig, tmp_path: Path
) -> None:
    async with intake_process(data_folder, fresh_database, valkey_url, network, tmp_path) as process:
        await kill_while_submitting(process, fresh_database, network, count=2000, kills=3)


@pytest.mark.parametrize("streamed", [False, True])
async def test_store_away__orders__are_unavailable_and_accepted_when_it_is_back(
    start_intake: StartIntake, data_folder: DataFolder, background_loop: BackgroundLoop, streamed: bool
) -> None:
    # It comes back where it was.
    port = PortReservation()
    server = PostgresServer(data_folder, port=port.port, name=f"postgres-that-stops-{streamed}")
    await asyncio.to_thread(background_loop.run, server.start())
    dsn = await asyncio.to_thread(background_loop.run, server.create_database("mesh"))
    try:
        async with start_intake(postgres_dsn=dsn, open_orders_cache_seconds=60, funds_cache_seconds=60) as intake:
            alpha = intake.network.chains[0]
            await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha)))
            request = permit2_request(intake.network, make_order(alpha))
            await asyncio.to_thread(background_loop.run, server.stop())
            if streamed:
                (results,) = await submit_everywhere(intake.target, [request], 1, ())
                assert results[0].refused.reason == ErrorReason.ERROR_REASON_STORE_UNAVAILABLE
                assert results[0].refused.retry_after_ms
            else:
                error = await refused(intake.stub.SubmitIntent(request))
                assert reason_of(error) == "STORE_UNAVAILABLE"
                assert error.retry_after
            await asyncio.to_thread(background_loop.run, server.start())
            assert (await intake.stub.SubmitIntent(request)).created
    finally:
        await asyncio.to_thread(background_loop.run, server.stop())
        port.release()
