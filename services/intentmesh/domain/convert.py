"""Orders between their proto form (text) and their domain form (bytes and integers)."""

from collections.abc import Callable
from typing import TypeVar

from intentmesh.domain.errors import FieldViolation, InvalidArgument
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import (
    Address,
    Bytes32,
    ChainId,
    format_address,
    parse_address,
    parse_bytes32,
    parse_uint256,
)
from intentmesh.v1 import order_pb2
from intentmesh.v1.error_pb2 import ErrorReason

MAX_INPUTS = 16
MAX_OUTPUTS = 16
MAX_CALLBACK_BYTES = 8192
# An exclusive Dutch auction's context, the longest kind.
MAX_CONTEXT_BYTES = 73

Parsed = TypeVar("Parsed")


class InvalidOrder(InvalidArgument):
    """The order is malformed; the violations name every field."""


class _Reader:
    """Reads fields and remembers what is wrong with them, so that all of it is told at once."""

    def __init__(self) -> None:
        self.violations: list[FieldViolation] = []

    def text(self, field: str, value: str, parse: Callable[[str], Parsed], fallback: Parsed) -> Parsed:
        if not value:
            self.refuse(field, ErrorReason.ERROR_REASON_MISSING_FIELD, "is required")
            return fallback
        try:
            return parse(value)
        except ValueError as error:
            self.refuse(field, ErrorReason.ERROR_REASON_INVALID_FIELD, str(error))
            return fallback

    def address(self, field: str, value: str) -> Address:
        return self.text(field, value, parse_address, Address(b""))

    def word(self, field: str, value: str) -> Bytes32:
        return self.text(field, value, parse_bytes32, Bytes32(b""))

    def uint256(self, field: str, value: str) -> int:
        return self.text(field, value, parse_uint256, 0)

    def positive(self, field: str, value: int, maximum: int) -> int:
        if value == 0:
            self.refuse(field, ErrorReason.ERROR_REASON_MISSING_FIELD, "is required")
        elif value > maximum:
            self.refuse(field, ErrorReason.ERROR_REASON_INVALID_FIELD, f"must be at most {maximum}")
        return value

    def count(self, field: str, count: int, maximum: int) -> None:
        if count == 0:
            self.refuse(field, ErrorReason.ERROR_REASON_MISSING_FIELD, "needs at least one element")
        elif count > maximum:
            self.refuse(
                field, ErrorReason.ERROR_REASON_TOO_LARGE, f"has {count} elements; at most {maximum} are served"
            )

    def size(self, field: str, data: bytes, maximum: int) -> bytes:
        if len(data) > maximum:
            self.refuse(
                field, ErrorReason.ERROR_REASON_TOO_LARGE, f"has {len(data)} bytes; at most {maximum} are served"
            )
        return data

    def refuse(self, field: str, reason: "ErrorReason.ValueType", message: str) -> None:
        self.violations.append(FieldViolation(field, reason, message))


_CHAIN_ID_MAX = 2**63 - 1
_UINT32_MAX = 2**32 - 1


def order_from_proto(pb: order_pb2.Order, field: str = "order") -> Order:
    """The order in a message that stands in `field` of the request. Raises InvalidOrder with every violation."""
    try:
        return _read_plain_order(pb)
    except ValueError:
        return _read_with_violations(pb, field)


def _read_plain_order(pb: order_pb2.Order) -> Order:
    """`order_from_proto` for orders that are expected to be right: raises a ValueError that names no field."""
    if not (0 < len(pb.inputs) <= MAX_INPUTS and 0 < len(pb.outputs) <= MAX_OUTPUTS):
        raise ValueError("too few or too many")
    if not (0 < pb.origin_chain_id <= _CHAIN_ID_MAX and pb.expires and pb.fill_deadline):
        raise ValueError("a number is out of its range")
    return Order(
        user=parse_address(pb.user),
        nonce=parse_uint256(pb.nonce),
        origin_chain_id=ChainId(pb.origin_chain_id),
        expires=pb.expires,
        fill_deadline=pb.fill_deadline,
        input_oracle=parse_address(pb.input_oracle),
        inputs=tuple([OrderInput(parse_address(item.token), parse_uint256(item.amount)) for item in pb.inputs]),
        outputs=tuple([_read_plain_output(item) for item in pb.outputs]),
    )


def _read_plain_output(pb: order_pb2.OrderOutput) -> OrderOutput:
    callback_data, context = pb.callback_data, pb.context
    if len(callback_data) > MAX_CALLBACK_BYTES or len(context) > MAX_CONTEXT_BYTES:
        raise ValueError("too long")
    if not 0 < pb.chain_id <= _CHAIN_ID_MAX:
        raise ValueError("a number is out of its range")
    return OrderOutput(
        oracle=parse_bytes32(pb.oracle),
        settler=parse_bytes32(pb.settler),
        chain_id=ChainId(pb.chain_id),
        token=parse_bytes32(pb.token),
        amount=parse_uint256(pb.amount),
        recipient=parse_bytes32(pb.recipient),
        callback_data=callback_data,
        context=context,
    )


def _read_with_violations(pb: order_pb2.Order, field: str) -> Order:
    reader = _Reader()
    reader.count(f"{field}.inputs", len(pb.inputs), MAX_INPUTS)
    reader.count(f"{field}.outputs", len(pb.outputs), MAX_OUTPUTS)
    order = Order(
        user=reader.address(f"{field}.user", pb.user),
        nonce=reader.uint256(f"{field}.nonce", pb.nonce),
        origin_chain_id=ChainId(reader.positive(f"{field}.origin_chain_id", pb.origin_chain_id, _CHAIN_ID_MAX)),
        expires=reader.positive(f"{field}.expires", pb.expires, _UINT32_MAX),
        fill_deadline=reader.positive(f"{field}.fill_deadline", pb.fill_deadline, _UINT32_MAX),
        input_oracle=reader.address(f"{field}.input_oracle", pb.input_oracle),
        inputs=tuple(
            _read_input(reader, f"{field}.inputs[{index}]", item) for index, item in enumerate(pb.inputs[:MAX_INPUTS])
        ),
        outputs=tuple(
            _read_output(reader, f"{field}.outputs[{index}]", item)
            for index, item in enumerate(pb.outputs[:MAX_OUTPUTS])
        ),
    )
    _raise_if_any(reader)
    return order


def output_from_proto(pb: order_pb2.OrderOutput, field: str = "output") -> OrderOutput:
    """The output in a message that stands in `field`. Raises InvalidOrder with every violation."""
    reader = _Reader()
    output = _read_output(reader, field, pb)
    _raise_if_any(reader)
    return output


# Field by field: a message made by keyword arguments costs nearly twice as much, and every accept makes three.
def order_to_proto(order: Order) -> order_pb2.Order:
    """The order with EIP-55 addresses and decimal amounts."""
    pb = order_pb2.Order()
    pb.user = format_address(order.user)
    pb.nonce = str(order.nonce)
    pb.origin_chain_id = order.origin_chain_id
    pb.expires = order.expires
    pb.fill_deadline = order.fill_deadline
    pb.input_oracle = format_address(order.input_oracle)
    for item in order.inputs:
        given = pb.inputs.add()
        given.token = format_address(item.token)
        given.amount = str(item.amount)
    for output in order.outputs:
        _write_output(pb.outputs.add(), output)
    return pb


def output_to_proto(output: OrderOutput) -> order_pb2.OrderOutput:
    """The output; a word that is an address is written as one."""
    pb = order_pb2.OrderOutput()
    _write_output(pb, output)
    return pb


def _write_output(pb: order_pb2.OrderOutput, output: OrderOutput) -> None:
    pb.oracle = format_address(output.oracle)
    pb.settler = format_address(output.settler)
    pb.chain_id = output.chain_id
    pb.token = format_address(output.token)
    pb.amount = str(output.amount)
    pb.recipient = format_address(output.recipient)
    pb.callback_data = output.callback_data
    pb.context = output.context


def _read_input(reader: _Reader, field: str, pb: order_pb2.OrderInput) -> OrderInput:
    return OrderInput(
        token=reader.address(f"{field}.token", pb.token), amount=reader.uint256(f"{field}.amount", pb.amount)
    )


def _read_output(reader: _Reader, field: str, pb: order_pb2.OrderOutput) -> OrderOutput:
    return OrderOutput(
        oracle=reader.word(f"{field}.oracle", pb.oracle),
        settler=reader.word(f"{field}.settler", pb.settler),
        chain_id=ChainId(reader.positive(f"{field}.chain_id", pb.chain_id, _CHAIN_ID_MAX)),
        token=reader.word(f"{field}.token", pb.token),
        amount=reader.uint256(f"{field}.amount", pb.amount),
        recipient=reader.word(f"{field}.recipient", pb.recipient),
        callback_data=reader.size(f"{field}.callback_data", pb.callback_data, MAX_CALLBACK_BYTES),
        context=reader.size(f"{field}.context", pb.context, MAX_CONTEXT_BYTES),
    )


def _raise_if_any(reader: _Reader) -> None:
    if reader.violations:
        first = reader.violations[0]
        raise InvalidOrder(
            f"The order is malformed: {first.field} {first.message}.",
            reason=first.reason,
            violations=reader.violations,
        )
