"""ValidateIntent, GetIntent, ListIntents."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from intentmesh.domain.errors import MeshError
from intentmesh.domain.types import format_address, format_intent_id, parse_intent_id
from intentmesh.intake import bootstrap
from intentmesh.intake.policy_file import PolicyFile
from intentmesh.store import executions
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    GetIntentRequest,
    ListIntentsRequest,
    SubmitIntentRequest,
    ValidateIntentRequest,
    ValidateIntentResponse,
)
from intentmesh.v1.intent_pb2 import ChainTransaction, IntentStatus, IntentType, TransactionKind

from tests.fixtures.orders import (
    OTHER,
    OTHER_KEY,
    USER,
    erc3009_request,
    id_of,
    make_order,
    permit2_request,
    with_output,
)
from tests.integration.intake.conftest import (
    Intake,
    Metadata,
    StartIntake,
    principal,
    reason_of,
    refused,
    violations_of,
)

OPERATOR = principal("operator:ops")


def _told(response: ValidateIntentResponse) -> set[tuple[str, str]]:
    return {(ErrorReason.Name(v.reason).removeprefix("ERROR_REASON_"), v.field) for v in response.violations}


async def _validate(intake: Intake, request: SubmitIntentRequest) -> ValidateIntentResponse:
    return await intake.stub.ValidateIntent(ValidateIntentRequest(intent=request))


async def test_validate_intent__right_order__has_no_violations_and_stores_nothing(intake: Intake) -> None:
    order = make_order(intake.network.chains[0])
    response = await _validate(intake, permit2_request(intake.network, order))
    assert _told(response) == set()
    assert response.intent_id == format_intent_id(id_of(intake.network, order))
    assert await intake.is_empty()


async def test_validate_intent__faults_of_every_layer__are_told_at_once(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha, nonce=5)))
    order = make_order(alpha, nonce=5, fill_deadline=1_700_000_000, user=USER)
    too_much = make_order(alpha).inputs[0].__class__(alpha.tokens["USDC"].address, 10**30)
    order = make_order(alpha, nonce=5, fill_deadline=1_700_000_000, inputs=(too_much,))
    request = permit2_request(intake.network, order, key=OTHER_KEY)
    response = await intake.stub.ValidateIntent(
        ValidateIntentRequest(intent=request), metadata=principal(f"user:{format_address(USER)}")
    )
    assert _told(response) == {
        ("INSUFFICIENT_VALID_TO", "order.fill_deadline"),
        ("WRONG_OWNER", "signature"),
        ("DUPLICATE_NONCE", "order.nonce"),
        ("INSUFFICIENT_BALANCE", "order.inputs[0]"),
    }


@pytest.mark.parametrize("caller", ["anonymous", f"user:{format_address(OTHER)}"])
async def test_validate_intent__stranger_without_an_order_of_the_user__learns_nothing_of_what_the_user_has_open(
    start_intake: StartIntake, caller: str
) -> None:
    async with start_intake(maximum_open_intents_per_user=1) as intake:
        alpha = intake.network.chains[0]
        order = make_order(alpha, nonce=5)
        await intake.stub.SubmitIntent(permit2_request(intake.network, order))
        another = replace(order, expires=order.expires + 1)
        guess = permit2_request(intake.network, another, key=OTHER_KEY)
        theirs = permit2_request(intake.network, another)
        strange = ValidateIntentRequest(intent=guess)
        response = await intake.stub.ValidateIntent(strange, metadata=principal(caller))
        assert {reason for reason, _ in _told(response)} <= {"WRONG_OWNER", "NOT_ALLOWED"}
        response = await intake.stub.ValidateIntent(ValidateIntentRequest(intent=theirs), metadata=principal(caller))
        told = {reason for reason, _ in _told(response)}
        # Who has an order that the user has signed may know, unless they are known as somebody else.
        assert told == ({"NOT_ALLOWED"} if caller != "anonymous" else {"DUPLICATE_NONCE", "TOO_MANY_OPEN_INTENTS"})


async def test_validate_intent__empty_submission__names_what_is_missing(intake: Intake) -> None:
    response = await _validate(intake, SubmitIntentRequest())
    assert _told(response) == {("MISSING_FIELD", field) for field in ("order", "signature", "type")}
    assert response.intent_id == ""


async def test_validate_intent__faults_of_form_beside_the_order__hide_none_of_shape_and_time(intake: Intake) -> None:
    order = make_order(intake.network.chains[0], fill_deadline=1_700_000_000)
    order = with_output(order, amount=0)
    request = permit2_request(intake.network, order, request_id="x" * 65)
    request.ClearField("signature")
    request.ClearField("type")
    response = await _validate(intake, request)
    assert _told(response) == {
        ("MISSING_FIELD", "signature"),
        ("MISSING_FIELD", "type"),
        ("TOO_LARGE", "request_id"),
        ("ZERO_AMOUNT", "order.outputs[0].amount"),
        ("INSUFFICIENT_VALID_TO", "order.fill_deadline"),
    }
    assert response.intent_id == format_intent_id(id_of(intake.network, order))
    error = await refused(intake.stub.SubmitIntent(request))
    assert violations_of(error) == _told(response)
    assert await intake.is_empty()


async def test_validate_intent__order_that_cannot_be_read__tells_of_the_form_alone(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0], fill_deadline=1_700_000_000))
    request.order.nonce = str(2**256)
    request.ClearField("type")
    response = await _validate(intake, request)
    assert _told(response) == {("MISSING_FIELD", "type"), ("INVALID_FIELD", "order.nonce")}
    assert response.intent_id == ""


async def test_validate_intent__stored_already__would_be_accepted(intake: Intake) -> None:
    request = permit2_request(intake.network, make_order(intake.network.chains[0]))
    await intake.stub.SubmitIntent(request)
    assert _told(await _validate(intake, request)) == set()


async def test_validate_intent__request_id_of_another_body__is_told_as_submit_would(intake: Intake) -> None:
    alpha = intake.network.chains[0]
    await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(alpha), request_id="one"))
    other = permit2_request(intake.network, make_order(alpha), request_id="one")
    assert _told(await _validate(intake, other)) == {("REQUEST_ID_REUSED", "request_id")}
    assert reason_of(await refused(intake.stub.SubmitIntent(other))) == "REQUEST_ID_REUSED"
    # Of one that is stored already, too.
    stored = permit2_request(intake.network, make_order(alpha))
    await intake.stub.SubmitIntent(stored)
    stored.request_id = "one"
    assert _told(await _validate(intake, stored)) == {("REQUEST_ID_REUSED", "request_id")}
    assert reason_of(await refused(intake.stub.SubmitIntent(stored))) == "REQUEST_ID_REUSED"


async def test_get_intent__unknown__is_not_found(intake: Intake) -> None:
    error = await refused(intake.stub.GetIntent(GetIntentRequest(intent_id="0x" + "00" * 32)))
    assert type(error).__name__ == "NotFound"
    error = await refused(intake.stub.GetIntent(GetIntentRequest(intent_id="0x12")))
    assert reason_of(error) == "INVALID_FIELD"


@pytest.mark.parametrize(
    ("caller", "sees"),
    [
        ((), False),
        (principal("user:0x" + OTHER.hex()), False),
        (principal("service:other"), False),
        (principal("solver:one"), False),
        # Nobody vouches for it.
        ((("x-intentmesh-principal", "operator:ops"),), False),
        (OPERATOR, True),
        (principal("user:0x" + USER.hex()), True),
        (principal("service:delegate"), True),
        # Who has handed it in.
        (principal("service:shop"), True),
    ],
)
async def test_reading__where_a_submission_came_from__is_shown_to_whom_it_concerns(
    start_intake: StartIntake, caller: Metadata, sees: bool
) -> None:
    delegations = {"service:delegate": (format_address(USER),), "service:other": (format_address(OTHER),)}
    async with start_intake(anonymous_lists=True, delegations=delegations) as intake:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        stored = await intake.stub.SubmitIntent(request, metadata=principal("service:shop"))
        one = (await intake.stub.GetIntent(GetIntentRequest(intent_id=stored.intent_id), metadata=caller)).intent
        (listed,) = (await intake.stub.ListIntents(ListIntentsRequest(), metadata=caller)).intents
    for intent in (one, listed):
        assert intent.metadata.source == "service:shop"
        assert bool(intent.metadata.ip) == sees
        assert bool(intent.metadata.user_agent) == sees


async def test_reading__delegated_while_it_runs__is_shown_where_a_submission_came_from(
    start_intake: StartIntake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files: list[PolicyFile] = []

    def kept(*arguments: Any) -> PolicyFile:
        files.append(PolicyFile(*arguments))
        return files[0]

    monkeypatch.setattr(bootstrap, "PolicyFile", kept)
    file = tmp_path / "policy.toml"
    file.write_text("# As set.")
    async with start_intake(policy_file=file) as intake:
        request = permit2_request(intake.network, make_order(intake.network.chains[0]))
        stored = await intake.stub.SubmitIntent(request, metadata=principal("service:shop"))
        ask = GetIntentRequest(intent_id=stored.intent_id)
        delegate = principal("service:delegate")
        assert not (await intake.stub.GetIntent(ask, metadata=delegate)).intent.metadata.ip
        file.write_text(f'[delegations]\n"service:delegate" = ["{format_address(USER)}"]')
        # A change is taken over by the look after the one that finds it.
        for _ in range(2):
            files[0].look()
        assert (await intake.stub.GetIntent(ask, metadata=delegate)).intent.metadata.ip


async def test_reading__submission_of_a_stranger__is_no_strangers_own(intake: Intake) -> None:
    (intent_id,) = await _fill(intake, 1)
    metadata = (await intake.stub.GetIntent(GetIntentRequest(intent_id=intent_id))).intent.metadata
    assert (metadata.source, metadata.ip, metadata.user_agent) == ("anonymous", "", "")


async def _fill(intake: Intake, count: int) -> list[str]:
    """Intents in the sequence of their creation."""
    ids = []
    for number in range(count):
        order = make_order(intake.network.chains[0], get="WETH" if number % 2 else "USDC")
        ids.append((await intake.stub.SubmitIntent(permit2_request(intake.network, order))).intent_id)
    return ids


async def test_list_intents__in_pages_while_others_arrive__shows_each_once_newest_first(intake: Intake) -> None:
    existing = await _fill(intake, 7)
    request, seen = ListIntentsRequest(page_size=3), []
    while True:
        page = await intake.stub.ListIntents(request, metadata=OPERATOR)
        seen += [intent.intent_id for intent in page.intents]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
        await _fill(intake, 1)
    assert seen == existing[::-1]


async def test_list_intents__large_ones__come_in_pages_that_clients_take(start_intake: StartIntake) -> None:
    async with start_intake(callbacks_allowed=True) as intake:
        order = make_order(intake.network.chains[0])
        (output,) = order.outputs
        # Distinct, and each with as much for its recipient's callback as there may be.
        outputs = tuple(replace(output, amount=output.amount + n, callback_data=bytes(8192)) for n in range(16))
        stored = []
        for number in range(33):
            request = permit2_request(intake.network, replace(order, outputs=outputs, nonce=order.nonce + number))
            stored.append((await intake.stub.SubmitIntent(request)).intent_id)
        listed, token, pages = [], "", 0
        while pages == 0 or token:
            response = await intake.stub.ListIntents(ListIntentsRequest(page_token=token), metadata=OPERATOR)
            listed += [intent.intent_id for intent in response.intents]
            token, pages = response.next_page_token, pages + 1
        assert listed == stored[::-1]
        assert pages == 2


async def test_list_intents__filters__hold_together(intake: Intake) -> None:
    await _fill(intake, 4)
    other = erc3009_request(intake.network, make_order(intake.network.chains[0], user=OTHER), key=OTHER_KEY)
    theirs = (await intake.stub.SubmitIntent(other)).intent_id

    async def ids(**fields: object) -> list[str]:
        page = await intake.stub.ListIntents(ListIntentsRequest(**fields), metadata=OPERATOR)
        return [intent.intent_id for intent in page.intents]

    assert len(await ids()) == 5
    assert await ids(user=format_address(OTHER)) == [theirs]
    assert len(await ids(user=format_address(USER), types=[IntentType.INTENT_TYPE_TRANSFER])) == 2
    assert len(await ids(statuses=[IntentStatus.INTENT_STATUS_PENDING])) == 5
    assert await ids(statuses=[IntentStatus.INTENT_STATUS_FAILED]) == []
    stored = (await intake.stub.GetIntent(GetIntentRequest(intent_id=theirs))).intent
    assert await ids(create_time_from=stored.create_time) == [theirs]
    assert theirs not in await ids(create_time_to=stored.create_time)


async def test_list_intents__of_a_transaction__are_those_that_it_served(intake: Intake) -> None:
    first, second, _ = await _fill(intake, 3)
    fill = ChainTransaction(hash="0x" + "ab" * 32, chain_id=1, kind=TransactionKind.TRANSACTION_KIND_FILL)
    for intent_id in (first, second):
        await executions.upsert_transaction(intake.database, parse_intent_id(intent_id), fill)

    async def ids(**fields: object) -> list[str]:
        request = ListIntentsRequest(transaction_hash="0x" + "AB" * 32, page_size=1, **fields)
        page = await intake.stub.ListIntents(request, metadata=OPERATOR)
        found = [intent.intent_id for intent in page.intents]
        if page.next_page_token:
            request.page_token, request.transaction_hash = page.next_page_token, "0x" + "ab" * 32
            found += [i.intent_id for i in (await intake.stub.ListIntents(request, metadata=OPERATOR)).intents]
        return found

    assert await ids() == [second, first]
    assert await ids(user=format_address(USER)) == [second, first]
    assert await ids(user=format_address(OTHER)) == []
    unknown = ListIntentsRequest(transaction_hash="0x" + "cd" * 32)
    assert not (await intake.stub.ListIntents(unknown, metadata=OPERATOR)).intents
    error = await refused(intake.stub.ListIntents(unknown))
    assert reason_of(error) == "UNAUTHENTICATED"


async def test_list_intents__without_a_principal_that_may__is_refused(intake: Intake) -> None:
    request = ListIntentsRequest(user=format_address(USER))
    error = await refused(intake.stub.ListIntents(request))
    assert (type(error).__name__, reason_of(error)) == ("Unauthenticated", "UNAUTHENTICATED")
    stranger = principal("user:0x" + OTHER.hex())
    error = await refused(intake.stub.ListIntents(request, metadata=stranger))
    assert (type(error).__name__, reason_of(error)) == ("PermissionDenied", "NOT_ALLOWED")
    owner = principal("user:0x" + USER.hex())
    assert not (await intake.stub.ListIntents(request, metadata=owner)).intents
    error = await refused(intake.stub.ListIntents(ListIntentsRequest(), metadata=owner))
    assert reason_of(error) == "NOT_ALLOWED"


async def test_list_intents__user_whose_name_means_everyone__sees_nobodys(intake: Intake) -> None:
    error = await refused(intake.stub.ListIntents(ListIntentsRequest(), metadata=principal("user:*")))
    assert reason_of(error) == "NOT_ALLOWED"


async def test_list_intents__on_one_machine__anyone_may(start_intake: StartIntake) -> None:
    async with start_intake(anonymous_lists=True) as intake:
        (intent_id,) = await _fill(intake, 1)
        page = await intake.stub.ListIntents(ListIntentsRequest())
        assert [intent.intent_id for intent in page.intents] == [intent_id]


async def test_list_intents__slow_ones_all_over__cost_neither_accepts_nor_reads_and_say_what_to_narrow(
    start_intake: StartIntake, fresh_database: str
) -> None:
    async with start_intake(list_timeout_seconds=1.0) as intake:
        stored = await intake.stub.SubmitIntent(permit2_request(intake.network, make_order(intake.network.chains[0])))
        other = await asyncpg.connect(fresh_database)
        try:
            # Every list waits for it; accepting does not need it.
            holding = other.transaction()
            await holding.start()
            await other.execute("LOCK TABLE intent_transactions IN ACCESS EXCLUSIVE MODE")
            lists = [
                asyncio.create_task(_error_of(intake.stub.ListIntents(ListIntentsRequest(), metadata=OPERATOR)))
                for _ in range(24)
            ]
            async with asyncio.timeout(15):
                while not await other.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            order = make_order(intake.network.chains[0], user=OTHER)
            request = erc3009_request(intake.network, order, key=OTHER_KEY)
            assert (await intake.stub.SubmitIntent(request, timeout=5.0)).created
            errors = await asyncio.gather(*lists)
            await holding.rollback()
        finally:
            await other.close()
        assert {reason_of(error) for error in errors} == {"DEADLINE_EXCEEDED", "OVERLOADED"}
        for error in errors:
            if reason_of(error) == "OVERLOADED":
                assert error.retry_after
            else:
                assert error.metadata == {"narrow": "user statuses create_time_from"}
                assert "narrow" in error.message
        # And then lists are answered as ever.
        page = await intake.stub.ListIntents(ListIntentsRequest(), metadata=OPERATOR)
        assert stored.intent_id in [intent.intent_id for intent in page.intents]


async def _error_of(call: Any) -> MeshError:
    """As `refused`, for many at a time."""
    return await refused(call)


async def test_list_intents__too_slow_with_every_condition__says_to_narrow_the_time(
    start_intake: StartIntake, fresh_database: str
) -> None:
    async with start_intake(list_timeout_seconds=0.3) as intake:
        request = ListIntentsRequest(user=format_address(USER), statuses=[IntentStatus.INTENT_STATUS_PENDING])
        request.create_time_from.seconds = 1
        other = await asyncpg.connect(fresh_database)
        try:
            async with other.transaction():
                await other.execute("LOCK TABLE intents IN ACCESS EXCLUSIVE MODE")
                error = await refused(intake.stub.ListIntents(request, metadata=OPERATOR))
        finally:
            await other.close()
    assert (type(error).__name__, reason_of(error)) == ("DeadlineExceeded", "DEADLINE_EXCEEDED")
    assert error.metadata == {"narrow": "create_time_from create_time_to"}


@pytest.mark.parametrize("token", ["x", "not a token", "A" * 66])
async def test_list_intents__token_of_nobody__is_refused(intake: Intake, token: str) -> None:
    error = await refused(intake.stub.ListIntents(ListIntentsRequest(page_token=token), metadata=OPERATOR))
    assert reason_of(error) == "INVALID_PAGE_TOKEN"


async def test_list_intents__time_out_of_range__is_refused(intake: Intake) -> None:
    request = ListIntentsRequest()
    request.create_time_from.seconds = 2**62
    error = await refused(intake.stub.ListIntents(request, metadata=OPERATOR))
    assert reason_of(error) == "INVALID_FIELD"
