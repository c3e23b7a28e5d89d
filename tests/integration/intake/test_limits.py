"""Rate limits on submissions: shared by replicas, by principal or address, and never gone with Valkey."""

import asyncio
import itertools
import time
from typing import Any

import grpc
import pytest
from intentmesh.domain.types import Address
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.ports import PortReservation
from intentmesh.embedded.valkey import ValkeyServer, ValkeyUrl
from intentmesh.intake.caller import Caller
from intentmesh.intake.rate_limits import Budget, Limits, RateLimiter
from intentmesh.rpc import leases
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.leases import LeasedTokens, Limit
from intentmesh.rpc.metrics import RATE_LIMITER_FALLBACKS, RATE_LIMITER_LEASES
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.rate_limits import LimitReached
from intentmesh.rpc.valkey import open_valkey
from intentmesh.store import admission
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    CancelIntentRequest,
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentRequest,
    SubmitIntentsRequest,
    ValidateIntentRequest,
)
from redis.asyncio import Redis

from tests.fixtures.background import BackgroundLoop
from tests.fixtures.orders import OTHER, OTHER_KEY, USER, erc3009_request, make_order, permit2_request, with_output
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


async def test_limits__orders_of_one_user_by_two_services__are_counted_for_each(start_intake: StartIntake) -> None:
    async with start_intake(service_user_intents_per_15_minutes=2) as intake:
        for service in ("service:shop", "service:wallet"):
            for _ in range(2):
                assert (await intake.stub.SubmitIntent(_request(intake), metadata=principal(service))).created
            error = await refused(intake.stub.SubmitIntent(_request(intake), metadata=principal(service)))
            assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"


async def test_limits__whole_budgets__are_shared_by_replicas_and_exact(start_intake: StartIntake) -> None:
    """Intent 101 in 15 minutes and request 1,001 in a minute are refused by both until the first one's window ends."""
    calm = {"user_intents_per_10_seconds": 1000}
    async with start_intake(**calm) as intake, start_intake(**calm) as replica:
        turns = itertools.cycle((intake, replica))
        began = time.monotonic()
        for _ in range(100):
            assert (await next(turns).stub.SubmitIntent(_request(intake))).created
        for running in (intake, replica):
            error = await refused(running.stub.SubmitIntent(_request(intake)))
            assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"
            assert error.metadata == {"limit": "100", "window_seconds": str(WINDOW_SECONDS)}
            assert error.retry_after == _wait(began, WINDOW_SECONDS)
        # 102 requests are counted by now.
        empty = ValidateIntentRequest(intent=SubmitIntentRequest())
        for _ in range(898):
            await next(turns).stub.ValidateIntent(empty)
        for running in (intake, replica):
            error = await refused(running.stub.ValidateIntent(empty))
            assert reason_of(error) == "RATE_LIMITED"
            assert error.metadata == {"limit": "1000", "window_seconds": "60"}
            assert error.retry_after == _wait(began, 60)
        assert await intake.rows() == 100


def _wait(began: float, window_seconds: int) -> Any:
    """What a caller is told to wait: to the end of the window that the first call began, in whole seconds or so."""
    return pytest.approx(began + window_seconds - time.monotonic(), abs=1.5)


async def test_limits__answers__tell_what_is_left(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=5, new_intents_per_15_minutes=1) as intake:
        call = intake.stub.ValidateIntent(ValidateIntentRequest(intent=_request(intake)))
        await call
        told = dict(await call.trailing_metadata())
        assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("5", "4")
        assert 0 < int(told["ratelimit-reset"]) <= 60
        call = intake.stub.SubmitIntent(_request(intake))
        await call
        told = dict(await call.trailing_metadata())
        assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("1", "0")
        call = intake.stub.SubmitIntent(_request(intake))
        error = await refused(call)
        told = dict(await call.trailing_metadata())
        assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("1", "0")
        assert int(told["ratelimit-reset"]) == error.retry_after


async def test_limits__orders_of_one_user_by_many_callers__are_counted_for_the_user(start_intake: StartIntake) -> None:
    async with start_intake(user_intents_per_15_minutes=2, trusted_proxies=("127.0.0.0/8",)) as intake:
        for client in ("203.0.113.7", "203.0.113.8"):
            hop = (("x-forwarded-for", client),)
            assert (await intake.stub.SubmitIntent(_request(intake), metadata=hop)).created
        hop = (("x-forwarded-for", "203.0.113.9"),)
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake), metadata=hop))) == (
            "TOO_MANY_INTENTS_CREATED"
        )
        # Only the user's own signature counts against the user.
        forged = permit2_request(intake.network, make_order(intake.network.chains[0], user=OTHER))
        for _ in range(3):
            assert reason_of(await refused(intake.stub.SubmitIntent(forged, metadata=hop))) == "WRONG_OWNER"
        mine = erc3009_request(intake.network, make_order(intake.network.chains[0], user=OTHER), key=OTHER_KEY)
        assert (await intake.stub.SubmitIntent(mine, metadata=hop)).created


async def test_limits__one_order_sent_again_and_again__uses_up_one_of_what_its_user_may_bring(
    start_intake: StartIntake,
) -> None:
    async with start_intake(user_intents_per_15_minutes=2, trusted_proxies=("127.0.0.0/8",)) as intake:
        first, second = _request(intake), _request(intake)

        async def replay(number: int) -> bool:
            stranger = (("x-forwarded-for", f"203.0.113.{number}"),)
            return (await intake.stub.SubmitIntent(first, metadata=stranger)).created

        # Before it is stored, and after.
        assert sum(await asyncio.gather(*(replay(number) for number in range(8)))) == 1
        assert [await replay(number) for number in range(8)] == [False] * 8
        assert (await intake.stub.SubmitIntent(second)).created
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake)))) == "TOO_MANY_INTENTS_CREATED"
        assert not await replay(9)


async def test_limits__order_on_a_nonce_that_is_held__uses_up_nothing_of_what_its_user_may_bring(
    start_intake: StartIntake,
) -> None:
    async with start_intake(user_intents_per_15_minutes=2, trusted_proxies=("127.0.0.0/8",)) as intake:
        held = make_order(intake.network.chains[0])
        assert (await intake.stub.SubmitIntent(permit2_request(intake.network, held))).created
        clash = permit2_request(intake.network, with_output(held, amount=3))
        for number in range(3):
            stranger = (("x-forwarded-for", f"203.0.113.{number}"),)
            error = await refused(intake.stub.SubmitIntent(clash, metadata=stranger))
            assert reason_of(error) == "DUPLICATE_NONCE"
        assert (await intake.stub.SubmitIntent(_request(intake))).created
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake)))) == "TOO_MANY_INTENTS_CREATED"


async def test_limits__order_brought_by_a_refused_user_and_by_a_service_at_once__is_counted_for_each(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service has a budget of its own for the user: what refuses the other caller does not refuse it."""
    count_user = RateLimiter.count_user
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def counted(limiter: RateLimiter, user: Address, caller: Caller) -> None:
        try:
            await count_user(limiter, user, caller)
        except LimitReached:
            entered.set()
            await go_on.wait()
            raise

    async with start_intake(user_intents_per_15_minutes=1) as intake:
        assert (await intake.stub.SubmitIntent(_request(intake))).created
        monkeypatch.setattr(RateLimiter, "count_user", counted)
        order = _request(intake)
        by_stranger = intake.stub.SubmitIntent(order)
        try:
            async with asyncio.timeout(5):
                await entered.wait()
                assert (await intake.stub.SubmitIntent(order, metadata=principal("service:shop"))).created
        finally:
            go_on.set()
        # Stored by now, so that it is found.
        assert not (await by_stranger).created


@pytest.mark.parametrize(("caller", "looks"), [("service:shop", 0), ("anonymous", 1)])
async def test_limits__order_on_its_way_to_be_counted__is_looked_up_for_users_only(
    start_intake: StartIntake, monkeypatch: pytest.MonkeyPatch, caller: str, looks: int
) -> None:
    """A question to the store for each order takes three quarters of what a service can bring in a stream."""
    asked: list[object] = []
    standing_of = admission.standing_of

    async def counted(*arguments: Any) -> Any:
        asked.append(arguments)
        return await standing_of(*arguments)

    monkeypatch.setattr(admission, "standing_of", counted)
    async with start_intake() as intake:
        metadata = () if caller == "anonymous" else principal(caller)
        assert (await intake.stub.SubmitIntent(_request(intake), metadata=metadata)).created
        assert len(asked) == looks


def _told(metadata: object) -> tuple[str, str]:
    told = dict(metadata)  # type: ignore[call-overload]  # grpc's own type of metadata
    assert 0 < int(told["ratelimit-reset"]) <= WINDOW_SECONDS
    return told["ratelimit-limit"], told["ratelimit-remaining"]


async def test_limits__user_is_refused__the_answer_tells_of_the_users_budget(start_intake: StartIntake) -> None:
    async with start_intake(user_intents_per_15_minutes=1) as intake:
        await intake.stub.SubmitIntent(_request(intake))
        call = intake.stub.SubmitIntent(_request(intake))
        error = await refused(call)
        assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"
        assert error.metadata == {"limit": "1", "window_seconds": str(WINDOW_SECONDS)}
        assert _told(await call.trailing_metadata()) == ("1", "0")


async def test_limits__stream__its_end_tells_what_is_left_of_the_items(start_intake: StartIntake) -> None:
    async with start_intake(new_intents_per_15_minutes=3) as intake:
        message = SubmitIntentsRequest()
        for item_id in range(2):
            message.items.add(item_id=item_id, intent=_request(intake))
        call = intake.stub.SubmitIntents()
        await call.write(message)
        await results_of(call, 2)
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
        assert _told(await call.trailing_metadata()) == ("3", "1")


async def test_limits__stream_over_the_requests__ends_with_the_wait_and_what_is_left(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=1) as intake:
        message = SubmitIntentsRequest()
        message.items.add(item_id=1, intent=_request(intake))
        call = intake.stub.SubmitIntents()
        await call.write(message)
        await results_of(call, 1)
        await call.write(message)
        error = await refused(call.read())
        assert reason_of(error) == "RATE_LIMITED"
        assert error.retry_after
        assert _told(await call.trailing_metadata()) == ("1", "0")


@pytest.mark.parametrize("streamed", [False, True])
async def test_limits__burst_of_one_user__is_suspicious_for_a_while(start_intake: StartIntake, streamed: bool) -> None:
    async with start_intake(user_intents_per_10_seconds=2) as intake:
        for _ in range(2):
            assert (await intake.stub.SubmitIntent(_request(intake))).created
        if streamed:
            call = intake.stub.SubmitIntents()
            message = SubmitIntentsRequest()
            message.items.add(item_id=1, intent=_request(intake))
            await call.write(message)
            refusal = (await results_of(call, 1))[1].refused
            assert refusal.reason == ErrorReason.ERROR_REASON_SUSPICIOUS_PATTERN
            assert 0 < refusal.retry_after_ms <= 10_000
            await call.done_writing()
        else:
            error = await refused(intake.stub.SubmitIntent(_request(intake)))
            assert (type(error).__name__, reason_of(error)) == ("ResourceExhausted", "SUSPICIOUS_PATTERN")
            assert error.retry_after is not None
            assert 0 < error.retry_after <= 10
        # Others are not punished for it, and a service brings the orders of many hands.
        other = erc3009_request(intake.network, make_order(intake.network.chains[0], user=OTHER), key=OTHER_KEY)
        assert (await intake.stub.SubmitIntent(other)).created
        assert (await intake.stub.SubmitIntent(_request(intake), metadata=principal("service:shop"))).created


async def test_limits__burst_of_a_known_user__is_suspicious_as_well(start_intake: StartIntake) -> None:
    async with start_intake(user_intents_per_10_seconds=2) as intake:
        user = principal("user:0x" + USER.hex())
        for _ in range(2):
            assert (await intake.stub.SubmitIntent(_request(intake), metadata=user)).created
        assert reason_of(await refused(intake.stub.SubmitIntent(_request(intake), metadata=user))) == (
            "SUSPICIOUS_PATTERN"
        )


async def test_limits__raised_while_it_runs__grant_what_was_refused(valkey_url: ValkeyUrl) -> None:
    async with open_valkey(valkey_url) as valkey:
        limiter = RateLimiter(LeasedTokens(valkey), Limits(requests=Limit(1, 60)), Limits())
        caller = Caller(Principal(PrincipalKind.USER, "0x" + USER.hex()), "", "")
        await limiter.count(Budget.REQUESTS, caller)
        with pytest.raises(LimitReached):
            await limiter.count(Budget.REQUESTS, caller)
        limiter.replace(Limits(requests=Limit(2, 60)), Limits())
        await limiter.count(Budget.REQUESTS, caller)


async def test_requests__malformed_ones__count_as_well(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=2) as intake:
        assert reason_of(await refused(intake.stub.CancelIntent(CancelIntentRequest()))) == "MISSING_FIELD"
        negative = ListIntentsRequest(page_size=-1)
        assert reason_of(await refused(intake.stub.ListIntents(negative))) == "INVALID_FIELD"
        assert reason_of(await refused(intake.stub.CancelIntent(CancelIntentRequest()))) == "RATE_LIMITED"


NOISE = b"\xff\xff\xff"


@pytest.mark.parametrize(
    ("method", "body", "reason"),
    [
        ("SubmitIntent", NOISE, "INVALID_FIELD"),
        ("ValidateIntent", NOISE, "INVALID_FIELD"),
        ("CancelIntent", NOISE, "INVALID_FIELD"),
        ("CancelIntent", b"", "MISSING_FIELD"),
        ("ListIntents", NOISE, "INVALID_FIELD"),
        ("ListIntents", ListIntentsRequest(page_size=-1).SerializeToString(), "INVALID_FIELD"),
        ("GetIntent", NOISE, "INVALID_FIELD"),
        ("GetIntent", GetIntentRequest(intent_id="0x12").SerializeToString(), "INVALID_FIELD"),
    ],
)
async def test_limits__requests_that_cannot_be_read_or_break_rules__count_as_any(
    start_intake: StartIntake, method: str, body: bytes, reason: str
) -> None:
    budget = "reads_per_minute" if method == "GetIntent" else "requests_per_minute"
    async with (
        start_intake(**{budget: 2}) as intake,
        grpc.aio.insecure_channel(intake.target) as channel,
    ):
        ask = channel.unary_unary(f"/intentmesh.v1.IntakeService/{method}")
        for left in ("1", "0"):
            call = ask(body)
            assert reason_of(await refused(call)) == reason
            told = dict(await call.trailing_metadata())
            if method != "SubmitIntent":
                assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("2", left)
        call = ask(body)
        error = await refused(call)
        assert reason_of(error) == "RATE_LIMITED"
        assert error.retry_after
        assert _told(await call.trailing_metadata()) == ("2", "0")


async def test_new_intents__submissions_that_cannot_be_read__count_as_well(start_intake: StartIntake) -> None:
    async with (
        start_intake(new_intents_per_15_minutes=2) as intake,
        grpc.aio.insecure_channel(intake.target) as channel,
    ):
        for _ in range(2):
            noise = channel.unary_unary("/intentmesh.v1.IntakeService/SubmitIntent")(NOISE)
            assert reason_of(await refused(noise)) == "INVALID_FIELD"
        error = await refused(intake.stub.SubmitIntent(_request(intake)))
        assert reason_of(error) == "TOO_MANY_INTENTS_CREATED"


async def test_requests__messages_of_a_stream_that_cannot_be_read__count_as_well(start_intake: StartIntake) -> None:
    async with (
        start_intake(requests_per_minute=2) as intake,
        grpc.aio.insecure_channel(intake.target) as channel,
    ):
        for reason in ("INVALID_FIELD", "INVALID_FIELD", "RATE_LIMITED"):
            call = channel.stream_stream("/intentmesh.v1.IntakeService/SubmitIntents")()
            await call.write(NOISE)
            assert reason_of(await refused(call.read())) == reason


async def test_reads__by_id__have_a_budget_of_their_own(start_intake: StartIntake) -> None:
    async with start_intake(reads_per_minute=3, requests_per_minute=1) as intake:
        stored = await intake.stub.SubmitIntent(_request(intake))
        for _ in range(3):
            await intake.stub.GetIntent(GetIntentRequest(intent_id=stored.intent_id))
        call = intake.stub.GetIntent(GetIntentRequest(intent_id=stored.intent_id))
        assert reason_of(await refused(call)) == "RATE_LIMITED"
        assert _told(await call.trailing_metadata()) == ("3", "0")


async def test_limits__large_limit__is_leased_in_portions_and_still_holds(start_intake: StartIntake) -> None:
    async with (
        start_intake(new_intents_per_15_minutes=20_000, requests_per_minute=100_000) as intake,
        start_intake(new_intents_per_15_minutes=20_000, requests_per_minute=100_000) as replica,
    ):
        before = RATE_LIMITER_LEASES._value.get()
        empty = SubmitIntentsRequest()
        for item_id in range(250):
            empty.items.add(item_id=item_id)
        calls = [running.stub.SubmitIntents() for running in (intake, replica)]
        refusals = 0
        for _ in range(41):
            for call in calls:
                await call.write(empty)
                results = await results_of(call, 250)
                reasons = [result.refused.reason for result in results.values()]
                refusals += reasons.count(ErrorReason.ERROR_REASON_TOO_MANY_INTENTS_CREATED)
        # What a replica has leased and not used is lost, a thousandth of the limit at most.
        assert 82 * 250 - 20_000 <= refusals <= 82 * 250 - 20_000 + 2 * 20
        assert RATE_LIMITER_LEASES._value.get() - before < 400


async def test_limits__valkey_stopped_and_back__each_replica_counts_alone_meanwhile(
    start_intake: StartIntake, data_folder: DataFolder, background_loop: BackgroundLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "FALLBACK_SECONDS", 0.5)
    port = PortReservation()
    server = ValkeyServer(data_folder, port=port.port, name="valkey-that-stops")
    await asyncio.to_thread(background_loop.run, server.start())
    settings = {
        "valkey_url": server.url,
        "new_intents_per_15_minutes": 6,
        "requests_per_minute": 40,
        "trusted_proxies": ("127.0.0.0/8",),
    }
    try:
        async with start_intake(**settings) as intake, start_intake(**settings) as replica:
            for running in (intake, replica):
                assert await _accepted(running, 1) == 1
            await asyncio.to_thread(background_loop.run, server.stop())
            before = RATE_LIMITER_FALLBACKS._value.get()
            # The stated tolerance: the whole limit by each replica, what it granted before included.
            assert await _accepted(intake, 10) == 5
            assert await _accepted(replica, 2) == 2
            # Requests: 40 by each, and 11 and 3 of them are counted.
            assert await _validated(intake, 35) == 29
            assert await _validated(replica, 39) == 37
            assert RATE_LIMITER_FALLBACKS._value.get() > before
            await asyncio.to_thread(background_loop.run, server.start())
            for running in (intake, replica):
                await _until_valkey_counts(running)
            # What was granted without Valkey has been reported to it, so nothing is left for anybody.
            for running in (intake, replica):
                assert await _accepted(running, 1, client="203.0.113.7") == 0
                assert await _validated(running, 1) == 0
            # And all count together again.
            assert [await _accepted(running, 3, client="203.0.113.8") for running in (intake, replica)] == [3, 3]
            assert [await _accepted(running, 1, client="203.0.113.8") for running in (intake, replica)] == [0, 0]
    finally:
        await asyncio.to_thread(background_loop.run, server.stop())
        port.release()


async def test_limits__valkey_lost_its_data__what_a_replica_granted_in_the_window_still_counts(
    start_intake: StartIntake, data_folder: DataFolder, background_loop: BackgroundLoop
) -> None:
    port = PortReservation()
    server = ValkeyServer(data_folder, port=port.port, name="valkey-that-forgets")
    await asyncio.to_thread(background_loop.run, server.start())
    settings = {"valkey_url": server.url, "requests_per_minute": 10, "trusted_proxies": ("127.0.0.0/8",)}
    try:
        async with start_intake(**settings) as intake, start_intake(**settings) as replica:
            before = time.monotonic()
            assert await _validated(intake, 9) == 9
            # The window began between these two.
            after = time.monotonic()
            # A window that began now would be told from it.
            await asyncio.sleep(3)
            async with Redis.from_url(server.url) as valkey:
                await valkey.flushall()
            assert await _validated(intake, 3) == 1
            # Valkey has been told, and of the same window.
            empty = ValidateIntentRequest(intent=SubmitIntentRequest())
            for running in (intake, replica):
                asked = time.monotonic()
                error = await refused(running.stub.ValidateIntent(empty, metadata=_hop("203.0.113.7")))
                assert error.retry_after is not None
                # Told in whole seconds, or less.
                assert before + 60 - time.monotonic() - 1 <= error.retry_after <= after + 60 - asked + 1
    finally:
        await asyncio.to_thread(background_loop.run, server.stop())
        port.release()


async def test_limits__window_ended_in_valkey_first__the_next_one_is_whole(valkey_url: ValkeyUrl) -> None:
    now = 1_000.0
    limit = Limit(amount=5, seconds=60)
    async with open_valkey(valkey_url) as valkey:
        tokens = LeasedTokens(valkey, lambda: now)
        assert [(await tokens.take("key", limit)).granted for _ in range(4)] == [1] * 4
        now += limit.seconds - leases.TIMEOUT_SECONDS
        await valkey.flushall()
        assert [(await tokens.take("key", limit)).granted for _ in range(7)] == [1] * 5 + [0] * 2


async def _until_valkey_counts(intake: Intake) -> None:
    """Asks, each time for a client of its own, until Valkey was asked about it."""
    async with asyncio.timeout(10):
        for number in itertools.count():
            before = RATE_LIMITER_LEASES._value.get()
            assert await _validated(intake, 1, client=f"198.51.100.{number}") == 1
            if RATE_LIMITER_LEASES._value.get() > before:
                return
            await asyncio.sleep(0.05)


def _hop(client: str) -> tuple[tuple[str, str], ...]:
    return (("x-forwarded-for", client),)


async def _validated(intake: Intake, attempts: int, client: str = "203.0.113.7") -> int:
    """How many of so many requests are answered; the others have to be refused by the limit of requests."""
    answered = 0
    for _ in range(attempts):
        call = intake.stub.ValidateIntent(ValidateIntentRequest(intent=SubmitIntentRequest()), metadata=_hop(client))
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        if isinstance(outcome, grpc.aio.AioRpcError):
            assert reason_of(mesh_error_from_rpc(outcome)) == "RATE_LIMITED"
        else:
            answered += 1
    return answered


async def _accepted(intake: Intake, attempts: int, client: str = "203.0.113.7") -> int:
    """How many of so many submissions are accepted; the others have to be refused by the limit."""
    accepted = 0
    for _ in range(attempts):
        call = intake.stub.SubmitIntent(_request(intake), metadata=_hop(client))
        (outcome,) = await asyncio.gather(call, return_exceptions=True)
        if isinstance(outcome, grpc.aio.AioRpcError):
            assert reason_of(mesh_error_from_rpc(outcome)) in ("TOO_MANY_INTENTS_CREATED", "RATE_LIMITED")
        else:
            accepted += outcome.created
    return accepted


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
