"""Callers who want something that they must not get: races, replays, forged tokens, streams that are no streams."""

import asyncio
import base64
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.tokens import Token
from intentmesh.domain.digests import cancel_intent_digest
from intentmesh.domain.order import Order
from intentmesh.domain.signatures import sign
from intentmesh.domain.types import format_address, format_intent_id
from intentmesh.intake import open_orders
from intentmesh.intake.turns import LONG_TURN, SHORT_TURN, Turns
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.metrics import INTENTS_SUBMITTED, RPC_IN_FLIGHT
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER
from intentmesh.v1 import order_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    CancelIntentRequest,
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentItem,
    SubmitIntentRequest,
    SubmitIntentsRequest,
    SubmitIntentsResponse,
    ValidateIntentRequest,
)
from intentmesh.v1.intent_pb2 import IntentStatus
from prometheus_client import Gauge

from tests.fixtures.orders import (
    INPUT_AMOUNT,
    OTHER,
    OTHER_KEY,
    USER,
    USER_KEY,
    erc3009_request,
    id_of,
    make_order,
    permit2_request,
    with_output,
)
from tests.fixtures.servers import LocalChains
from tests.integration.intake.conftest import (
    Intake,
    StartIntake,
    principal,
    reason_of,
    refused,
    results_of,
    send,
    violations_of,
)

SHOP = principal("service:shop")
OPERATOR = principal("operator:ops")


async def _outcomes(calls: list[Any]) -> Counter[str]:
    """How often what came out: "created", "found", or a reason."""
    found: Counter[str] = Counter()
    for answer in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(answer, grpc.aio.AioRpcError):
            found[reason_of(mesh_error_from_rpc(answer))] += 1
        else:
            found["created" if answer.created else "found"] += 1
    return found


async def _until(holds: Callable[[], Awaitable[Any]]) -> None:
    """Waits for a condition that nothing tells of."""
    async with asyncio.timeout(10):
        while not await holds():  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)


async def _is_zero(gauge: Gauge) -> bool:
    return not gauge._value.get()


async def _has_counted(accepted: float) -> bool:
    return _accepted_submissions() == accepted


def _accepted_submissions() -> float:
    (metric,) = INTENTS_SUBMITTED.collect()
    return sum(
        sample.value
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["status"] == "accepted"
    )


# --- races over two replicas ---


async def test_race__one_request_id_for_many_orders__one_order_has_it(start_intake: StartIntake) -> None:
    async with start_intake() as intake, start_intake() as replica:
        alpha = intake.network.chains[0]
        requests = [permit2_request(intake.network, make_order(alpha), request_id="pay") for _ in range(24)]
        calls = [
            running.stub.SubmitIntent(request, metadata=SHOP) for request in requests for running in (intake, replica)
        ]
        outcomes = await _outcomes(calls)
        assert outcomes == {"created": 1, "found": 1, "REQUEST_ID_REUSED": 46}
        assert await intake.rows() == await intake.rows("request_ids") == await intake.rows("intent_events") == 1


async def test_race__one_order_under_many_request_ids__is_one_intent_and_every_id_is_taken(
    start_intake: StartIntake,
) -> None:
    async with start_intake() as intake, start_intake() as replica:
        order = make_order(intake.network.chains[0])
        requests = [permit2_request(intake.network, order, request_id=f"pay-{number}") for number in range(24)]
        calls = [
            running.stub.SubmitIntent(request, metadata=SHOP) for request in requests for running in (intake, replica)
        ]
        assert await _outcomes(calls) == {"created": 1, "found": 47}
        assert await intake.rows() == 1
        other = permit2_request(intake.network, make_order(intake.network.chains[0]), request_id="pay-7")
        assert await _outcomes([intake.stub.SubmitIntent(other, metadata=SHOP)]) == {"REQUEST_ID_REUSED": 1}


async def test_race__many_orders_on_one_nonce__one_is_stored_and_the_others_are_told_by_whom(
    start_intake: StartIntake,
) -> None:
    async with start_intake() as intake, start_intake() as replica:
        orders = [with_output(make_order(intake.network.chains[0], nonce=9), amount=n) for n in range(1, 25)]
        requests = [permit2_request(intake.network, order) for order in orders]
        calls = [
            running.stub.SubmitIntent(request, metadata=SHOP) for request in requests for running in (intake, replica)
        ]
        assert await _outcomes(calls) == {"created": 1, "found": 1, "DUPLICATE_NONCE": 46}
        assert await intake.rows() == await intake.rows("executions") == 1


async def test_race__one_order_signed_in_two_ways__is_one_intent(intake: Intake) -> None:
    order = make_order(intake.network.chains[0])
    calls = [
        intake.stub.SubmitIntent(request_of(intake.network, order), metadata=SHOP)
        for _ in range(8)
        for request_of in (permit2_request, erc3009_request)
    ]
    assert await _outcomes(calls) == {"created": 1, "found": 15}
    assert await intake.rows() == 1


async def test_caller__that_goes_away_before_its_answer__gains_no_room_and_is_counted(
    start_intake: StartIntake,
) -> None:
    async with start_intake(maximum_open_intents_per_user=2) as intake:
        alpha = intake.network.chains[0]
        accepted = _accepted_submissions()
        # So that what is open is known from memory.
        await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha)))
        async with intake.database.transaction():
            await intake.database.execute("LOCK TABLE intents IN EXCLUSIVE MODE")
            call = intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha)))
            sending = asyncio.ensure_future(_outcomes([call]))
            await _until(lambda: intake.database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            call.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            in_flight = RPC_IN_FLIGHT.labels("intentmesh.v1.IntakeService", "SubmitIntent")
            await _until(lambda: _is_zero(in_flight))
        await _until(lambda: intake.database.fetchval("SELECT count(*) = 2 FROM intents"))
        await _until(lambda: _has_counted(accepted + 2))
        third = permit2_request(intake.network, make_order(alpha))
        assert await _outcomes([intake.stub.SubmitIntent(third)]) == {"TOO_MANY_OPEN_INTENTS": 1}


# --- cancellations ---


def _cancellation(intake: Intake, order: Order, until: int) -> CancelIntentRequest:
    intent_id = id_of(intake.network, order)
    signature = sign(cancel_intent_digest(order.origin_chain_id, intent_id, until), USER_KEY)
    return CancelIntentRequest(intent_id=format_intent_id(intent_id), signature=signature, valid_until=until)


async def test_cancel__many_at_once__is_one_event(intake: Intake) -> None:
    order = make_order(intake.network.chains[0])
    await intake.stub.SubmitIntent(permit2_request(intake.network, order))
    request = _cancellation(intake, order, int(time.time()) + 60)
    answers = await asyncio.gather(*(intake.stub.CancelIntent(request) for _ in range(32)))
    assert {(answer.status, answer.sequence) for answer in answers} == {(IntentStatus.INTENT_STATUS_CANCELLED, 2)}
    assert await intake.rows("intent_events") == 2


async def test_cancel__replayed_on_another_intent_or_with_another_time__is_refused(intake: Intake) -> None:
    first, second = make_order(intake.network.chains[0]), make_order(intake.network.chains[0])
    for order in (first, second):
        await intake.stub.SubmitIntent(permit2_request(intake.network, order))
    request = _cancellation(intake, first, int(time.time()) + 60)
    stolen = CancelIntentRequest()
    stolen.CopyFrom(request)
    stolen.intent_id = format_intent_id(id_of(intake.network, second))
    assert reason_of(await refused(intake.stub.CancelIntent(stolen))) == "WRONG_OWNER"
    late = CancelIntentRequest()
    late.CopyFrom(request)
    late.valid_until -= 1
    assert reason_of(await refused(intake.stub.CancelIntent(late))) == "WRONG_OWNER"
    # What was cancelled stays cancelled, and is found as that.
    await intake.stub.CancelIntent(request)
    again = await intake.stub.SubmitIntent(permit2_request(intake.network, first))
    assert (again.created, again.status) == (False, IntentStatus.INTENT_STATUS_CANCELLED)


# --- who somebody claims to be ---


@pytest.mark.parametrize(
    "claim",
    [
        ((PRINCIPAL_HEADER, "operator:ops"),),
        ((PRINCIPAL_HEADER, "operator:ops"), (TOKEN_HEADER, "")),
        ((PRINCIPAL_HEADER, "operator:ops"), (TOKEN_HEADER, "guess")),
        (("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJwcmluY2lwYWwiOiJvcGVyYXRvcjpvcHMifQ."),),
        (("x-forwarded-client-cert", 'Subject="CN=operator:ops"'),),
    ],
    ids=["bare", "empty token", "wrong token", "a token of its own", "a certificate of its own"],
)
async def test_claims__that_nobody_vouches_for__are_those_of_a_stranger(intake: Intake, claim: Any) -> None:
    stored = await intake.stub.SubmitIntent(
        permit2_request(intake.network, make_order(intake.network.chains[0])), metadata=claim
    )
    told = await intake.stub.GetIntent(GetIntentRequest(intent_id=stored.intent_id))
    assert told.intent.metadata.source == "anonymous"
    error = await refused(intake.stub.ListIntents(ListIntentsRequest(), metadata=claim))
    assert reason_of(error) == "UNAUTHENTICATED"


# --- lists ---


def _forged(token: str, position: Any) -> str:
    fingerprint, _ = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    return base64.urlsafe_b64encode(json.dumps([fingerprint, position]).encode()).decode().rstrip("=")


async def test_list__forged_positions__are_refused_or_harmless(intake: Intake) -> None:
    for _ in range(2):
        await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(intake.network.chains[0])))
    page = await intake.stub.ListIntents(ListIntentsRequest(page_size=1), metadata=OPERATOR)
    some_id = "0x" + "11" * 32
    for position in (5, None, [], "", "x", some_id, f"1 {some_id}0", f"{10**30} {some_id}", f"-{10**17} {some_id}"):
        request = ListIntentsRequest(page_size=1, page_token=_forged(page.next_page_token, position))
        error = await refused(intake.stub.ListIntents(request, metadata=OPERATOR))
        assert reason_of(error) == "INVALID_PAGE_TOKEN", position
    # A position in a query that one may ask shows nothing but that query.
    for position in (f"0 {some_id}", f"-1 {some_id}", f"{4 * 10**15} {some_id}"):
        request = ListIntentsRequest(page_size=1, page_token=_forged(page.next_page_token, position))
        await intake.stub.ListIntents(request, metadata=OPERATOR)


async def test_list__token_of_one_user__is_none_for_another(intake: Intake) -> None:
    for _ in range(2):
        await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(intake.network.chains[0])))
    mine = ListIntentsRequest(user=format_address(USER), page_size=1)
    page = await intake.stub.ListIntents(mine, metadata=principal("user:0x" + USER.hex()))
    theirs = ListIntentsRequest(user=format_address(OTHER), page_token=page.next_page_token)
    other = principal("user:0x" + OTHER.hex())
    assert reason_of(await refused(intake.stub.ListIntents(theirs, metadata=other))) == "INVALID_PAGE_TOKEN"
    mine.page_token = page.next_page_token
    assert reason_of(await refused(intake.stub.ListIntents(mine, metadata=other))) == "NOT_ALLOWED"


async def test_list__created_in_one_commit_while_others_arrive__shows_each_once(intake: Intake) -> None:
    alpha = intake.network.chains[0]

    async def submit(count: int) -> set[str]:
        message = SubmitIntentsRequest()
        for item_id in range(count):
            message.items.add(item_id=item_id, intent=permit2_request(intake.network, make_order(alpha)))
        call = intake.stub.SubmitIntents(metadata=SHOP)
        await call.write(message)
        results = await results_of(call, count)
        await call.done_writing()
        return {result.accepted.intent_id for result in results.values()}

    existing = await submit(40)
    # The clock of a machine may tell one time for all of them.
    await intake.database.execute("UPDATE intents SET created_at = (SELECT min(created_at) FROM intents)")
    seen: list[str] = []
    request = ListIntentsRequest(page_size=7)
    while True:
        page = await intake.stub.ListIntents(request, metadata=OPERATOR)
        seen += [intent.intent_id for intent in page.intents]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await submit(3)
    assert len(seen) == len(set(seen))
    assert existing <= set(seen)


# --- streams ---


async def test_stream__without_any_message__ends_well(intake: Intake) -> None:
    call = intake.stub.SubmitIntents()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF


async def test_stream__one_item_id_twice__has_one_result_for_each_item(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    message = SubmitIntentsRequest()
    for _ in range(3):
        message.items.add(item_id=7, intent=permit2_request(intake.network, make_order(alpha)))
    message.items.add(item_id=7)
    call = intake.stub.SubmitIntents()
    await call.write(message)
    await call.done_writing()
    results = [result async for answer in call for result in answer.results]
    assert [result.item_id for result in results] == [7] * 4
    assert sum(result.HasField("accepted") for result in results) == 3
    assert await intake.rows() == 3


@pytest.mark.parametrize("kind", ["no message", "too large"])
async def test_stream__bytes_that_are_no_message__end_it_after_what_was_taken(intake: Intake, kind: str) -> None:
    good = SubmitIntentsRequest()
    good.items.add(item_id=1, intent=permit2_request(intake.network, make_order(intake.network.chains[0])))
    bad = b"\xff\xff\xff\xff" if kind == "no message" else bytes(2 * 1024 * 1024)
    async with grpc.aio.insecure_channel(intake.target) as channel:
        call = channel.stream_stream("/intentmesh.v1.IntakeService/SubmitIntents")()
        await call.write(good.SerializeToString())
        assert await call.read()
        await call.write(bad)
        error = await refused(call.read())
    assert reason_of(error) == ("INVALID_FIELD" if kind == "no message" else "TOO_LARGE")
    assert await intake.rows() == 1


async def test_stream__begins__turns_are_short_for_others_that_wait_to_begin(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    begun = Turns.begun

    def watched(turns: Turns) -> None:
        before = turns._size
        begun(turns)
        sizes.append((before, turns._size))

    monkeypatch.setattr(Turns, "begun", watched)
    call = intake.stub.SubmitIntents()
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert sizes == [(LONG_TURN, SHORT_TURN)]


async def test_stream__message_too_large_behind_a_good_one__that_one_is_answered_first(intake: Intake) -> None:
    good = SubmitIntentsRequest()
    for item_id in range(64):
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        good.items.add(item_id=item_id, intent=request)
    async with grpc.aio.insecure_channel(intake.target) as channel:
        call = channel.stream_stream("/intentmesh.v1.IntakeService/SubmitIntents")(metadata=SHOP)
        await call.write(good.SerializeToString())
        await call.write(bytes(2 * 1024 * 1024))
        answered = 0
        while answered < 64:
            answered += len(SubmitIntentsResponse.FromString(await call.read()).results)
        error = await refused(call.read())
    assert reason_of(error) == "TOO_LARGE"
    assert await intake.rows() == 64


async def test_submit_intent__too_large__is_counted(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=2) as intake:
        large = SubmitIntentRequest(request_id="x" * 1_100_000)
        reasons = [reason_of(await refused(intake.stub.SubmitIntent(large))) for _ in range(3)]
    assert reasons == ["TOO_LARGE", "TOO_LARGE", "RATE_LIMITED"]


async def test_stream__items_of_the_largest_message__each_has_its_result(start_intake: StartIntake) -> None:
    async with start_intake() as intake:
        item = SubmitIntentItem(intent=permit2_request(intake.network, make_order(intake.network.chains[0])))
        item.intent.order.outputs[0].callback_data = bytes(3000)
        message = SubmitIntentsRequest()
        for item_id in range(256):
            item.item_id = item_id
            message.items.append(item)
        assert 700_000 < message.ByteSize() < 1_048_576
        call = intake.stub.SubmitIntents(metadata=SHOP)
        await call.write(message)
        results = await results_of(call, 256)
        assert {result.refused.reason for result in results.values()} == {ErrorReason.ERROR_REASON_CALLBACK_NOT_ALLOWED}
        await call.done_writing()


async def test_type__of_a_number_that_nobody_knows__is_refused(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    for number in (-1, 4, 2**31 - 1):
        request.type = number  # type: ignore[assignment]
        assert reason_of(await refused(intake.stub.SubmitIntent(request))) == "INVALID_FIELD"
    assert reason_of(await refused(intake.stub.SubmitIntent(SubmitIntentRequest(type=2)))) == "MISSING_FIELD"


# --- many orders of one user at the same moment ---


async def _allow_one_order(intake: Intake, chains: LocalChains, orders: int = 1) -> None:
    """From now on the other user lets Permit2 take what one order takes (or so many), and no more."""
    alpha = intake.network.chains[0]
    async with ChainClients(intake.network) as clients:
        usdc = Token(clients.of(alpha.chain_id), alpha.tokens["USDC"].address)
        await send(chains.alpha, usdc.address, usdc.encode_approve(alpha.permit2, orders * INPUT_AMOUNT), sender=OTHER)


@pytest.mark.parametrize("seconds", [0.0, 10.0], ids=["nothing kept", "funds kept"])
async def test_submit__many_orders_on_funds_for_one__one_is_accepted(
    start_intake: StartIntake, chains: LocalChains, seconds: float
) -> None:
    async with start_intake(funds_cache_seconds=seconds) as intake:
        alpha = intake.network.chains[0]
        await _allow_one_order(intake, chains)
        orders = [make_order(alpha, user=OTHER) for _ in range(20)]
        requests = [permit2_request(intake.network, order, key=OTHER_KEY) for order in orders]
        outcomes = await _outcomes([intake.stub.SubmitIntent(request) for request in requests])
        assert outcomes == {"created": 1, "INSUFFICIENT_ALLOWANCE": 19}
        assert await intake.rows() == 1


async def test_submit__the_user_is_forgotten_meanwhile__one_is_accepted(
    start_intake: StartIntake, chains: LocalChains, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_orders, "_USERS", 1)
    async with start_intake() as intake:
        alpha = intake.network.chains[0]
        await _allow_one_order(intake, chains)
        orders = [make_order(alpha, user=OTHER) for _ in range(10)]
        calls = [intake.stub.SubmitIntent(permit2_request(intake.network, order, key=OTHER_KEY)) for order in orders]
        # Of others, so that there is somebody to be remembered instead.
        calls += [intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha))) for _ in range(10)]
        assert await _outcomes(calls) == {"created": 11, "INSUFFICIENT_ALLOWANCE": 9}


async def test_submit__funds_kept_and_too_small__are_looked_at_anew(
    start_intake: StartIntake, chains: LocalChains
) -> None:
    async with start_intake(funds_cache_seconds=3600.0, open_orders_cache_seconds=3600.0) as intake:
        alpha = intake.network.chains[0]
        await _allow_one_order(intake, chains)
        requests = [permit2_request(intake.network, make_order(alpha, user=OTHER), key=OTHER_KEY) for _ in range(2)]
        assert await _outcomes([intake.stub.SubmitIntent(requests[0])]) == {"created": 1}
        assert await _outcomes([intake.stub.SubmitIntent(requests[1])]) == {"INSUFFICIENT_ALLOWANCE": 1}
        await _allow_one_order(intake, chains, orders=2)

        async def is_accepted() -> bool:
            return await _outcomes([intake.stub.SubmitIntent(requests[1])]) == {"created": 1}

        await _until(is_accepted)


async def test_submit__many_orders_where_two_may_be_open__two_are_accepted(start_intake: StartIntake) -> None:
    async with start_intake(maximum_open_intents_per_user=2) as intake:
        alpha = intake.network.chains[0]
        requests = [permit2_request(intake.network, make_order(alpha)) for _ in range(20)]
        outcomes = await _outcomes([intake.stub.SubmitIntent(request) for request in requests])
        assert outcomes == {"created": 2, "TOO_MANY_OPEN_INTENTS": 18}
        assert await intake.rows() == 2


# --- requests that are mostly air ---

_HOLLOW = SubmitIntentRequest(order=order_pb2.Order(outputs=[order_pb2.OrderOutput()] * 20_000))


async def test_submit__twenty_thousand_empty_outputs__are_refused_as_one_list_that_is_too_long(intake: Intake) -> None:
    error = await refused(intake.stub.SubmitIntent(_HOLLOW))
    assert ("TOO_LARGE", "order.outputs") in violations_of(error)


async def test_submit_intents__a_hollow_order_among_others__they_are_accepted(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    items = [SubmitIntentItem(item_id=n, intent=permit2_request(intake.network, make_order(alpha))) for n in range(9)]
    call = intake.stub.SubmitIntents(metadata=SHOP)
    await call.write(SubmitIntentsRequest(items=[*items, SubmitIntentItem(item_id=9, intent=_HOLLOW)]))
    results = await results_of(call, 10)
    assert {number for number, result in results.items() if result.accepted.created} == {*range(9)}
    assert results[9].refused.reason == ErrorReason.ERROR_REASON_MISSING_FIELD


async def test_submit_intents__a_message_full_of_faults__is_answered_in_messages_that_clients_take(
    intake: Intake,
) -> None:
    faulty = SubmitIntentRequest(
        order=order_pb2.Order(inputs=[order_pb2.OrderInput()] * 16, outputs=[order_pb2.OrderOutput()] * 16)
    )
    call = intake.stub.SubmitIntents(metadata=SHOP)
    for first in (0, 256):
        items = [SubmitIntentItem(item_id=first + number, intent=faulty) for number in range(256)]
        await call.write(SubmitIntentsRequest(items=items))
    results = await results_of(call, 512)
    (omitted,) = {result.refused.metadata["violations_omitted"] for result in results.values()}
    (told,) = {len(result.refused.field_violations) for result in results.values()}
    # Signature and type, the order itself, each input and each output.
    assert int(omitted) + told == 2 + 6 + 16 * 2 + 16 * 6


async def test_validate__twenty_thousand_empty_outputs__is_answered_in_a_message_that_clients_take(
    intake: Intake,
) -> None:
    answer = await intake.stub.ValidateIntent(ValidateIntentRequest(intent=_HOLLOW))
    assert ErrorReason.ERROR_REASON_TOO_LARGE in {violation.reason for violation in answer.violations}
    assert answer.ByteSize() < 65_536


async def test_submit_intents__messages_without_items__are_counted(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=2) as intake:
        reasons = []
        for _ in range(3):
            call = intake.stub.SubmitIntents()
            await call.write(SubmitIntentsRequest())
            reasons.append(reason_of(await refused(call.read())))
    assert reasons == ["MISSING_FIELD", "MISSING_FIELD", "RATE_LIMITED"]


async def test_submit_intents__streams_without_a_message__are_counted(start_intake: StartIntake) -> None:
    async with start_intake(requests_per_minute=2) as intake:
        ended = intake.stub.SubmitIntents()
        await ended.done_writing()
        assert await ended.read() is grpc.aio.EOF
        in_flight = RPC_IN_FLIGHT.labels("intentmesh.v1.IntakeService", "SubmitIntents")
        await _until(lambda: _is_zero(in_flight))
        held = intake.stub.SubmitIntents()

        async def has_come() -> bool:
            return not await _is_zero(in_flight)

        await _until(has_come)
        one_more = intake.stub.SubmitIntents()
        await one_more.done_writing()
        assert reason_of(await refused(one_more.read())) == "RATE_LIMITED"
        held.cancel()
