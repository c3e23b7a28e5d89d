"""SubmitIntent: what is accepted is stored once and whole; what is refused says why and leaves nothing behind."""

import asyncio
from dataclasses import replace

import grpc
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.tokens import Token
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import abi_bytes, word
from intentmesh.domain.types import Address, format_address, format_intent_id, to_bytes32
from intentmesh.embedded.probes import json_rpc
from intentmesh.intake.open_orders import FRESH_SECONDS
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intake_service_pb2 import (
    GetIntentRequest,
    SubmitIntentRequest,
    SubmitIntentsRequest,
    ValidateIntentRequest,
)
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceStub
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, IntentType, Obligation

from tests.fixtures.orders import (
    OTHER,
    OTHER_KEY,
    RECIPIENT,
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
    Metadata,
    StartIntake,
    principal,
    reason_of,
    refused,
    results_of,
    send,
    violations_of,
)

# --- accepted ---


@pytest.mark.parametrize("sign", [permit2_request, erc3009_request])
@pytest.mark.parametrize(
    ("destination", "get", "intent_type"),
    [
        (0, "WETH", IntentType.INTENT_TYPE_SWAP),
        (1, "USDC", IntentType.INTENT_TYPE_BRIDGE),
        (0, "USDC", IntentType.INTENT_TYPE_TRANSFER),
    ],
)
async def test_submit_intent__right_order__is_stored_with_its_event_and_its_work(
    intake: Intake, sign, destination: int, get: str, intent_type: int
) -> None:
    alpha = intake.network.chains[0]
    order = make_order(alpha, intake.network.chains[destination], get=get)
    response = await intake.stub.SubmitIntent(sign(intake.network, order))
    assert response.intent_id == format_intent_id(id_of(intake.network, order))
    assert (response.status, response.sequence, response.created) == (IntentStatus.INTENT_STATUS_PENDING, 1, True)

    stored = (
        await intake.stub.GetIntent(
            GetIntentRequest(intent_id=response.intent_id.upper().replace("X", "x")), metadata=principal("operator:ops")
        )
    ).intent
    assert stored.type == intent_type
    assert stored.phase == IntentPhase.INTENT_PHASE_ACCEPTED
    assert stored.obligation == Obligation.OBLIGATION_NONE
    assert stored.expire_time.seconds == order.fill_deadline
    assert stored.metadata.source == "anonymous"
    assert stored.metadata.ip == "127.0.0.1"
    assert stored.metadata.user_agent.startswith("grpc-python-asyncio")

    payload = await intake.database.fetchval("SELECT payload FROM intent_events WHERE sequence = 1")
    event = IntentEvent.FromString(payload)
    assert event.intent_id == response.intent_id
    assert event.message
    assert len(event.trace_id) == 32
    assert await intake.rows("executions") == 1


async def test_submit_intent__same_order_again__is_the_same_intent(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    first = await intake.stub.SubmitIntent(request)
    second = await intake.stub.SubmitIntent(request)
    assert second.intent_id == first.intent_id
    assert (first.created, second.created) == (True, False)
    assert await intake.rows() == await intake.rows("intent_events") == 1


async def test_submit_intent__same_order_at_once__is_one_intent(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    answers = await asyncio.gather(*(intake.stub.SubmitIntent(request) for _ in range(32)))
    assert {answer.intent_id for answer in answers} == {answers[0].intent_id}
    assert sorted(answer.created for answer in answers) == [False] * 31 + [True]
    assert await intake.rows() == await intake.rows("intent_events") == await intake.rows("executions") == 1


async def test_submit_intent__accepted_before__is_found_although_it_would_be_refused_now(
    start_intake: StartIntake,
) -> None:
    async with start_intake(finalise_margin_seconds=0) as intake:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        await intake.stub.SubmitIntent(request)
    async with start_intake(minimum_fill_seconds=10_000, maximum_open_intents_per_user=1) as intake:
        again = await intake.stub.SubmitIntent(request)
        assert not again.created


async def test_submit_intent__accepted_before_its_recipient_was_banned__is_found(start_intake: StartIntake) -> None:
    async with start_intake() as intake:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        await intake.stub.SubmitIntent(request)
        fresh = permit2_request(intake.network, make_order(intake.network.chains[0]))
    async with start_intake(banned_recipients=(format_address(RECIPIENT),)) as intake:
        assert not (await intake.stub.SubmitIntent(request)).created
        assert not (await intake.stub.ValidateIntent(ValidateIntentRequest(intent=request))).violations
        assert reason_of(await refused(intake.stub.SubmitIntent(fresh))) == "BANNED"


@pytest.mark.parametrize("name", ["a\u202eb", "a\x07b", "a\u200bb", "a\nb", "\u2066x"], ids=ascii)
async def test_submit_intent__request_id_that_cannot_be_read__is_suspicious(intake: Intake, name: str) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]), request_id=name)
    error = await refused(intake.stub.SubmitIntent(request))
    assert violations_of(error) == {("SUSPICIOUS_PATTERN", "request_id")}
    dry = await intake.stub.ValidateIntent(ValidateIntentRequest(intent=request))
    assert [violation.field for violation in dry.violations] == ["request_id"]
    assert await intake.is_empty()
    request.request_id = "Zahlung für Zoë, 2"
    assert (await intake.stub.SubmitIntent(request)).created


async def test_submit_intent__user_agent_of_any_kind__is_stored_clean_and_bounded(intake: Intake) -> None:
    agent = "shop/1 " + "x" * 400
    options = [("grpc.primary_user_agent", agent)]
    async with grpc.aio.insecure_channel(intake.target, options=options) as channel:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        stored = await IntakeServiceStub(channel).SubmitIntent(request)
    request = GetIntentRequest(intent_id=stored.intent_id)
    metadata = (await intake.stub.GetIntent(request, metadata=principal("operator:ops"))).intent.metadata
    assert metadata.user_agent == agent[:256]


# --- refused: the cases that the product promises, each with its reason and field, nothing stored ---


async def test_submit_intent__wrong_signature__is_refused(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]), key=OTHER_KEY)
    error = await refused(intake.stub.SubmitIntent(request))
    assert type(error).__name__ == "InvalidArgument"
    assert reason_of(error) == "WRONG_OWNER"
    assert violations_of(error) == {("WRONG_OWNER", "signature")}
    assert error.metadata["recovered"].lower() == "0x" + OTHER.hex()
    assert await intake.is_empty()


async def test_submit_intent__signature_of_no_kind__is_refused(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]), signature=b"\x07" + bytes(65))
    error = await refused(intake.stub.SubmitIntent(request))
    assert violations_of(error) == {("INVALID_SIGNATURE", "signature")}
    assert await intake.is_empty()


@pytest.mark.parametrize("sign", [permit2_request, erc3009_request])
async def test_submit_intent__tampered_amount__is_refused(intake: Intake, sign) -> None:
    request = sign(intake.network, make_order(intake.network.chains[0]))
    request.order.outputs[0].amount = "1"
    error = await refused(intake.stub.SubmitIntent(request))
    assert violations_of(error) == {("WRONG_OWNER", "signature")}
    assert await intake.is_empty()


async def test_submit_intent__expired_deadline__is_refused(intake: Intake) -> None:
    order = make_order(intake.network.chains[0], fill_deadline=1_700_000_000)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order)))
    assert reason_of(error) == "INSUFFICIENT_VALID_TO"
    assert violations_of(error) == {("INSUFFICIENT_VALID_TO", "order.fill_deadline")}
    assert int(error.metadata["earliest"]) > 1_700_000_000
    assert await intake.is_empty()


async def test_submit_intent__unknown_token__is_refused(intake: Intake) -> None:
    order = with_output(make_order(intake.network.chains[0]), token=to_bytes32(RECIPIENT))
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order)))
    assert reason_of(error) == "UNSUPPORTED_TOKEN"
    assert violations_of(error) == {("UNSUPPORTED_TOKEN", "order.outputs[0].token")}
    assert error.metadata["chain_id"] == str(order.origin_chain_id)
    assert await intake.is_empty()


async def test_submit_intent__unknown_chain__is_refused(intake: Intake) -> None:
    order = make_order(intake.network.chains[0], origin_chain_id=424242)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order)))
    assert reason_of(error) == "UNSUPPORTED_CHAIN"
    assert ("UNSUPPORTED_CHAIN", "order.origin_chain_id") in violations_of(error)
    assert error.metadata == {"chain_id": "424242"}
    assert await intake.is_empty()


async def test_submit_intent__empty_message__is_refused(intake: Intake) -> None:
    error = await refused(intake.stub.SubmitIntent(SubmitIntentRequest()))
    assert reason_of(error) == "MISSING_FIELD"
    assert violations_of(error) == {(("MISSING_FIELD"), field) for field in ("order", "signature", "type")}
    assert await intake.is_empty()


async def test_submit_intent__too_large_a_field__is_refused(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    request.order.outputs[0].callback_data = bytes(8193)
    error = await refused(intake.stub.SubmitIntent(request))
    assert violations_of(error) == {("TOO_LARGE", "order.outputs[0].callback_data")}
    assert await intake.is_empty()


async def test_submit_intent__too_large_a_message__is_refused(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    request.order.outputs[0].callback_data = bytes(2 * 1024 * 1024)
    error = await refused(intake.stub.SubmitIntent(request))
    assert type(error).__name__ == "ResourceExhausted"
    assert reason_of(error) == "TOO_LARGE"
    assert await intake.is_empty()


async def test_submit_intent__bytes_that_are_no_message__are_refused(intake: Intake) -> None:
    async with grpc.aio.insecure_channel(intake.target) as channel:
        call = channel.unary_unary("/intentmesh.v1.IntakeService/SubmitIntent")
        error = await refused(call(b"\xff\xff\xff\xff"))
    assert reason_of(error) == "INVALID_FIELD"
    assert await intake.is_empty()


async def test_submit_intent__several_faults__are_told_at_once(intake: Intake) -> None:
    order = make_order(intake.network.chains[0], fill_deadline=1_700_000_000, input_oracle=USER)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order)))
    assert violations_of(error) == {
        ("UNSUPPORTED_ORACLE", "order.input_oracle"),
        ("INSUFFICIENT_VALID_TO", "order.fill_deadline"),
    }


# --- what the mesh knows: nonces, request ids, limits of business ---


async def test_submit_intent__nonce_of_another_intent__is_refused(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    first = await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, nonce=77)))
    other = with_output(make_order(alpha, nonce=77), amount=5)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, other)))
    assert type(error).__name__ == "AlreadyExists"
    assert violations_of(error) == {("DUPLICATE_NONCE", "order.nonce")}
    assert error.metadata == {"intent_id": first.intent_id}
    assert await intake.rows() == 1
    # ERC-3009 authorisations have the order id as their nonce, and another chain has nonces of its own.
    assert (await intake.stub.SubmitIntent(erc3009_request(intake.network, other))).created
    on_beta = make_order(intake.network.chains[1], nonce=77)
    assert (await intake.stub.SubmitIntent(permit2_request(intake.network, on_beta))).created


async def test_submit_intent__two_orders_on_one_nonce_at_once__one_is_stored(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    orders = [with_output(make_order(alpha, nonce=78), amount=amount) for amount in range(1, 9)]
    answers = await asyncio.gather(
        *(intake.stub.SubmitIntent(permit2_request(intake.network, order)) for order in orders), return_exceptions=True
    )
    assert sum(not isinstance(answer, BaseException) for answer in answers) == 1
    assert await intake.rows() == await intake.rows("intent_events") == 1


async def test_submit_intent__request_id__is_honoured(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    request = permit2_request(intake.network, make_order(alpha), request_id="payment-1")
    first = await intake.stub.SubmitIntent(request)
    assert (await intake.stub.SubmitIntent(request)).intent_id == first.intent_id

    other = permit2_request(intake.network, make_order(alpha), request_id="payment-1")
    error = await refused(intake.stub.SubmitIntent(other))
    assert type(error).__name__ == "AlreadyExists"
    assert reason_of(error) == "REQUEST_ID_REUSED"
    assert await intake.rows() == 1
    # Another principal has request ids of its own.
    assert (await intake.stub.SubmitIntent(other, metadata=principal("service:shop"))).created


async def test_submit_intent__request_id_of_a_refused_order__is_free(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, nonce=79)))
    clash = permit2_request(intake.network, with_output(make_order(alpha, nonce=79), amount=3), request_id="again")
    assert reason_of(await refused(intake.stub.SubmitIntent(clash))) == "DUPLICATE_NONCE"
    assert await intake.rows("request_ids") == 0
    right = permit2_request(intake.network, make_order(alpha), request_id="again")
    assert (await intake.stub.SubmitIntent(right)).created


async def test_submit_intent__found_although_it_would_be_refused_now__its_request_id_counts(
    start_intake: StartIntake,
) -> None:
    async with start_intake() as intake:
        alpha = intake.network.chains[0]
        named = permit2_request(intake.network, make_order(alpha), request_id="one")
        other = permit2_request(intake.network, make_order(alpha))
        for request in (named, other):
            assert (await intake.stub.SubmitIntent(request)).created
    async with start_intake(minimum_fill_seconds=10_000) as intake:
        other.request_id = "one"
        assert reason_of(await refused(intake.stub.SubmitIntent(other))) == "REQUEST_ID_REUSED"
        other.request_id = "two"
        for _ in range(2):
            assert not (await intake.stub.SubmitIntent(other)).created
        named.request_id = "two"
        assert reason_of(await refused(intake.stub.SubmitIntent(named))) == "REQUEST_ID_REUSED"


async def test_submit_intent__many_open_intents__are_refused(start_intake: StartIntake) -> None:
    async with start_intake(maximum_open_intents_per_user=2) as intake:
        alpha = intake.network.chains[0]
        for _ in range(2):
            await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha)))
        error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha))))
        assert type(error).__name__ == "ResourceExhausted"
        assert reason_of(error) == "TOO_MANY_OPEN_INTENTS"
        assert error.metadata == {"limit": "2"}


async def test_submit_intent__intake_switched_off__is_refused(start_intake: StartIntake) -> None:
    async with start_intake(intake_enabled=False) as intake:
        error = await refused(
            intake.stub.SubmitIntent(permit2_request(intake.network, make_order(intake.network.chains[0])))
        )
        assert type(error).__name__ == "Unavailable"
        assert reason_of(error) == "INTAKE_DISABLED"
        assert error.retry_after
        assert await intake.is_empty()


async def test_submit_intent__intake_switched_off__what_is_stored_is_found(start_intake: StartIntake) -> None:
    async with start_intake() as intake:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        await intake.stub.SubmitIntent(request)
    async with start_intake(intake_enabled=False) as intake:
        assert not (await intake.stub.SubmitIntent(request)).created


async def test_submit_intent__intake_switched_off_for_the_sake_of_the_store__does_not_wait_for_it(
    start_intake: StartIntake,
) -> None:
    async with start_intake(intake_enabled=False) as intake, intake.database.transaction():
        await intake.database.execute("LOCK TABLE intents IN ACCESS EXCLUSIVE MODE")
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        # The store's own time-out is longer.
        assert reason_of(await refused(intake.stub.SubmitIntent(request, timeout=8))) == "INTAKE_DISABLED"


# --- SubmitIntents ---


async def test_submit_intents__good_and_bad_items__each_gets_its_own_result(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    good = [permit2_request(intake.network, make_order(alpha)) for _ in range(3)]
    bad = permit2_request(intake.network, make_order(alpha), key=OTHER_KEY)
    call = intake.stub.SubmitIntents()
    first = SubmitIntentsRequest()
    for item_id, request in enumerate([good[0], bad, SubmitIntentRequest(), good[1]]):
        first.items.add(item_id=item_id, intent=request)
    second = SubmitIntentsRequest()
    second.items.add(item_id=10, intent=good[2])
    second.items.add(item_id=11, intent=good[0])

    await call.write(first)
    results = await results_of(call, 4)
    assert [results[item].WhichOneof("result") for item in range(4)] == ["accepted", "refused", "refused", "accepted"]
    assert results[1].refused.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert results[1].refused.reason == ErrorReason.ERROR_REASON_WRONG_OWNER
    assert results[1].refused.field_violations[0].field == "signature"
    assert {violation.field for violation in results[2].refused.field_violations} == {"order", "signature", "type"}

    await call.write(second)
    results = await results_of(call, 2)
    assert (results[10].accepted.created, results[11].accepted.created) == (True, False)
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await intake.rows() == 3


@pytest.mark.parametrize(("count", "reason"), [(0, "MISSING_FIELD"), (257, "TOO_LARGE")])
async def test_submit_intents__message_without_or_with_too_many_items__ends_the_stream(
    intake: Intake, count: int, reason: str
) -> None:
    call = intake.stub.SubmitIntents()
    message = SubmitIntentsRequest()
    for item_id in range(count):
        message.items.add(item_id=item_id)
    await call.write(message)
    error = await refused(call.read())
    assert violations_of(error) == {(reason, "items")}


# --- the chain ---


async def test_submit_intent__too_little_balance__is_refused(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    order = make_order(alpha)
    order = make_order(alpha, inputs=(order.inputs[0].__class__(order.inputs[0].token, 10**30),))
    error = await refused(intake.stub.SubmitIntent(erc3009_request(intake.network, order)))
    assert type(error).__name__ == "FailedPrecondition"
    assert violations_of(error) == {("INSUFFICIENT_BALANCE", "order.inputs[0]")}
    assert error.metadata["needed"] == str(10**30)
    assert await intake.is_empty()


async def test_submit_intent__permit2_not_allowed__is_refused(intake: Intake) -> None:
    # The second development account holds tokens and has not allowed Permit2 to take them.
    order = make_order(intake.network.chains[0], user=OTHER)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order, key=OTHER_KEY)))
    assert violations_of(error) == {("INSUFFICIENT_ALLOWANCE", "order.inputs[0]")}
    assert await intake.is_empty()
    assert (await intake.stub.SubmitIntent(erc3009_request(intake.network, order, key=OTHER_KEY))).created


async def test_submit_intent__allowance_for_one_order__is_not_promised_to_two(
    intake: Intake, chains: LocalChains
) -> None:
    alpha = intake.network.chains[0]
    async with ChainClients(intake.network) as clients:
        order = make_order(alpha, user=OTHER)
        item = order.inputs[0]
        token = Token(clients.of(alpha.chain_id), item.token)
        await send(chains.alpha, item.token, token.encode_approve(alpha.permit2, item.amount), sender=OTHER)
    assert (await intake.stub.SubmitIntent(permit2_request(intake.network, order, key=OTHER_KEY))).created
    another = make_order(alpha, user=OTHER)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, another, key=OTHER_KEY)))
    assert violations_of(error) == {("INSUFFICIENT_ALLOWANCE", "order.inputs[0]")}
    assert (error.metadata["allowance"], error.metadata["needed"]) == (str(item.amount), str(2 * item.amount))
    # An authorisation asks Permit2 for nothing.
    assert (await intake.stub.SubmitIntent(erc3009_request(intake.network, another, key=OTHER_KEY))).created


BY_ANYBODY = pytest.mark.parametrize("caller", [(), principal("service:shop")], ids=["stranger", "service"])


@BY_ANYBODY
async def test_submit_intent__limit_reached_at_another_replica__is_refused_here(
    start_intake: StartIntake, caller: Metadata
) -> None:
    limit = {"maximum_open_intents_per_user": 3}
    async with start_intake(**limit) as intake, start_intake(**limit) as replica:
        error = await _fourth_of_two_replicas(intake, replica, caller, USER, USER_KEY)
        assert violations_of(error) == {("TOO_MANY_OPEN_INTENTS", "order.user")}


@BY_ANYBODY
async def test_submit_intent__allowance_promised_at_another_replica__is_not_promised_here(
    start_intake: StartIntake, chains: LocalChains, caller: Metadata
) -> None:
    async with start_intake() as intake, start_intake() as replica:
        alpha = intake.network.chains[0]
        async with ChainClients(intake.network) as clients:
            item = make_order(alpha, user=OTHER).inputs[0]
            token = Token(clients.of(alpha.chain_id), item.token)
            approve = token.encode_approve(alpha.permit2, 3 * item.amount)
            await send(chains.alpha, item.token, approve, sender=OTHER)
        error = await _fourth_of_two_replicas(intake, replica, caller, OTHER, OTHER_KEY)
        assert violations_of(error) == {("INSUFFICIENT_ALLOWANCE", "order.inputs[0]")}


async def _fourth_of_two_replicas(
    intake: Intake, replica: Intake, caller: Metadata, user: Address, key: bytes
) -> MeshError:
    """Why the fourth order of a user is refused by a replica that has seen the first, and not those between."""

    async def submit(where: Intake) -> bool:
        request = permit2_request(where.network, make_order(where.network.chains[0], user=user), key=key)
        return (await where.stub.SubmitIntent(request, metadata=caller)).created

    assert await submit(replica)
    assert await submit(intake)
    assert await submit(intake)
    await _until_memory_is_not_fresh()
    error = await refused(submit(replica))
    assert await intake.rows() == 3
    return error


async def _until_memory_is_not_fresh() -> None:
    # Time itself is what is waited for.
    await asyncio.sleep(2 * FRESH_SECONDS)


async def test_submit_intent__chain_away__is_unavailable_and_stores_nothing(
    start_intake: StartIntake, network: NetworkConfig
) -> None:
    alpha, beta = network.chains
    away = NetworkConfig(chains=(alpha.model_copy(update={"rpc_urls": ("http://127.0.0.1:9",)}), beta))
    async with start_intake(away) as intake:
        error = await refused(intake.stub.SubmitIntent(permit2_request(network, make_order(alpha))))
        assert type(error).__name__ == "Unavailable"
        assert reason_of(error) == "CHAIN_UNAVAILABLE"
        assert error.metadata == {"chain_id": str(alpha.chain_id)}
        assert error.retry_after
        assert await intake.is_empty()


async def test_validate_intent__chain_away__tells_what_was_found_without_it(
    start_intake: StartIntake, network: NetworkConfig
) -> None:
    alpha, beta = network.chains
    away = NetworkConfig(chains=(alpha.model_copy(update={"rpc_urls": ("http://127.0.0.1:9",)}), beta))
    async with start_intake(away) as intake:
        past = replace(make_order(alpha), fill_deadline=1)
        answer = await intake.stub.ValidateIntent(ValidateIntentRequest(intent=permit2_request(network, past)))
        assert ErrorReason.ERROR_REASON_INSUFFICIENT_VALID_TO in {one.reason for one in answer.violations}
        good = ValidateIntentRequest(intent=permit2_request(network, make_order(alpha)))
        assert reason_of(await refused(intake.stub.ValidateIntent(good))) == "CHAIN_UNAVAILABLE"


async def test_submit_intent__nonce_used_on_chain__is_refused(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    alpha = intake.network.chains[0]
    permit2 = Permit2(chain_clients.of(alpha.chain_id))
    await send(chains.alpha, permit2.address, permit2.encode_invalidate_nonce(4321))
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, nonce=4321))))
    assert violations_of(error) == {("NONCE_USED", "order.nonce")}
    assert (await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, nonce=4322)))).created


@pytest.mark.parametrize(("answer", "accepted"), [("1626ba7e", True), ("ffffffff", False)])
async def test_submit_intent__contract_wallet__decides_what_is_its_signature(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains, answer: str, accepted: bool
) -> None:
    alpha = intake.network.chains[0]
    wallet = Address(b"\xca" * 20)
    # PUSH4 answer, shifted to the left of the word, returned to every call.
    code = f"0x63{answer}60e01b60005260206000f3"
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), code)
    usdc = alpha.tokens["USDC"].address
    await send(chains.alpha, usdc, Token(chain_clients.of(alpha.chain_id), usdc).encode_mint(wallet, 10**9))

    request = erc3009_request(intake.network, make_order(alpha, user=wallet), key=OTHER_KEY)
    if accepted:
        assert (await intake.stub.SubmitIntent(request)).created
    else:
        error = await refused(intake.stub.SubmitIntent(request))
        assert violations_of(error) == {("INVALID_EIP1271_SIGNATURE", "signature")}
        assert await intake.is_empty()


async def test_submit_intent__wallet_says_no_to_what_is_stored__is_that_intent_by_the_same_signature_only(
    intake: Intake, start_intake: StartIntake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    alpha = intake.network.chains[0]
    wallet = Address(b"\xce" * 20)
    says = "0x63{}60e01b60005260206000f3"
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), says.format("1626ba7e"))
    usdc = alpha.tokens["USDC"].address
    await send(chains.alpha, usdc, Token(chain_clients.of(alpha.chain_id), usdc).encode_mint(wallet, 10**9))
    request = erc3009_request(intake.network, make_order(alpha, user=wallet), key=OTHER_KEY)
    stored = await intake.stub.SubmitIntent(request)

    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), says.format("ffffffff"))
    again = await intake.stub.SubmitIntent(request)
    assert (again.intent_id, again.created) == (stored.intent_id, False)
    beta = intake.network.chains[1]
    away = NetworkConfig(chains=(alpha.model_copy(update={"rpc_urls": ("http://127.0.0.1:9",)}), beta))
    for other in (start_intake(minimum_fill_seconds=10_000), start_intake(away)):
        async with other as elsewhere:
            assert not (await elsewhere.stub.SubmitIntent(request)).created
    validated = await intake.stub.ValidateIntent(ValidateIntentRequest(intent=request))
    assert [one.reason for one in validated.violations] == [ErrorReason.ERROR_REASON_INVALID_EIP1271_SIGNATURE]
    guess = SubmitIntentRequest()
    guess.CopyFrom(request)
    guess.signature = b"\x01" + bytes(65)
    error = await refused(intake.stub.SubmitIntent(guess))
    assert violations_of(error) == {("INVALID_EIP1271_SIGNATURE", "signature")}


async def test_submit_intent__wallet_signature_that_names_its_owner__is_no_array(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    alpha = intake.network.chains[0]
    wallet = Address(b"\xcd" * 20)
    code = "0x631626ba7e60e01b60005260206000f3"
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), code)
    usdc = alpha.tokens["USDC"].address
    await send(chains.alpha, usdc, Token(chain_clients.of(alpha.chain_id), usdc).encode_mint(wallet, 10**9))
    # abi.encode of a structure (number of the owner, signature): begins with 32, as an array does.
    wrapped = word(32) + word(0) + word(64) + abi_bytes(bytes(65))
    request = permit2_request(intake.network, make_order(alpha, user=wallet), signature=b"\x01" + wrapped)
    assert (await intake.stub.SubmitIntent(request)).created


async def test_submit_intent__wallet_deployed_after_a_refusal__decides_from_then_on(
    intake: Intake, chains: LocalChains, chain_clients: ChainClients
) -> None:
    alpha = intake.network.chains[0]
    wallet = Address(b"\xcc" * 20)
    request = erc3009_request(intake.network, make_order(alpha, user=wallet), key=OTHER_KEY)
    assert reason_of(await refused(intake.stub.SubmitIntent(request))) == "WRONG_OWNER"
    code = "0x631626ba7e60e01b60005260206000f3"
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), code)
    usdc = alpha.tokens["USDC"].address
    await send(chains.alpha, usdc, Token(chain_clients.of(alpha.chain_id), usdc).encode_mint(wallet, 10**9))
    await asyncio.sleep(FRESH_SECONDS)
    assert (await intake.stub.SubmitIntent(request)).created


async def test_submit_intent__account_whose_code_is_gone__is_decided_by_its_key_again(
    intake: Intake, chains: LocalChains
) -> None:
    order = make_order(intake.network.chains[0])
    # Code that confirms nothing, as of a delegation (EIP-7702) that the user takes back.
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(USER), "0xfe")
    try:
        error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, order)))
    finally:
        await json_rpc(chains.alpha.port, "anvil_setCode", format_address(USER), "0x")
    assert violations_of(error) == {("INVALID_EIP1271_SIGNATURE", "signature")}
    await asyncio.sleep(FRESH_SECONDS)
    assert (await intake.stub.SubmitIntent(permit2_request(intake.network, order))).created


@pytest.mark.parametrize("code", ["0xfe", "0x0c", "0x01", "0x5b600056", "0x600356"])
async def test_submit_intent__contract_wallet_that_breaks_down__does_not_confirm_its_signature(
    intake: Intake, chains: LocalChains, code: str
) -> None:
    alpha = intake.network.chains[0]
    wallet = Address(b"\xcb" * 20)
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), code)
    error = await refused(intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, user=wallet))))
    assert violations_of(error) == {("INVALID_EIP1271_SIGNATURE", "signature")}
