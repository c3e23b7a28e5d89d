"""What gates and stages say: findings, figures, and whether one may go on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

JsonValue = None | bool | int | float | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]


class Verdict(StrEnum):
    """Whether something may go on."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that speaks against the contracts. (gate, check, where) is what an acceptance names."""

    gate: str
    # What kind of thing: a detector, the name of a test, "branch coverage".
    check: str
    # Contract, function or file; stable when lines move.
    where: str
    what: str
    # False when no fault was seen because none could be looked for, as when time ran out. It fails its gate as well.
    conclusive: bool = True

    @property
    def key(self) -> tuple[str, str, str]:
        return self.gate, self.check, self.where

    def sentence(self) -> str:
        return f"{self.check} at {self.where}: {self.what}"

    def to_json(self) -> dict[str, JsonValue]:
        return {"gate": self.gate, "check": self.check, "where": self.where, "what": self.what}


@dataclass(frozen=True, slots=True)
class GateReport:
    """What one gate found. `figures` are what a person or the next run wants to compare."""

    gate: str
    findings: tuple[Finding, ...]
    # One line for the table.
    summary: str
    figures: Mapping[str, JsonValue] = field(default_factory=dict)
    # Findings that a person answered for, see `acceptances`.
    accepted: tuple[Finding, ...] = ()
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict:
        return Verdict.FAILED if self.findings else Verdict.PASSED

    def to_json(self) -> dict[str, JsonValue]:
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "seconds": round(self.seconds, 1),
            "summary": self.summary,
            "figures": dict(self.figures),
            "findings": [finding.to_json() for finding in self.findings],
            "accepted": [finding.to_json() for finding in self.accepted],
        }


def verdict_of(reports: Sequence[GateReport]) -> Verdict:
    """Passed when every gate is, and there is at least one."""
    passed = bool(reports) and all(report.verdict is Verdict.PASSED for report in reports)
    return Verdict.PASSED if passed else Verdict.FAILED
