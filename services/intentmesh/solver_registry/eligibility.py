"""Which solvers are asked for an order, and why the others are not. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from intentmesh.domain.context import may_fill
from intentmesh.domain.order import Order
from intentmesh.domain.types import Address, Bytes32, parse_address, parse_bytes32, to_bytes32
from intentmesh.solver_registry.standing import Breaker, Standing
from intentmesh.v1.solver_registry_service_pb2 import SolverState
from intentmesh.v1.solver_service_pb2 import Route


@dataclass(frozen=True, slots=True)
class Candidate:
    """A registered solver, as a competition sees it. Times are Unix seconds."""

    solver_id: str
    solver: Address
    endpoint: str
    state: SolverState.ValueType
    routes: tuple[Route, ...]
    last_heartbeat: float
    standing: Standing
    breaker: Breaker


@dataclass(frozen=True, slots=True)
class Admission:
    """The rules of who may take part."""

    now: float
    heartbeat_window_seconds: float
    excluded: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class NotEligible:
    """A solver that is not asked."""

    candidate: Candidate
    message: str


def divide(
    order: Order, candidates: Iterable[Candidate], admission: Admission
) -> tuple[list[Candidate], list[NotEligible]]:
    """Those who are asked, and those who are not with the reason."""
    asked: list[Candidate] = []
    passed_over: list[NotEligible] = []
    for candidate in candidates:
        reason = why_not(order, candidate, admission)
        if reason:
            passed_over.append(NotEligible(candidate, reason))
        else:
            asked.append(candidate)
    return asked, passed_over


def why_not(order: Order, candidate: Candidate, admission: Admission) -> str:
    """A sentence for a person; empty when the solver is asked."""
    if candidate.state != SolverState.SOLVER_STATE_ACTIVE:
        return f"the solver is {SolverState.Name(candidate.state).removeprefix('SOLVER_STATE_').lower()}"
    if candidate.solver_id in admission.excluded:
        return "excluded from this round"
    silent_seconds = admission.now - candidate.last_heartbeat
    if silent_seconds > admission.heartbeat_window_seconds:
        return f"no heartbeat for {silent_seconds:.0f} s"
    if not any(_serves(route, order) for route in candidate.routes):
        return "the solver serves no such route with these tokens"
    if not all(may_fill(output, to_bytes32(candidate.solver), order.fill_deadline) for output in order.outputs):
        return "the order is exclusive to another solver"
    return ""


def _serves(route: Route, order: Order) -> bool:
    if route.origin_chain_id != order.origin_chain_id:
        return False
    if any(output.chain_id != route.destination_chain_id for output in order.outputs):
        return False
    inputs, outputs = set(_tokens(route.input_tokens)), set(_tokens(route.output_tokens))
    return all(to_bytes32(i.token) in inputs for i in order.inputs) and all(o.token in outputs for o in order.outputs)


def _tokens(texts: Iterable[str]) -> Iterable[Bytes32]:
    for text in texts:
        try:
            yield parse_bytes32(text)
        except ValueError:
            continue  # a solver's typing mistake costs it that token, not its registration


def solver_id_of(address: str) -> str:
    """The registry's id of an address: lower case. Raises ValueError when it is no address."""
    return "0x" + parse_address(address).hex()
