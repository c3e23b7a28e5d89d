from dataclasses import replace

from eth_abi.abi import encode
from eth_abi.packed import encode_packed
from eth_utils import keccak
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.order import (
    Order,
    OrderInput,
    OrderOutput,
    derive_type,
    fill_data_hash,
    fill_record_hash,
    order_id,
    output_hash,
)
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, to_bytes32
from intentmesh.v1.intent_pb2 import IntentType

from tests.unit.domain.strategies import addresses, orders, outputs, seconds, words

_OUTPUTS = "(bytes32,bytes32,uint256,bytes32,uint256,bytes32,bytes,bytes)[]"


def _fields(output: OrderOutput) -> tuple[object, ...]:
    return (
        output.oracle,
        output.settler,
        output.chain_id,
        output.token,
        output.amount,
        output.recipient,
        output.callback_data,
        output.context,
    )


@given(orders, addresses)
def test_order_id__any_order__is_that_of_a_general_abi_encoder(order, settler):
    inputs = b"".join(
        encode(["uint256", "uint256"], [int.from_bytes(item.token, "big"), item.amount]) for item in order.inputs
    )
    packed = encode_packed(
        ["uint256", "address", "address", "uint256", "uint32", "uint32", "address", "bytes32", "bytes"],
        [
            order.origin_chain_id,
            settler,
            order.user,
            order.nonce,
            order.expires,
            order.fill_deadline,
            order.input_oracle,
            keccak(inputs),
            encode([_OUTPUTS], [[_fields(output) for output in order.outputs]]),
        ],
    )
    assert order_id(order, settler) == keccak(packed)


@given(orders, addresses, addresses)
def test_order_id__other_settler__is_another(order, settler, other):
    assert (order_id(order, settler) == order_id(order, other)) == (settler == other)


@given(outputs, words, words, seconds)
def test_output_hashes__any_output__are_those_of_a_general_packer(output, order, solver, timestamp):
    payment_types = ["bytes32", "uint256", "bytes32", "uint16", "bytes", "uint16", "bytes"]
    payment = [
        output.token,
        output.amount,
        output.recipient,
        len(output.callback_data),
        output.callback_data,
        len(output.context),
        output.context,
    ]
    assert output_hash(output) == keccak(
        encode_packed(
            ["bytes32", "bytes32", "uint256", *payment_types],
            [output.oracle, output.settler, output.chain_id, *payment],
        )
    )
    assert fill_data_hash(IntentId(order), output, solver, timestamp) == keccak(
        encode_packed(["bytes32", "bytes32", "uint32", *payment_types], [solver, order, timestamp, *payment])
    )
    assert fill_record_hash(solver, timestamp) == keccak(encode_packed(["bytes32", "uint32"], [solver, timestamp]))


_ALPHA, _BETA = ChainId(31337), ChainId(31338)
_USDC, _WETH = Address(b"\x01" * 20), Address(b"\x02" * 20)
_ANY = Bytes32(bytes(32))


def _order(*outputs: tuple[ChainId, Address]) -> Order:
    return Order(
        user=Address(bytes(20)),
        nonce=0,
        origin_chain_id=_ALPHA,
        expires=2,
        fill_deadline=1,
        input_oracle=Address(bytes(20)),
        inputs=(OrderInput(_USDC, 1),),
        outputs=tuple(OrderOutput(_ANY, _ANY, chain, to_bytes32(token), 1, _ANY, b"", b"") for chain, token in outputs),
    )


def test_derive_type__one_chain_other_token__is_swap():
    assert derive_type(_order((_ALPHA, _WETH))) == IntentType.INTENT_TYPE_SWAP
    assert derive_type(_order((_ALPHA, _WETH), (_ALPHA, _USDC))) == IntentType.INTENT_TYPE_SWAP


def test_derive_type__one_chain_one_token__is_transfer():
    assert derive_type(_order((_ALPHA, _USDC))) == IntentType.INTENT_TYPE_TRANSFER
    two_inputs = replace(_order((_ALPHA, _USDC)), inputs=(OrderInput(_USDC, 1), OrderInput(_WETH, 1)))
    assert derive_type(two_inputs) == IntentType.INTENT_TYPE_SWAP


def test_derive_type__any_output_elsewhere__is_bridge():
    assert derive_type(_order((_BETA, _USDC))) == IntentType.INTENT_TYPE_BRIDGE
    assert derive_type(_order((_ALPHA, _USDC), (_BETA, _WETH))) == IntentType.INTENT_TYPE_BRIDGE


@given(orders, st.data())
def test_order_id__any_single_change_of_an_output__is_another(order, data):
    output = order.outputs[0]
    changed = replace(output, amount=data.draw(st.integers(0, 2**256 - 1).filter(lambda value: value != output.amount)))
    other = replace(order, outputs=(changed, *order.outputs[1:]))
    assert order_id(other, Address(bytes(20))) != order_id(order, Address(bytes(20)))
