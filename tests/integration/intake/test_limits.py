"""Rate limits on submissions: shared by replicas, by principal or address, and never gone with Valkey."""

import asyncio

import pytest
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.valkey import ValkeyServer
from intentmesh.intake.metrics import RATE_LIMITER_FALLBACKS
from intentmesh.v1.intake_service_pb2 import (
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentRequest,
    SubmitIntentsRequest,
    ValidateIntentRequest,
)

from tests.fixtures.background import BackgroundLoop
from tests.fixtures.orders import USER, make_order, permit2_request
from tests.integration.intake.conftest import Intake, StartIntake, principal, reason_of, refused, results_of

WINDOW_SECONDS = 15 * 60


def _request(intake: Intake) -> SubmitIntentRequest:
    return permit2_request(intake.network, make_order(intake.network.chains[0]))


async def test_new_intents__over_the_limit__are_refused_with_the_wait(start_intake: StartIntake) -> None:
    async with (
        start_intake(new_intents_per_15_minutes=3) as intake,
        start_intake(new_intents_per_15_minutes=3) as replica,
    ):
        for running in (intake, replica, intake):
            await running.stub.SubmitIntent(_request(intake))
        error = await refused(replica.stub.SubmitIntent(_request(intake)))
        assert type(error).__name__ == "ResourceExhausted"
        assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"
        assert error.message == "Too many intents created, please try again later"
        assert error.metadata == {"limit": "3", "window_seconds": str(WINDOW_SECONDS)}
        assert error.retry_after is not None
        assert WINDOW_SECONDS - 60 < error.retry_after <= WINDOW_SECONDS
        assert await intake.rows() == 3
        # Somebody else, vouched for, is not punished for it.
        user = "user:0x" + USER.hex()
        assert (await intake.stub.SubmitIntent(_request(intake), metadata=principal(user))).created


async def test_new_intents__refused_orders__count_as_well(start_intake: StartIntake) -> None:
    async with start_intake(new_intents_per_15_minutes=2) as intake:
        for _ in range(2):
            assert reason_of(await refused(intake.stub.SubmitIntent(SubmitIntentRequest()))) == "MISSING_FIELD"
        error = await refused(intake.stub.SubmitIntent(_request(intake)))
        assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"


async def test_new_intents__items_of_a_stream__count_one_each(start_intake: StartIntake) -> None:
    async with start_intake(new_intents_per_15_minutes=2) as intake:
        message = SubmitIntentsRequest()
        for item_id in range(4):
            message.items.add(item_id=item_id, intent=_request(intake))
        call = intake.stub.SubmitIntents()
        await call.write(message)
        results = await results_of(call, 4)
        refusals = [result.refused for result in results.values() if result.HasField("refused")]
        assert len(refusals) == 2
        assert all(refusal.retry_after_ms > 1000 for refusal in refusals)
        await call.done_writing()
        assert await intake.rows() == 2


async def test_requests__over_the_limit__are_refused_but_reading_by_id_is_not(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=2) as intake:
        submitted = await intake.stub.SubmitIntent(_request(intake))
        await intake.stub.ValidateIntent(ValidateIntentRequest(intent=_request(intake)))
        error = await refused(intake.stub.ListIntents(ListIntentsRequest()))
        assert reason_of(error) == "RATE_LIMITED"
        assert error.retry_after is not None
        assert 0 < error.retry_after <= 60
        assert (await intake.stub.GetIntent(GetIntentRequest(intent_id=submitted.intent_id))).intent.sequence == 1


async def test_limits__principals_of_class_service__have_their_own(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=1, new_intents_per_15_minutes=1) as intake:
        for _ in range(3):
            assert (await intake.stub.SubmitIntent(_request(intake), metadata=principal("service:shop"))).created
        assert (await intake.stub.SubmitIntent(_request(intake))).created
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake)))) == "RATE_LIMITED"
        # A principal that nobody vouches for is none.
        unproven = (("x-intentmesh-principal", "service:shop"),)
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake), metadata=unproven))) == "RATE_LIMITED"


async def test_limits__valkey_away__a_local_limiter_takes_over(
    start_intake: StartIntake, data_folder: DataFolder, background_loop: BackgroundLoop
) -> None:
    server = ValkeyServer(data_folder, name="valkey-that-dies")
    await asyncio.to_thread(background_loop.run, server.start())
    async with start_intake(valkey_url=server.url, new_intents_per_15_minutes=3) as intake:
        await intake.stub.SubmitIntent(_request(intake))
        await asyncio.to_thread(background_loop.run, server.stop())
        before = RATE_LIMITER_FALLBACKS._value.get()
        for _ in range(2):
            assert (await intake.stub.SubmitIntent(_request(intake))).created
        error = await refused(intake.stub.SubmitIntent(_request(intake)))
        assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"
        assert RATE_LIMITER_FALLBACKS._value.get() > before


@pytest.mark.parametrize("forwarded", ["203.0.113.7", "203.0.113.8, 203.0.113.7"])
async def test_limits__forwarded_for_of_a_stranger__gains_nothing(start_intake: StartIntake, forwarded: str) -> None:
    async with start_intake(requests_per_minute=1) as intake:
        await intake.stub.SubmitIntent(_request(intake))
        spoofed = (("x-forwarded-for", forwarded),)
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake), metadata=spoofed))) == "RATE_LIMITED"


async def test_limits__trusted_proxy__clients_are_told_apart(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=1, trusted_proxies=("127.0.0.0/8",)) as intake:
        for client in ("203.0.113.7", "203.0.113.8"):
            hop = (("x-forwarded-for", client),)
            assert (await intake.stub.SubmitIntent(_request(intake), metadata=hop)).created
            assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake), metadata=hop))) == "RATE_LIMITED"
