"""Which change of state the proof calls for. Pure: the decision core of the executor.

`next_transition` gives one step; callers apply it and ask again until there is none. Each step is one event, so a
subscriber sees every phase even when the chain was faster than we looked. Terminal statuses are told only when they
are true for good, and what follows them (SETTLED, REFUNDED) changes phase and obligation alone.
"""

from dataclasses import dataclass

from intentmesh.domain.lifecycle import State, advance, retreat, terminate
from intentmesh.executor.evidence import Depth
from intentmesh.executor.verification import Proven
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEventType
from intentmesh.v1.intent_pb2 import IntentPhase, IntentStatus, Obligation

# How far an obligation says the order has come: unopened, in escrow, paid out.
_PROGRESS = {
    Obligation.OBLIGATION_NONE: 0,
    Obligation.OBLIGATION_OPENABLE: 0,
    Obligation.OBLIGATION_ESCROWED: 1,
    Obligation.OBLIGATION_UNSETTLED: 2,
}


@dataclass(frozen=True, slots=True)
class Situation:
    """What the mesh itself knows of an intent, beside the chains."""

    # Some solver may have been handed the signature.
    signature_out: bool = False
    cancel_requested: bool = False
    # No further award is made.
    exhausted: bool = False
    # The mesh's clock is at or past the fill deadline.
    deadline_passed: bool = False
    # FINALITY_VIOLATED was told already.
    violation_told: bool = False
    # Why the last award, or the last auction, came to nothing.
    failure: ErrorReason.ValueType = ErrorReason.ERROR_REASON_UNSPECIFIED


@dataclass(frozen=True, slots=True)
class Transition:
    """One event to write. `state` is the one after it."""

    state: State
    message: str
    reason: ErrorReason.ValueType = ErrorReason.ERROR_REASON_UNSPECIFIED
    type: IntentEventType.ValueType = IntentEventType.INTENT_EVENT_TYPE_TRANSITION


def next_transition(state: State, proven: Proven, situation: Situation) -> Transition | None:
    """The next step from `state` towards what is proven, or None when the state says it already."""
    if state.is_terminal:
        return _after_the_end(state, proven, situation)
    return (
        _progress(state, proven)
        or _step_back(state, proven)
        or _completion(state, proven)
        or _ending(state, proven, situation)
    )


def _progress(state: State, proven: Proven) -> Transition | None:
    done = _PROGRESS[state.obligation]
    if done >= _proven_progress(proven):
        return None
    if done == 0:
        return Transition(
            advance(state, IntentPhase.INTENT_PHASE_OPENED), "The inputs are in escrow on the origin chain."
        )
    return Transition(
        advance(state, IntentPhase.INTENT_PHASE_FILLED),
        "Every output is paid; waiting until no reorganisation can undo it.",
    )


def _completion(state: State, proven: Proven) -> Transition | None:
    if not proven.complete:
        return None
    return Transition(
        advance(state, IntentPhase.INTENT_PHASE_CONFIRMED),
        "Every output is paid for good; the solver's payment from escrow follows.",
    )


def _ending(state: State, proven: Proven, situation: Situation) -> Transition | None:
    status, reason = _ending_status(situation)
    # A payment on its way to finality completes the order, refunded or not: wait for it.
    if proven.refunded is Depth.FINAL and proven.filled is Depth.ABSENT:
        return Transition(
            terminate(state, status, phase=IntentPhase.INTENT_PHASE_REFUNDED),
            "The order was not filled in time; the inputs went back to the user.",
            reason,
        )
    if proven.opened is Depth.FINAL and proven.never_filled:
        return Transition(
            terminate(state, status, obligation=Obligation.OBLIGATION_ESCROWED),
            "The fill deadline passed with an output unpaid; the inputs go back to the user once the order expires.",
            reason,
        )
    return _unopened_ending(state, proven, situation)


def _unopened_ending(state: State, proven: Proven, situation: Situation) -> Transition | None:
    """A signature that never left the mesh cannot be used by others, so its end need not wait for finality."""
    status, reason = _ending_status(situation)
    if proven.nonce_gone_finally or (proven.nonce_gone and not situation.signature_out):
        if situation.cancel_requested:
            return Transition(
                terminate(state, status), "Cancelled: the order's nonce is used up, so nobody can open it.", reason
            )
        return Transition(
            terminate(state, IntentStatus.INTENT_STATUS_FAILED),
            "The order's nonce was used for something else, so nobody can open it.",
            ErrorReason.ERROR_REASON_NONCE_USED,
        )
    if proven.unopened and situation.cancel_requested and not situation.signature_out:
        return Transition(
            terminate(state, status), "Cancelled: the order was not opened and no solver was handed it.", reason
        )
    unsent_and_late = proven.unopened and situation.deadline_passed and not situation.signature_out
    if not (proven.never_opened or unsent_and_late):
        return None
    return Transition(
        terminate(state, status), "The fill deadline passed and the order was never opened; no funds moved.", reason
    )


def _ending_status(situation: Situation) -> tuple[IntentStatus.ValueType, ErrorReason.ValueType]:
    if situation.cancel_requested:
        return IntentStatus.INTENT_STATUS_CANCELLED, ErrorReason.ERROR_REASON_CANCELLED_BY_USER
    if situation.exhausted:
        reason = situation.failure or ErrorReason.ERROR_REASON_ATTEMPTS_EXHAUSTED
        return IntentStatus.INTENT_STATUS_FAILED, reason
    return IntentStatus.INTENT_STATUS_EXPIRED, ErrorReason.ERROR_REASON_DEADLINE_PASSED


def _step_back(state: State, proven: Proven) -> Transition | None:
    """A reorganisation took back what had been told as a phase: return to what is still proven, as a new event."""
    still = _proven_progress(proven)
    if _PROGRESS[state.obligation] <= still:
        return None
    if still == 1:
        return Transition(
            retreat(state, IntentPhase.INTENT_PHASE_OPENED),
            "A reorganisation took back a payment; the order is in escrow and waits for it.",
        )
    return Transition(
        retreat(state, IntentPhase.INTENT_PHASE_AWARDED),
        "A reorganisation took back the opening of the order; it can be opened again.",
    )


def _after_the_end(state: State, proven: Proven, situation: Situation) -> Transition | None:
    if state.is_over:
        return None
    if state.status == IntentStatus.INTENT_STATUS_COMPLETED:
        if proven.settled is Depth.FINAL:
            return Transition(advance(state, IntentPhase.INTENT_PHASE_SETTLED), "The solver was paid from escrow.")
        # Less deep than before is no loss: another process's endpoint may be some blocks behind.
        undone = Depth.ABSENT in (proven.opened, proven.filled)
        if undone and not situation.violation_told:
            return Transition(
                state,
                "A reorganisation deeper than the configured maximum undid what had been told as final.",
                ErrorReason.ERROR_REASON_FINALITY_VIOLATED,
                IntentEventType.INTENT_EVENT_TYPE_FINALITY_VIOLATED,
            )
    if proven.refunded is Depth.FINAL:
        return Transition(advance(state, IntentPhase.INTENT_PHASE_REFUNDED), "The inputs went back to the user.")
    return None


def _proven_progress(proven: Proven) -> int:
    if proven.opened < Depth.CONFIRMED:
        return 0
    return 2 if proven.filled >= Depth.CONFIRMED else 1
