"""What an output's context asks for: how its amount moves with time, and who may fill it at first."""

from dataclasses import dataclass
from enum import IntEnum

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.order import OrderOutput
from intentmesh.domain.types import UINT256_MAX, Bytes32
from intentmesh.v1.error_pb2 import ErrorReason


class ContextKind(IntEnum):
    """First byte of a context; an empty context is LIMIT."""

    LIMIT = 0x00
    DUTCH = 0x01
    EXCLUSIVE_LIMIT = 0xE0
    EXCLUSIVE_DUTCH = 0xE1


_LENGTHS = {
    ContextKind.LIMIT: 1,
    ContextKind.DUTCH: 1 + 4 + 4 + 32,
    ContextKind.EXCLUSIVE_LIMIT: 1 + 32 + 4,
    ContextKind.EXCLUSIVE_DUTCH: 1 + 32 + 4 + 4 + 32,
}


class InvalidContext(InvalidArgument):
    """The context is of no known kind, or has not its kind's length."""

    default_reason = ErrorReason.ERROR_REASON_INVALID_CONTEXT


@dataclass(frozen=True, slots=True)
class OrderContext:
    """Times are Unix seconds, `slope` is token units per second.

    Dutch kinds use start, stop and slope; exclusive kinds name a solver who alone may fill before `until`. For an
    exclusive Dutch order the price begins to fall when the exclusivity ends: start equals until.
    """

    kind: ContextKind
    start: int = 0
    stop: int = 0
    slope: int = 0
    exclusive_solver: Bytes32 | None = None
    until: int = 0

    @property
    def moves_with_time(self) -> bool:
        """Whether the amount depends on the moment of the fill."""
        return self.kind in (ContextKind.DUTCH, ContextKind.EXCLUSIVE_DUTCH)

    def encode(self) -> bytes:
        """The bytes a user signs."""
        head = bytes([self.kind])
        solver = self.exclusive_solver or Bytes32(bytes(32))
        match self.kind:
            case ContextKind.LIMIT:
                return head
            case ContextKind.DUTCH:
                return head + _uint32(self.start) + _uint32(self.stop) + self.slope.to_bytes(32, "big")
            case ContextKind.EXCLUSIVE_LIMIT:
                return head + solver + _uint32(self.until)
            case ContextKind.EXCLUSIVE_DUTCH:
                return head + solver + _uint32(self.until) + _uint32(self.stop) + self.slope.to_bytes(32, "big")


def parse_context(context: bytes) -> OrderContext:
    """Reads an output's context. Raises InvalidContext."""
    if not context:
        return OrderContext(ContextKind.LIMIT)
    try:
        kind = ContextKind(context[0])
    except ValueError:
        raise InvalidContext(f"The order type 0x{context[0]:02x} of the context is not known.") from None
    if len(context) != _LENGTHS[kind]:
        raise InvalidContext(
            f"A context of type 0x{kind:02x} has {_LENGTHS[kind]} bytes; this one has {len(context)} bytes."
        )
    match kind:
        case ContextKind.LIMIT:
            return OrderContext(kind)
        case ContextKind.DUTCH:
            return OrderContext(kind, start=_int(context[1:5]), stop=_int(context[5:9]), slope=_int(context[9:41]))
        case ContextKind.EXCLUSIVE_LIMIT:
            return OrderContext(kind, exclusive_solver=Bytes32(context[1:33]), until=_int(context[33:37]))
        case ContextKind.EXCLUSIVE_DUTCH:
            start = _int(context[33:37])
            return OrderContext(
                kind,
                start=start,
                stop=_int(context[37:41]),
                slope=_int(context[41:73]),
                exclusive_solver=Bytes32(context[1:33]),
                until=start,
            )


def resolve_amount(output: OrderOutput, at: int) -> int:
    """The least that a fill at `at` (Unix seconds) pays: amount + slope · (stop - max(at, start)), never below amount.

    Raises InvalidContext, also where the settler's arithmetic would overflow.
    """
    context = parse_context(output.context)
    if not context.moves_with_time:
        return output.amount
    seconds_left = max(0, context.stop - max(at, context.start))
    amount = output.amount + context.slope * seconds_left
    if amount > UINT256_MAX:
        raise InvalidContext("The price that the context asks for overflows a uint256.")
    return amount


def may_fill(output: OrderOutput, solver: Bytes32, at: int) -> bool:
    """Whether `solver` may fill at `at` (Unix seconds). Raises InvalidContext."""
    context = parse_context(output.context)
    return context.exclusive_solver is None or context.exclusive_solver == solver or at >= context.until


def _int(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _uint32(value: int) -> bytes:
    return value.to_bytes(4, "big")
