"""When to call the holder of an award again, and when to give the order to another. Pure.

A cut stream is not a failure: the solver goes on without us, so we attach again. The award is over only when the
solver could not be reached at all, or says itself that it gave up (a job that ended stays ended under its award), or
lets its promised time pass.
"""

from dataclasses import dataclass
from enum import Enum, auto

from intentmesh.v1.error_pb2 import ErrorReason


class StreamEnd(Enum):
    """How one call of Execute came to its end."""

    # The connection broke, or the stream closed, after the solver had answered.
    CUT = auto()
    # The call failed before the solver answered; it may or may not have heard of the order.
    UNREACHED = auto()
    # The solver, or the transport on its behalf, refused the call; the same call will be refused again.
    REFUSED = auto()
    # The solver says that it gives the order back.
    RELEASED = auto()
    # The solver says that it cannot go on.
    FAILED = auto()
    # The solver says that it was paid; what counts is the chain.
    SETTLED = auto()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Times in seconds."""

    max_attempts: int = 5
    base_seconds: float = 1.0
    cap_seconds: float = 30.0
    # Past the promised fill time, before the order goes to another solver.
    grace_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class CallAgain:
    """Call the same solver again. `attempts` is the new count of attempts within the award."""

    attempts: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The award is over."""

    reason: ErrorReason.ValueType
    released: bool = False


Verdict = CallAgain | GiveUp


def judge(
    end: StreamEnd, reason: ErrorReason.ValueType, attempts: int, delivered: bool, policy: RetryPolicy
) -> Verdict:
    """What follows from the end of one Execute call. `delivered`: the solver has ever answered under this award."""
    failure = reason or ErrorReason.ERROR_REASON_SOLVER_FAILED
    match end:
        case StreamEnd.RELEASED:
            return GiveUp(failure, released=True)
        case StreamEnd.REFUSED | StreamEnd.FAILED:
            return GiveUp(failure)
        case StreamEnd.CUT | StreamEnd.SETTLED:
            return CallAgain(attempts)
        case StreamEnd.UNREACHED if delivered:
            # It works on, for all we know: until its promised time we keep trying to attach.
            return CallAgain(min(attempts + 1, policy.max_attempts))
        case StreamEnd.UNREACHED:
            if attempts + 1 >= policy.max_attempts:
                return GiveUp(failure)
            return CallAgain(attempts + 1)


def overdue(promised_time: float, now: float, policy: RetryPolicy) -> bool:
    """Whether the solver has let its promised fill time pass, by more than the grace. Unix seconds."""
    return now > promised_time + policy.grace_seconds
