"""The order structs as the ABI wants them: nested tuples in field order."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from intentmesh.domain.order import Order, OrderOutput
from intentmesh.domain.types import Bytes32, ChainId


class SolveParams(NamedTuple):
    """Who filled an output and when (Unix seconds of the fill's block), as its fill record says."""

    timestamp: int
    solver: Bytes32


def order_struct(order: Order) -> tuple[object, ...]:
    """StandardOrder."""
    return (
        order.user,
        order.nonce,
        order.origin_chain_id,
        order.expires,
        order.fill_deadline,
        order.input_oracle,
        [(int.from_bytes(one.token, "big"), one.amount) for one in order.inputs],
        output_structs(order.outputs),
    )


def output_struct(output: OrderOutput) -> tuple[object, ...]:
    """MandateOutput."""
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


def output_structs(outputs: Sequence[OrderOutput]) -> list[tuple[object, ...]]:
    return [output_struct(output) for output in outputs]


def read_output(struct: tuple[Any, ...]) -> OrderOutput:
    """A MandateOutput that a contract gave."""
    oracle, settler, chain_id, token, amount, recipient, callback_data, context = struct
    return OrderOutput(
        oracle=Bytes32(oracle),
        settler=Bytes32(settler),
        chain_id=ChainId(chain_id),
        token=Bytes32(token),
        amount=amount,
        recipient=Bytes32(recipient),
        callback_data=callback_data,
        context=context,
    )
