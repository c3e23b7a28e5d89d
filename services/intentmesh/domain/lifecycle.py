"""The life of an intent: which state may follow which. Status is coarse, phase fine, obligation what is still owed.

    ACCEPTED ─▶ AUCTION ─▶ AWARDED ─▶ OPENED ─▶ FILLED ─▶ CONFIRMED ─▶ SETTLED
                   ▲__________│__________│   (next solver)   COMPLETED

Whatever somebody else does on chain counts too, so phases may be skipped forwards. FAILED, CANCELLED and EXPIRED are
reached by `terminate`; a reorganisation leads back by `retreat`.
"""

from dataclasses import dataclass, replace

from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

_S = IntentStatus
_P = IntentPhase
_O = Obligation

TERMINAL = frozenset(
    (
        _S.INTENT_STATUS_COMPLETED,
        _S.INTENT_STATUS_FAILED,
        _S.INTENT_STATUS_CANCELLED,
        _S.INTENT_STATUS_EXPIRED,
    )
)


class IllegalTransition(Exception):
    """A bug of the caller: the transition is not in the tables of this module."""


@dataclass(frozen=True, slots=True)
class State:
    """Where an intent stands."""

    status: "IntentStatus.ValueType"
    phase: "IntentPhase.ValueType"
    obligation: "Obligation.ValueType"

    @property
    def is_terminal(self) -> bool:
        """The status never changes again; phases SETTLED and REFUNDED may still follow."""
        return self.status in TERMINAL

    @property
    def is_over(self) -> bool:
        """Terminal, and nobody owes anything."""
        return self.is_terminal and self.obligation == _O.OBLIGATION_NONE


# Phases that may follow while the intent is not terminal.
_FORWARD: dict["IntentPhase.ValueType", frozenset["IntentPhase.ValueType"]] = {
    _P.INTENT_PHASE_ACCEPTED: frozenset(
        (
            _P.INTENT_PHASE_AUCTION,
            _P.INTENT_PHASE_AWARDED,
            _P.INTENT_PHASE_OPENED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
            _P.INTENT_PHASE_CANCELLATION_REQUESTED,
            _P.INTENT_PHASE_EXHAUSTED,
        )
    ),
    _P.INTENT_PHASE_AUCTION: frozenset(
        (
            _P.INTENT_PHASE_AWARDED,
            _P.INTENT_PHASE_OPENED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
            _P.INTENT_PHASE_CANCELLATION_REQUESTED,
            _P.INTENT_PHASE_EXHAUSTED,
        )
    ),
    _P.INTENT_PHASE_AWARDED: frozenset(
        (
            _P.INTENT_PHASE_AUCTION,
            _P.INTENT_PHASE_OPENED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
            _P.INTENT_PHASE_CANCELLATION_REQUESTED,
            _P.INTENT_PHASE_EXHAUSTED,
        )
    ),
    _P.INTENT_PHASE_OPENED: frozenset(
        (
            _P.INTENT_PHASE_AUCTION,
            _P.INTENT_PHASE_AWARDED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
            _P.INTENT_PHASE_CANCELLATION_REQUESTED,
            _P.INTENT_PHASE_EXHAUSTED,
        )
    ),
    _P.INTENT_PHASE_FILLED: frozenset((_P.INTENT_PHASE_CONFIRMED,)),
    _P.INTENT_PHASE_CANCELLATION_REQUESTED: frozenset(
        (
            _P.INTENT_PHASE_OPENED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
        )
    ),
    _P.INTENT_PHASE_EXHAUSTED: frozenset(
        (
            _P.INTENT_PHASE_AUCTION,
            _P.INTENT_PHASE_OPENED,
            _P.INTENT_PHASE_FILLED,
            _P.INTENT_PHASE_CONFIRMED,
            _P.INTENT_PHASE_CANCELLATION_REQUESTED,
        )
    ),
}

# What a phase proves to be owed. Until a reorganisation undoes the proof, the debt only moves forwards.
_OWED = {
    _P.INTENT_PHASE_AWARDED: _O.OBLIGATION_OPENABLE,
    _P.INTENT_PHASE_OPENED: _O.OBLIGATION_ESCROWED,
    _P.INTENT_PHASE_FILLED: _O.OBLIGATION_UNSETTLED,
    _P.INTENT_PHASE_CONFIRMED: _O.OBLIGATION_UNSETTLED,
}
_MAKES_IT_EXECUTING = frozenset((_P.INTENT_PHASE_AWARDED, _P.INTENT_PHASE_OPENED, _P.INTENT_PHASE_FILLED))

# Where a reorganisation may lead back to.
_BACKWARD: dict["IntentPhase.ValueType", frozenset["IntentPhase.ValueType"]] = {
    # These four may be reached while the order is in escrow, and the opening may be undone under them.
    _P.INTENT_PHASE_AUCTION: frozenset((_P.INTENT_PHASE_AWARDED,)),
    _P.INTENT_PHASE_AWARDED: frozenset((_P.INTENT_PHASE_AWARDED,)),
    _P.INTENT_PHASE_CANCELLATION_REQUESTED: frozenset((_P.INTENT_PHASE_AWARDED,)),
    _P.INTENT_PHASE_EXHAUSTED: frozenset((_P.INTENT_PHASE_AWARDED,)),
    _P.INTENT_PHASE_OPENED: frozenset((_P.INTENT_PHASE_AWARDED,)),
    _P.INTENT_PHASE_FILLED: frozenset((_P.INTENT_PHASE_AWARDED, _P.INTENT_PHASE_OPENED)),
    _P.INTENT_PHASE_SETTLED: frozenset((_P.INTENT_PHASE_CONFIRMED,)),
    _P.INTENT_PHASE_REFUNDED: frozenset((_P.INTENT_PHASE_OPENED,)),
}

_MAY_BE_OWED_AT_THE_END = {
    _S.INTENT_STATUS_COMPLETED: frozenset((_O.OBLIGATION_NONE, _O.OBLIGATION_UNSETTLED)),
    _S.INTENT_STATUS_FAILED: frozenset((_O.OBLIGATION_NONE, _O.OBLIGATION_ESCROWED)),
    _S.INTENT_STATUS_CANCELLED: frozenset((_O.OBLIGATION_NONE, _O.OBLIGATION_ESCROWED)),
    _S.INTENT_STATUS_EXPIRED: frozenset((_O.OBLIGATION_NONE, _O.OBLIGATION_ESCROWED)),
}


def accepted() -> State:
    """The state in which an intent is stored."""
    return State(_S.INTENT_STATUS_PENDING, _P.INTENT_PHASE_ACCEPTED, _O.OBLIGATION_NONE)


def advance(state: State, phase: "IntentPhase.ValueType") -> State:
    """The state after `phase` was reached. Raises IllegalTransition."""
    if state.is_terminal:
        return _advance_terminal(state, phase)
    if phase not in _FORWARD[state.phase]:
        raise _illegal(state, phase)
    status = state.status
    if phase == _P.INTENT_PHASE_CONFIRMED:
        status = _S.INTENT_STATUS_COMPLETED
    elif phase in _MAKES_IT_EXECUTING:
        status = _S.INTENT_STATUS_EXECUTING
    # Obligations are numbered in the sequence in which they arise.
    return State(status, phase, max(state.obligation, _OWED.get(phase, _O.OBLIGATION_NONE)))


def terminate(
    state: State,
    status: "IntentStatus.ValueType",
    *,
    phase: "IntentPhase.ValueType | None" = None,
    obligation: "Obligation.ValueType" = _O.OBLIGATION_NONE,
) -> State:
    """The end of an intent that did not complete: FAILED, CANCELLED or EXPIRED. Raises IllegalTransition.

    `phase` is REFUNDED where the refund itself was the evidence. `obligation` is ESCROWED where nothing more can
    happen but the refund.
    """
    target = state.phase if phase is None else phase
    if (
        state.is_terminal
        or status not in TERMINAL
        or status == _S.INTENT_STATUS_COMPLETED
        or target not in (state.phase, _P.INTENT_PHASE_REFUNDED)
        or obligation not in _MAY_BE_OWED_AT_THE_END[status]
    ):
        raise IllegalTransition(
            f"{_describe(state)} cannot end as {_S.Name(status)} in {_P.Name(target)} owing {_O.Name(obligation)}"
        )
    return State(status, target, obligation)


def retreat(state: State, phase: "IntentPhase.ValueType") -> State:
    """The state after a reorganisation undid what proved the present phase. Raises IllegalTransition.

    The status stays: EXECUTING ones have not been told as final, terminal ones never change.
    """
    if phase not in _BACKWARD.get(state.phase, frozenset()):
        raise _illegal(state, phase)
    return replace(state, phase=phase, obligation=_OWED[phase])


def _advance_terminal(state: State, phase: "IntentPhase.ValueType") -> State:
    completed = state.status == _S.INTENT_STATUS_COMPLETED
    settles = completed and state.phase == _P.INTENT_PHASE_CONFIRMED and phase == _P.INTENT_PHASE_SETTLED
    # Of a completed intent too: anyone may refund an expired order before it is settled, and then the solver is unpaid.
    refunds = state.obligation != _O.OBLIGATION_NONE and phase == _P.INTENT_PHASE_REFUNDED
    if not (settles or refunds):
        raise _illegal(state, phase)
    return State(state.status, phase, _O.OBLIGATION_NONE)


def _illegal(state: State, phase: "IntentPhase.ValueType") -> IllegalTransition:
    return IllegalTransition(f"{_describe(state)} cannot become {_P.Name(phase)}")


def _describe(state: State) -> str:
    return f"{_S.Name(state.status)}/{_P.Name(state.phase)}/{_O.Name(state.obligation)}"
