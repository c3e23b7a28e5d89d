"""What the executor remembers of its work on one intent between claims: the `state` document of its row.

Everything in it is bookkeeping that can be rebuilt or repeated harmlessly; what an intent *is* stands in the intent's
own columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_registry_service_pb2 import OutcomeCause, OutcomeKind


@dataclass(frozen=True, slots=True)
class PendingOutcome:
    """An outcome the registry has not confirmed yet. Reporting twice is harmless."""

    award_number: int
    solver_id: str
    kind: OutcomeKind.ValueType
    cause: OutcomeCause.ValueType
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """See the module. Numbers of awards and rounds count from 1; 0 is "none yet"."""

    rounds: int = 0
    # Attempts within the newest award.
    attempts: int = 0
    # Auctions in a row that nobody won.
    fruitless_rounds: int = 0
    # The highest award that is over, be it delivered or given up.
    award_over: int = 0
    # The highest award under which the solver answered.
    award_delivered: int = 0
    # Solvers that gave up an award of this intent.
    excluded: tuple[str, ...] = ()
    cancel_requested: bool = False
    exhausted: bool = False
    failure: ErrorReason.ValueType = ErrorReason.ERROR_REASON_UNSPECIFIED
    violation_told: bool = False
    # An endpoint failed while the present award stood.
    chain_trouble: bool = False
    # Indices of outputs whose late record was told.
    late_told: tuple[int, ...] = ()
    outcomes: tuple[PendingOutcome, ...] = ()

    def to_document(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "rounds": self.rounds,
            "attempts": self.attempts,
            "fruitless_rounds": self.fruitless_rounds,
            "award_over": self.award_over,
            "award_delivered": self.award_delivered,
            "excluded": list(self.excluded),
            "cancel_requested": self.cancel_requested,
            "exhausted": self.exhausted,
            "failure": self.failure,
            "violation_told": self.violation_told,
            "chain_trouble": self.chain_trouble,
            "late_told": list(self.late_told),
            "outcomes": [[o.award_number, o.solver_id, o.kind, o.cause, o.message] for o in self.outcomes],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Inverse of `to_document`; what is absent has its default, so older documents stay readable."""
        known = {key: value for key, value in document.items() if key in cls.__dataclass_fields__}
        known["excluded"] = tuple(document.get("excluded", ()))
        known["late_told"] = tuple(document.get("late_told", ()))
        known["outcomes"] = tuple(PendingOutcome(*values) for values in document.get("outcomes", ()))
        return cls(**known)
