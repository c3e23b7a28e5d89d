"""The order a user signs and the hashes that name it on chain (see the published escrow ABI)."""

from dataclasses import dataclass
from typing import Final

from intentmesh.domain.keccak import keccak
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, to_bytes32
from intentmesh.v1.intent_pb2 import IntentType

_OUTPUT_HEAD_BYTES = 8 * 32
# Looked up once: the enum's wrapper makes each look-up dearer than the rest of what is done with it.
_SWAP, _BRIDGE, _TRANSFER = (
    IntentType.INTENT_TYPE_SWAP,
    IntentType.INTENT_TYPE_BRIDGE,
    IntentType.INTENT_TYPE_TRANSFER,
)


# Immutable by their types: `frozen` would say so at run time as well, at three times the price of making one, and the
# accept path makes several an order.
@dataclass(slots=True, unsafe_hash=True)
class OrderInput:
    """One ERC-20 amount the user gives, in the token's smallest unit."""

    token: Final[Address]
    amount: Final[int]


@dataclass(slots=True, unsafe_hash=True)
class OrderOutput:
    """One payment that completes the order. Addresses stand as words, as on chain; token zero is native currency."""

    oracle: Final[Bytes32]
    settler: Final[Bytes32]
    chain_id: Final[ChainId]
    token: Final[Bytes32]
    amount: Final[int]
    recipient: Final[Bytes32]
    callback_data: Final[bytes]
    context: Final[bytes]


@dataclass(slots=True, unsafe_hash=True)
class Order:
    """StandardOrder. `expires` and `fill_deadline` are Unix seconds."""

    user: Final[Address]
    nonce: Final[int]
    origin_chain_id: Final[ChainId]
    expires: Final[int]
    fill_deadline: Final[int]
    input_oracle: Final[Address]
    inputs: Final[tuple[OrderInput, ...]]
    outputs: Final[tuple[OrderOutput, ...]]


def order_id(order: Order, settler: Address) -> IntentId:
    """The id of the order at one input settler of its origin chain; the mesh's intent id."""
    inputs = b"".join([to_bytes32(item.token) + word(item.amount) for item in order.inputs])
    packed = b"".join(
        (
            word(order.origin_chain_id),
            settler,
            order.user,
            word(order.nonce),
            order.expires.to_bytes(4, "big"),
            order.fill_deadline.to_bytes(4, "big"),
            order.input_oracle,
            keccak(inputs),
            _abi_encode_outputs(order.outputs),
        )
    )
    return IntentId(keccak(packed))


def output_hash(output: OrderOutput) -> Bytes32:
    """The name of an output in fill records."""
    return Bytes32(keccak(output.oracle + output.settler + word(output.chain_id) + _packed_payment(output)))


def fill_data_hash(order_id: IntentId, output: OrderOutput, solver: Bytes32, timestamp: int) -> Bytes32:
    """keccak256 of the fill description that an oracle proves; over the signed amount, whatever was really paid."""
    return Bytes32(keccak(solver + order_id + timestamp.to_bytes(4, "big") + _packed_payment(output)))


def fill_record_hash(solver: Bytes32, timestamp: int) -> Bytes32:
    """What the output settler stores for a filled output."""
    return Bytes32(keccak(solver + timestamp.to_bytes(4, "big")))


def derive_type(order: Order) -> "IntentType.ValueType":
    """BRIDGE when any output is on another chain; else TRANSFER when every token is the same one; else SWAP."""
    for output in order.outputs:
        if output.chain_id != order.origin_chain_id:
            return _BRIDGE
    first = order.outputs[0].token
    for item in order.inputs:
        if to_bytes32(item.token) != first:
            return _SWAP
    return _TRANSFER if all(output.token == first for output in order.outputs) else _SWAP


def word(value: int) -> bytes:
    """An ABI word. Raises OverflowError beyond uint256."""
    return value.to_bytes(32, "big")


def _packed_payment(output: OrderOutput) -> bytes:
    return b"".join(
        (
            output.token,
            word(output.amount),
            output.recipient,
            len(output.callback_data).to_bytes(2, "big"),
            output.callback_data,
            len(output.context).to_bytes(2, "big"),
            output.context,
        )
    )


def _abi_encode_outputs(outputs: tuple[OrderOutput, ...]) -> bytes:
    bodies = [_abi_encode_output(output) for output in outputs]
    if len(bodies) == 1:
        return _ONE_OUTPUT_HEAD + bodies[0]
    offsets = []
    offset = 32 * len(bodies)
    for body in bodies:
        offsets.append(word(offset))
        offset += len(body)
    return b"".join((word(32), word(len(bodies)), *offsets, *bodies))


def _abi_encode_output(output: OrderOutput) -> bytes:
    callback = abi_bytes(output.callback_data)
    return b"".join(
        (
            output.oracle,
            output.settler,
            word(output.chain_id),
            output.token,
            word(output.amount),
            output.recipient,
            _CALLBACK_OFFSET,
            word(_OUTPUT_HEAD_BYTES + len(callback)),
            callback,
            abi_bytes(output.context),
        )
    )


def abi_bytes(data: bytes) -> bytes:
    """The tail of a dynamic `bytes`: its length and its content, padded to whole words."""
    return word(len(data)) + data + bytes(-len(data) % 32) if data else _NO_BYTES


# What nearly every order has: one output, no callback, no context.
_NO_BYTES = word(0)
_CALLBACK_OFFSET = word(_OUTPUT_HEAD_BYTES)
_ONE_OUTPUT_HEAD = word(32) + word(1) + word(32)
