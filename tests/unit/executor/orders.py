"""Orders and evidence for tests of the executor's decisions."""

from dataclasses import replace

from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import Address, Bytes32, ChainId, to_bytes32
from intentmesh.executor.evidence import Depth, Evidence, Fill, Horizon, OrderStatus, Sighting

ORIGIN = ChainId(31_337)
DESTINATION = ChainId(31_338)
DEADLINE = 1_000_000
EXPIRES = DEADLINE + 600

INPUT_ORACLE = Address(b"\x0c" * 20)
OUTPUT_SETTLER = Address(b"\x0e" * 20)
SOLVER = to_bytes32(Address(b"\x05" * 20))
STRANGER = to_bytes32(Address(b"\x06" * 20))


def output(amount: int = 990, chain_id: ChainId = DESTINATION) -> OrderOutput:
    return OrderOutput(
        oracle=to_bytes32(Address(b"\x0d" * 20)),
        settler=to_bytes32(OUTPUT_SETTLER),
        chain_id=chain_id,
        token=to_bytes32(Address(b"\x02" * 20)),
        amount=amount,
        recipient=to_bytes32(Address(b"\x03" * 20)),
        callback_data=b"",
        context=b"",
    )


def order(outputs: int = 1) -> Order:
    return Order(
        user=Address(b"\x01" * 20),
        nonce=7,
        origin_chain_id=ORIGIN,
        expires=EXPIRES,
        fill_deadline=DEADLINE,
        input_oracle=INPUT_ORACLE,
        inputs=(OrderInput(Address(b"\x02" * 20), 1000),),
        outputs=tuple(output(990 + index) for index in range(outputs)),
    )


def same_chain_order() -> Order:
    own = to_bytes32(OUTPUT_SETTLER)
    return replace(order(), input_oracle=OUTPUT_SETTLER, outputs=(replace(output(chain_id=ORIGIN), oracle=own),))


def sighting(depth: Depth, chain_id: ChainId = ORIGIN, block: int = 10, mark: int = 1) -> Sighting:
    return Sighting(chain_id, Bytes32(bytes([mark]) * 32), block, depth)


def fill(index: int = 0, depth: Depth = Depth.FINAL, time: int = DEADLINE - 10, amount: int = 990) -> Fill:
    return Fill(index, SOLVER, time, amount, sighting(depth, DESTINATION, mark=2 + index))


def horizon(head_time: int = DEADLINE - 5, final_time: int = DEADLINE - 30) -> Horizon:
    return Horizon(100, head_time, final_time)


def evidence(
    *,
    status: OrderStatus = OrderStatus.NONE,
    opened: Depth = Depth.ABSENT,
    fills: tuple[Fill, ...] = (),
    finalised: Depth = Depth.ABSENT,
    refunded: Depth = Depth.ABSENT,
    origin: Horizon | None = None,
    destination: Horizon | None = None,
    nonce_used: bool = False,
    nonce_used_finally: bool = False,
) -> Evidence:
    if opened and status is OrderStatus.NONE:
        status = OrderStatus.DEPOSITED
    return Evidence(
        horizons={ORIGIN: origin or horizon(), DESTINATION: destination or horizon()},
        order_status=status,
        opened=sighting(opened) if opened else None,
        fills=fills,
        finalised=sighting(finalised, mark=20) if finalised else None,
        refunded=sighting(refunded, mark=21) if refunded else None,
        nonce_used=nonce_used,
        nonce_used_finally=nonce_used_finally,
    )
