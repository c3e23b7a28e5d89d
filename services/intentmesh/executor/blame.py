"""Whose doing the end of an award was, from chain evidence. Pure. Only SOLVER counts against a solver."""

from collections.abc import Sequence
from dataclasses import dataclass

from intentmesh.domain.types import Bytes32
from intentmesh.executor.evidence import Fill
from intentmesh.executor.verification import Proven, shortfalls
from intentmesh.v1.solver_registry_service_pb2 import OutcomeCause, OutcomeKind


@dataclass(frozen=True, slots=True)
class Promise:
    """What the award promised. Amounts per output in the token's smallest unit, time in Unix seconds."""

    solver: Bytes32
    output_amounts: tuple[int, ...]
    fill_time: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is reported to the registry."""

    kind: OutcomeKind.ValueType
    cause: OutcomeCause.ValueType
    message: str


def judge_delivery(promise: Promise, fills: Sequence[Fill | None]) -> Judgement:
    """The outcome of an award whose order is filled for good, by whomever."""
    others = [fill for fill in fills if fill is not None and fill.solver != promise.solver]
    if others:
        return Judgement(
            OutcomeKind.OUTCOME_KIND_FAILED,
            OutcomeCause.OUTCOME_CAUSE_CHAIN,
            "Somebody else filled the order first.",
        )
    short = shortfalls(fills, promise.output_amounts)
    if short:
        first = short[0]
        return Judgement(
            OutcomeKind.OUTCOME_KIND_FADED,
            OutcomeCause.OUTCOME_CAUSE_SOLVER,
            f"Output {first.output_index} was paid {first.paid}, quoted were {first.promised}.",
        )
    # Block times are whole seconds and a promise may fall within one.
    late = [fill for fill in fills if fill is not None and fill.time > promise.fill_time + 1]
    if late:
        return Judgement(
            OutcomeKind.OUTCOME_KIND_FADED,
            OutcomeCause.OUTCOME_CAUSE_SOLVER,
            f"Filled {late[0].time - promise.fill_time:.0f} s after the promised time.",
        )
    return Judgement(
        OutcomeKind.OUTCOME_KIND_SETTLED, OutcomeCause.OUTCOME_CAUSE_SOLVER, "Filled as quoted and in time."
    )


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What surrounded an award that came to nothing."""

    cancel_requested: bool = False
    # None: could not be looked up.
    user_can_pay: bool | None = None
    # An endpoint of a chain did not answer while the award stood.
    chain_trouble: bool = False
    released: bool = False


def judge_failure(proven: Proven | None, circumstances: Circumstances, message: str) -> Judgement:
    """The outcome of an award that was given up."""
    kind = OutcomeKind.OUTCOME_KIND_RELEASED if circumstances.released else OutcomeKind.OUTCOME_KIND_FAILED
    return Judgement(kind, _cause(proven, circumstances), message[:1024])


def _cause(proven: Proven | None, circumstances: Circumstances) -> OutcomeCause.ValueType:
    unopened = proven is not None and proven.unopened
    if circumstances.cancel_requested:
        return OutcomeCause.OUTCOME_CAUSE_USER
    if unopened and proven is not None and (proven.nonce_gone or circumstances.user_can_pay is False):
        return OutcomeCause.OUTCOME_CAUSE_USER
    if proven is None or circumstances.chain_trouble:
        return OutcomeCause.OUTCOME_CAUSE_CHAIN
    return OutcomeCause.OUTCOME_CAUSE_SOLVER
