"""Orders through the real contracts: the evidence of each step, and the names of refusals."""

from dataclasses import replace

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.errors import Reverted
from intentmesh.chain.input_settler import OrderStatus
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.structs import SolveParams
from intentmesh.chain.tokens import Token
from intentmesh.domain.digests import fill_attestation_digest
from intentmesh.domain.order import fill_data_hash, fill_record_hash, output_hash
from intentmesh.domain.signatures import sign
from intentmesh.domain.types import Address, clean_address, to_bytes32
from intentmesh.embedded.deployment import local_accounts

from tests.fixtures.signed_orders import (
    INPUT_USDC,
    OUTPUT_USDC,
    OUTPUT_WETH,
    RECIPIENT,
    USER,
    SignedOrder,
    bridge_order,
    swap_order,
)
from tests.integration.chain.conftest import SOLVER, Hands

SOLVER_WORD = to_bytes32(SOLVER)
SURPLUS = 1_234


async def opened(hands: Hands, signed: SignedOrder) -> None:
    settler = hands.input_settler(signed.origin.chain_id)
    calldata = settler.encode_open_for(signed.order, USER.address, signed.signature)
    await hands.send(signed.origin, settler.address, calldata)


async def filled(hands: Hands, signed: SignedOrder, offered: int | None = None) -> int:
    """Returns the timestamp of the fill."""
    settler = hands.output_settler(signed.destination.chain_id)
    calldata = settler.encode_fill(signed.intent_id, signed.output, signed.order.fill_deadline, SOLVER_WORD, offered)
    receipt = await hands.send(signed.destination, settler.address, calldata)
    block = await settler.client.block(receipt.block_number)
    assert block is not None
    return block.timestamp


async def test_swap__permit2_open_fill_attest_finalise__each_step_has_its_evidence(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await swap_order(network, chain_clients)
    alpha, order, intent_id = signed.origin, signed.order, signed.intent_id
    client = chain_clients.of(alpha.chain_id)
    escrow, payer = hands.input_settler(alpha.chain_id), hands.output_settler(alpha.chain_id)
    start = (await client.head()).number

    assert await escrow.order_identifier(order) == intent_id
    assert await escrow.order_status(intent_id) is OrderStatus.NONE
    assert await escrow.find_open(intent_id, start) is None
    assert not await Permit2(client).nonce_used(USER.address, order.nonce)

    await opened(hands, signed)
    evidence = await escrow.find_open(intent_id, start)
    assert evidence is not None
    assert await client.depth(evidence) == 1
    assert await escrow.order_status(intent_id) is OrderStatus.DEPOSITED
    assert await Permit2(client).nonce_used(USER.address, order.nonce)

    assert await payer.fill_record(intent_id, output_hash(signed.output)) is None
    timestamp = await filled(hands, signed, OUTPUT_WETH + SURPLUS)
    (fill,) = await payer.find_fills(intent_id, start)
    assert (fill.output, fill.solver, fill.timestamp) == (signed.output, SOLVER_WORD, timestamp)
    assert fill.final_amount == OUTPUT_WETH + SURPLUS
    assert fill.output_hash == output_hash(signed.output)
    assert await payer.fill_record(intent_id, fill.output_hash) == fill_record_hash(SOLVER_WORD, timestamp)
    assert await payer.fill_record(intent_id, fill.output_hash, fill.block_number - 1) is None
    weth = Token(client, clean_address(signed.output.token))
    assert await weth.balance_of(RECIPIENT) == OUTPUT_WETH + SURPLUS

    data_hash = fill_data_hash(intent_id, signed.output, SOLVER_WORD, timestamp)
    proof = (alpha.chain_id, signed.output.oracle, signed.output.settler, data_hash)
    assert not await payer.is_proven(*proof)
    await hands.send(
        alpha, payer.address, payer.encode_set_attestation(intent_id, SOLVER_WORD, timestamp, signed.output)
    )
    assert await payer.is_proven(*proof)

    usdc = Token(client, order.inputs[0].token)
    before = await usdc.balance_of(SOLVER)
    finalise = escrow.encode_finalise(order, [SolveParams(timestamp, SOLVER_WORD)], SOLVER_WORD)
    await hands.send(alpha, escrow.address, finalise)
    finalised = await escrow.find_finalised(intent_id, start)
    assert finalised is not None
    assert (finalised.solver, finalised.destination) == (SOLVER_WORD, SOLVER_WORD)
    assert await escrow.order_status(intent_id) is OrderStatus.CLAIMED
    assert await usdc.balance_of(SOLVER) - before == INPUT_USDC
    assert await escrow.find_refunded(intent_id, start) is None


async def test_bridge__erc3009_open_fill_attested_finalise__the_solver_is_paid(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await bridge_order(network, chain_clients)
    alpha, beta = signed.origin, signed.destination
    usdc = Token(chain_clients.of(alpha.chain_id), alpha.tokens["USDC"].address)
    assert not await usdc.authorization_used(USER.address, signed.intent_id)
    await opened(hands, signed)
    assert await usdc.authorization_used(USER.address, signed.intent_id)
    timestamp = await filled(hands, signed)
    assert (
        await Token(chain_clients.of(beta.chain_id), beta.tokens["USDC"].address).balance_of(RECIPIENT) == OUTPUT_USDC
    )

    escrow = hands.input_settler(alpha.chain_id)
    finalise = escrow.encode_finalise(signed.order, [SolveParams(timestamp, SOLVER_WORD)], SOLVER_WORD)
    with pytest.raises(Reverted) as early:
        await escrow.client.call(escrow.address, finalise, sender=SOLVER)
    assert early.value.name == "NotProven"

    oracle = AttestedOracle(chain_clients.of(alpha.chain_id))
    data_hash = fill_data_hash(signed.intent_id, signed.output, SOLVER_WORD, timestamp)
    statement = (beta.chain_id, signed.output.oracle, signed.output.settler, data_hash)
    digest = fill_attestation_digest(alpha.chain_id, oracle.address, *statement)
    assert await oracle.attestation_digest(*statement) == digest
    signatures = [sign(digest, account.private_key) for account in local_accounts("attester")]
    with pytest.raises(Reverted) as one_short:
        await oracle.client.call(oracle.address, oracle.encode_submit(*statement, signatures[:1]))
    assert (one_short.value.name, one_short.value.arguments) == ("NotEnoughAttestations", {"given": 1, "needed": 2})

    await hands.send(alpha, oracle.address, oracle.encode_submit(*statement, signatures))
    assert await oracle.is_proven(*statement)
    await hands.send(alpha, escrow.address, finalise)
    assert await escrow.order_status(signed.intent_id) is OrderStatus.CLAIMED


async def test_refund__after_expiry__goes_back_to_the_user_with_evidence(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await bridge_order(network, chain_clients)
    alpha = signed.origin
    escrow = hands.input_settler(alpha.chain_id)
    usdc = Token(chain_clients.of(alpha.chain_id), alpha.tokens["USDC"].address)
    before = await usdc.balance_of(USER.address)
    await opened(hands, signed)
    with pytest.raises(Reverted) as early:
        await escrow.client.call(escrow.address, escrow.encode_refund(signed.order))
    assert early.value.name == "TimestampNotPassed"
    await hands.warp(alpha, signed.order.expires + 1)
    await hands.send(alpha, escrow.address, escrow.encode_refund(signed.order))
    assert await escrow.find_refunded(signed.intent_id, 0) is not None
    assert await escrow.order_status(signed.intent_id) is OrderStatus.REFUNDED
    assert await usdc.balance_of(USER.address) == before


async def test_reverts__each_refusal__has_the_name_of_the_interface(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await swap_order(network, chain_clients)
    alpha = signed.origin
    escrow, payer = hands.input_settler(alpha.chain_id), hands.output_settler(alpha.chain_id)

    async def refusal(to: Address, calldata: bytes) -> Reverted:
        with pytest.raises(Reverted) as caught:
            await escrow.client.call(to, calldata, sender=SOLVER)
        with pytest.raises(Reverted) as estimated:
            await escrow.client.estimate_gas(SOLVER, to, calldata)
        assert estimated.value.name == caught.value.name
        return caught.value

    forged = signed.signature[:-2] + bytes([signed.signature[-2] ^ 1]) + signed.signature[-1:]
    wrong = await refusal(escrow.address, escrow.encode_open_for(signed.order, USER.address, forged))
    assert wrong.name in {"InvalidSigner", "InvalidSignature"}
    unknown = await refusal(escrow.address, escrow.encode_open_for(signed.order, USER.address, b"\x07"))
    assert (unknown.name, unknown.arguments) == ("SignatureNotSupported", {"signatureType": b"\x07"})

    await opened(hands, signed)
    twice = await refusal(escrow.address, escrow.encode_open_for(signed.order, USER.address, signed.signature))
    assert (twice.name, twice.data.hex()) == ("InvalidOrderStatus", "2916ae33")

    deadline = (await escrow.client.head()).timestamp - 1
    late = await refusal(payer.address, payer.encode_fill(signed.intent_id, signed.output, deadline, SOLVER_WORD))
    assert late.name == "FillDeadline"
    low = await refusal(
        payer.address, payer.encode_fill(signed.intent_id, signed.output, signed.order.fill_deadline, SOLVER_WORD, 1)
    )
    assert (low.name, low.arguments) == ("OfferTooLow", {"offered": 1, "required": OUTPUT_WETH})

    await filled(hands, signed)
    again = payer.encode_fill_outputs(signed.intent_id, [signed.output], signed.order.fill_deadline, SOLVER_WORD)
    assert (await refusal(payer.address, again)).name == "AlreadyFilled"


async def test_open__same_output_twice__is_refused_by_name(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await swap_order(network, chain_clients)
    escrow = hands.input_settler(signed.origin.chain_id)
    twice = replace(signed.order, outputs=signed.order.outputs * 2)
    with pytest.raises(Reverted) as caught:
        await escrow.client.call(
            escrow.address, escrow.encode_open_for(twice, USER.address, signed.signature), sender=SOLVER
        )
    assert (caught.value.name, caught.value.arguments) == ("DuplicateOutput", {"index": 1})


async def test_fill__exclusive_to_another__is_refused_by_name(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    other = to_bytes32(USER.address)
    context = b"\xe0" + other + (2**32 - 1).to_bytes(4, "big")
    signed = await swap_order(network, chain_clients, context=context)
    payer = hands.output_settler(signed.origin.chain_id)
    calldata = payer.encode_fill(signed.intent_id, signed.output, signed.order.fill_deadline, SOLVER_WORD)
    with pytest.raises(Reverted) as caught:
        await payer.client.call(payer.address, calldata, sender=SOLVER)
    assert (caught.value.name, caught.value.arguments) == ("ExclusiveTo", {"solver": other})


async def test_invalidate_nonce__by_the_user__voids_the_signature(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await swap_order(network, chain_clients, nonce=2**200 + 77)
    permit2 = Permit2(chain_clients.of(signed.origin.chain_id))
    escrow = hands.input_settler(signed.origin.chain_id)
    await hands.send(signed.origin, permit2.address, permit2.encode_invalidate_nonce(signed.order.nonce), USER.address)
    assert await permit2.nonce_used(USER.address, signed.order.nonce)
    assert not await permit2.nonce_used(USER.address, signed.order.nonce + 1)
    calldata = escrow.encode_open_for(signed.order, USER.address, signed.signature)
    with pytest.raises(Reverted) as caught:
        await escrow.client.call(escrow.address, calldata, sender=SOLVER)
    assert caught.value.name == "InvalidNonce"


async def test_evidence__block_reorganised_away__has_no_depth_and_is_not_found(
    network: NetworkConfig, chain_clients: ChainClients, hands: Hands
) -> None:
    signed = await swap_order(network, chain_clients)
    escrow = hands.input_settler(signed.origin.chain_id)
    snapshot = await hands.rpc(signed.origin, "evm_snapshot")
    await opened(hands, signed)
    evidence = await escrow.find_open(signed.intent_id, 0)
    assert evidence is not None
    await hands.mine(signed.origin, 2)
    assert await escrow.client.depth(evidence) == 3

    await hands.rpc(signed.origin, "evm_revert", snapshot)
    await hands.mine(signed.origin, 3)
    assert await escrow.client.depth(evidence) == 0
    assert await escrow.find_open(signed.intent_id, 0) is None


async def test_encode_fill__surplus_where_the_settler_takes_none__is_a_bug_of_the_caller(
    network: NetworkConfig, chain_clients: ChainClients
) -> None:
    signed = await swap_order(network, chain_clients)
    plain = signed.origin.model_copy(update={"output_settler_accepts_surplus": False})
    async with ChainClients(NetworkConfig(chains=(plain,))) as clients:
        payer = OutputSettler(clients.of(plain.chain_id))
        with pytest.raises(ValueError, match="least amount"):
            payer.encode_fill(signed.intent_id, signed.output, 1, SOLVER_WORD, OUTPUT_WETH)
