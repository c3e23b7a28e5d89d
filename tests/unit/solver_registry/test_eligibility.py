"""Who is asked, and the sentence for everybody else."""

from dataclasses import replace

import pytest
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.order import Order, OrderInput, OrderOutput
from intentmesh.domain.types import Address, Bytes32, ChainId, format_address, to_bytes32
from intentmesh.solver_registry.eligibility import Admission, Candidate, divide, why_not
from intentmesh.solver_registry.standing import Breaker, Standing
from intentmesh.v1.solver_registry_service_pb2 import SolverState
from intentmesh.v1.solver_service_pb2 import Route

NOW = 1_700_000_000.0
USDC, WETH = Address(b"\xaa" * 20), Address(b"\xbb" * 20)
SOLVER, OTHER = Address(b"\x01" * 20), Address(b"\x02" * 20)
ADMISSION = Admission(now=NOW, heartbeat_window_seconds=30)


def order(context: bytes = b"", token: Address = WETH, chain: int = 31338) -> Order:
    word = Bytes32(b"\x09" * 32)
    output = OrderOutput(word, word, ChainId(chain), to_bytes32(token), 5, word, b"", context)
    deadline = int(NOW) + 600
    return Order(OTHER, 1, ChainId(31337), deadline + 600, deadline, OTHER, (OrderInput(USDC, 5),), (output,))


def candidate() -> Candidate:
    route = Route(
        origin_chain_id=31337,
        destination_chain_id=31338,
        input_tokens=[format_address(USDC), "not a token"],
        output_tokens=[format_address(WETH).lower()],
    )
    return Candidate(
        solver_id="0x" + SOLVER.hex(),
        solver=SOLVER,
        endpoint="solver:1",
        state=SolverState.SOLVER_STATE_ACTIVE,
        routes=(route,),
        last_heartbeat=NOW - 30,
        standing=Standing(),
        breaker=Breaker(),
    )


def test_why_not__a_solver_for_the_order__is_asked() -> None:
    assert why_not(order(), candidate(), ADMISSION) == ""
    assert divide(order(), [candidate()], ADMISSION) == ([candidate()], [])


@pytest.mark.parametrize(
    ("wanted", "changes", "admission", "sentence"),
    [
        (order(), {"state": SolverState.SOLVER_STATE_BENCHED}, ADMISSION, "benched"),
        (order(), {"state": SolverState.SOLVER_STATE_AWAITING_APPROVAL}, ADMISSION, "awaiting_approval"),
        (order(), {"last_heartbeat": NOW - 31}, ADMISSION, "no heartbeat for 31 s"),
        (order(), {"routes": ()}, ADMISSION, "no such route"),
        (order(token=USDC), {}, ADMISSION, "no such route"),
        (order(chain=31337), {}, ADMISSION, "no such route"),
        (order(), {}, replace(ADMISSION, excluded={"0x" + SOLVER.hex()}), "excluded"),
    ],
)
def test_why_not__each_obstacle__is_named(wanted: Order, changes, admission: Admission, sentence: str) -> None:
    assert sentence in why_not(wanted, replace(candidate(), **changes), admission)


def test_why_not__exclusive_to_another__is_asked_only_when_the_exclusivity_can_end() -> None:
    def exclusive(until: int) -> bytes:
        kind = ContextKind.EXCLUSIVE_LIMIT
        return OrderContext(kind, exclusive_solver=to_bytes32(OTHER), until=until).encode()

    assert "exclusive" in why_not(order(exclusive(int(NOW) + 601)), candidate(), ADMISSION)
    assert why_not(order(exclusive(int(NOW) + 60)), candidate(), ADMISSION) == ""
