"""CancelIntent: at once while no solver can hold the signature, and honest about it afterwards."""

import time

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.tokens import Token
from intentmesh.domain.digests import PERMIT2, cancel_intent_digest
from intentmesh.domain.lifecycle import advance, terminate
from intentmesh.domain.order import Order
from intentmesh.domain.signatures import sign
from intentmesh.domain.types import Address, ChainId, format_address, format_intent_id
from intentmesh.embedded.probes import json_rpc
from intentmesh.store import executions, intents
from intentmesh.store.intents import Change
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intake_service_pb2 import CancelIntentRequest, GetIntentRequest
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus

from tests.fixtures.orders import OTHER_KEY, USER_KEY, erc3009_request, id_of, make_order, permit2_request, with_output
from tests.fixtures.servers import LocalChains
from tests.integration.intake.conftest import Intake, StartIntake, reason_of, refused, send


def _request(
    intake: Intake, order: Order, *, key: bytes = USER_KEY, validity: int = 300, chain_id: ChainId | None = None
) -> CancelIntentRequest:
    intent_id = id_of(intake.network, order)
    valid_until = int(time.time()) + validity
    digest = cancel_intent_digest(chain_id or order.origin_chain_id, intent_id, valid_until)
    return CancelIntentRequest(
        intent_id=format_intent_id(intent_id), signature=sign(digest, key), valid_until=valid_until
    )


async def _submitted(intake: Intake, *, authorised: bool = False) -> Order:
    order = make_order(intake.network.chains[0])
    request = (erc3009_request if authorised else permit2_request)(intake.network, order)
    await intake.stub.SubmitIntent(request)
    return order


async def _move(intake: Intake, order: Order, *phases: int) -> None:
    """What the executor would do: the intent reaches the phases, the first one being an award."""
    async with intake.database.transaction():
        for phase in phases:
            row = await intents.lock_intent(intake.database, id_of(intake.network, order))
            assert row is not None
            change = Change(
                type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
                state=advance(row.state, phase),
                message="Moved.",
                award_number=1,
            )
            await intents.apply(intake.database, row, change)


async def test_cancel__before_any_award__is_cancelled_at_once(intake: Intake) -> None:
    order = await _submitted(intake)
    response = await intake.stub.CancelIntent(_request(intake, order))
    assert response.status == IntentStatus.INTENT_STATUS_CANCELLED
    assert response.sequence == 2
    assert not response.HasField("invalidation")
    assert await intake.rows("intent_events") == 2
    # The nonce is free again.
    again = permit2_request(intake.network, with_output(order, amount=order.outputs[0].amount + 1))
    assert (await intake.stub.SubmitIntent(again)).created


async def test_cancel__before_any_award_but_opened_by_the_user__is_not_told_as_cancelled(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    order = await _submitted(intake)
    alpha = intake.network.chains[0]
    client, item = chain_clients.of(alpha.chain_id), order.inputs[0]
    await send(chains.alpha, item.token, Token(client, item.token).encode_approve(alpha.input_settler, item.amount))
    await send(chains.alpha, alpha.input_settler, InputSettler(client).encode_open(order))
    response = await intake.stub.CancelIntent(_request(intake, order))
    assert response.status == IntentStatus.INTENT_STATUS_PENDING
    assert response.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED
    told = await intake.stub.GetIntent(GetIntentRequest(intent_id=format_intent_id(id_of(intake.network, order))))
    assert "opened" in told.intent.message
    # Asked again, it is looked up again and nothing new is told.
    assert (await intake.stub.CancelIntent(_request(intake, order))).sequence == response.sequence


async def test_cancel__before_any_award_with_the_chain_away__is_requested_until_it_answers(
    start_intake: StartIntake, network: NetworkConfig
) -> None:
    async with start_intake() as intake:
        order = await _submitted(intake)
    alpha, beta = network.chains
    away = NetworkConfig(chains=(alpha.model_copy(update={"rpc_urls": ("http://127.0.0.1:9",)}), beta))
    async with start_intake(away) as intake:
        response = await intake.stub.CancelIntent(_request(intake, order))
        assert response.status == IntentStatus.INTENT_STATUS_PENDING
        assert response.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED
        execution = await executions.get_execution(intake.database, id_of(intake.network, order))
        assert execution is not None
        assert execution.due_at is not None


async def test_cancel__twice__is_one_event(intake: Intake) -> None:
    order = await _submitted(intake)
    await intake.stub.CancelIntent(_request(intake, order))
    again = await intake.stub.CancelIntent(_request(intake, order))
    assert (again.status, again.sequence) == (IntentStatus.INTENT_STATUS_CANCELLED, 2)


async def test_cancel__after_an_award__is_requested_and_names_the_call_that_invalidates(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    order = await _submitted(intake)
    await _move(intake, order, IntentPhase.INTENT_PHASE_AUCTION, IntentPhase.INTENT_PHASE_AWARDED)
    await _rest(intake)
    response = await intake.stub.CancelIntent(_request(intake, order))
    assert response.status == IntentStatus.INTENT_STATUS_EXECUTING
    assert response.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED
    assert response.invalidation.chain_id == order.origin_chain_id
    assert response.invalidation.to == format_address(PERMIT2)
    execution = await executions.get_execution(intake.database, id_of(intake.network, order))
    assert execution is not None
    assert execution.due_at is not None

    await send(chains.alpha, Address(PERMIT2), response.invalidation.data)
    permit2 = Permit2(chain_clients.of(order.origin_chain_id))
    assert await permit2.nonce_used(order.user, order.nonce)

    again = await intake.stub.CancelIntent(_request(intake, order))
    assert again.sequence == response.sequence
    assert again.invalidation == response.invalidation


async def _rest(intake: Intake) -> None:
    """The executor has put the work aside until later."""
    await intake.database.execute("UPDATE executions SET due_at = NULL")


async def test_cancel__erc3009_after_an_award__has_no_call_to_offer(intake: Intake) -> None:
    order = await _submitted(intake, authorised=True)
    await _move(intake, order, IntentPhase.INTENT_PHASE_AWARDED)
    response = await intake.stub.CancelIntent(_request(intake, order))
    assert response.phase == IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED
    assert not response.HasField("invalidation")


async def test_cancel__filled__changes_nothing(intake: Intake) -> None:
    order = await _submitted(intake)
    await _move(intake, order, IntentPhase.INTENT_PHASE_OPENED, IntentPhase.INTENT_PHASE_FILLED)
    response = await intake.stub.CancelIntent(_request(intake, order))
    assert (response.phase, response.sequence) == (IntentPhase.INTENT_PHASE_FILLED, 3)


async def test_cancel__ended_otherwise__is_refused(intake: Intake) -> None:
    order = await _submitted(intake)
    async with intake.database.transaction():
        row = await intents.lock_intent(intake.database, id_of(intake.network, order))
        assert row is not None
        state = terminate(row.state, IntentStatus.INTENT_STATUS_EXPIRED)
        await intents.apply(intake.database, row, Change(type=1, state=state, message="Expired."))
    error = await refused(intake.stub.CancelIntent(_request(intake, order)))
    assert type(error).__name__ == "FailedPrecondition"
    assert reason_of(error) == "ALREADY_TERMINAL"
    assert error.metadata == {"status": "EXPIRED"}


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("WRONG_OWNER", {"key": OTHER_KEY}),
        ("WRONG_OWNER", {"chain_id": ChainId(1)}),
        ("INSUFFICIENT_VALID_TO", {"validity": -5}),
        ("EXCESSIVE_VALID_TO", {"validity": 655}),
    ],
)
async def test_cancel__not_what_the_user_signed_now__is_refused(intake: Intake, reason: str, change: dict) -> None:
    order = await _submitted(intake)
    error = await refused(intake.stub.CancelIntent(_request(intake, order, **change)))
    assert type(error).__name__ == "InvalidArgument"
    assert reason_of(error) == reason
    assert await intake.rows("intent_events") == 1


async def test_cancel__longer_validity_than_signed__is_refused(intake: Intake) -> None:
    order = await _submitted(intake)
    request = _request(intake, order)
    request.valid_until += 1
    assert reason_of(await refused(intake.stub.CancelIntent(request))) == "WRONG_OWNER"


async def _wallet_answers(chains: LocalChains, wallet: Address, answer: str) -> None:
    code = f"0x63{answer}60e01b60005260206000f3"
    await json_rpc(chains.alpha.port, "anvil_setCode", format_address(wallet), code)


async def test_cancel__contract_wallet__is_asked_and_its_no_counts(
    intake: Intake, chain_clients: ChainClients, chains: LocalChains
) -> None:
    wallet, alpha = Address(b"\x5a" * 20), intake.network.chains[0]
    await _wallet_answers(chains, wallet, "1626ba7e")
    usdc = Token(chain_clients.of(alpha.chain_id), alpha.tokens["USDC"].address)
    await send(chains.alpha, usdc.address, usdc.encode_mint(wallet, 10**9))
    order = make_order(alpha, user=wallet)
    await intake.stub.SubmitIntent(erc3009_request(intake.network, order, key=OTHER_KEY))
    await _wallet_answers(chains, wallet, "ffffffff")
    error = await refused(intake.stub.CancelIntent(_request(intake, order, key=OTHER_KEY)))
    assert reason_of(error) == "INVALID_EIP1271_SIGNATURE"
    assert await intake.rows("intent_events") == 1
    await _wallet_answers(chains, wallet, "1626ba7e")
    response = await intake.stub.CancelIntent(_request(intake, order, key=OTHER_KEY))
    assert response.status == IntentStatus.INTENT_STATUS_CANCELLED


async def test_cancel__unknown_intent__is_not_found(intake: Intake) -> None:
    request = _request(intake, make_order(intake.network.chains[0]))
    error = await refused(intake.stub.CancelIntent(request))
    assert type(error).__name__ == "NotFound"
    assert error.metadata == {"resource": request.intent_id}
