"""Findings that a person answered for: by name, with a reason, until a date.

    [[accepted]]
    gate = "static analysis"
    check = "timestamp"
    where = "OutputSettler._requireOpen"
    reason = "Deadlines are what this contract is about."
    expires = 2027-06-30

After its date an acceptance counts no longer, and one that no finding needs is a finding itself: a file that nobody
prunes ends up accepting what nobody has seen.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from intentmesh.contract_pipeline.errors import InvalidAcceptancesError
from intentmesh.contract_pipeline.reports import Finding, GateReport

GATE = "acceptances"

_Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class Acceptance(BaseModel):
    """One answered finding; `expires` is the last day on which it counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: _Text
    check: _Text
    where: _Text
    reason: Annotated[str, StringConstraints(min_length=20, strip_whitespace=True)]
    expires: date

    @property
    def key(self) -> tuple[str, str, str]:
        return self.gate, self.check, self.where


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    accepted: tuple[Acceptance, ...] = ()


class Acceptances:
    """All acceptances of the project, as of a day."""

    def __init__(self, entries: Sequence[Acceptance], today: date) -> None:
        self._by_key = {entry.key: entry for entry in entries}
        self._today = today

    def apply(self, report: GateReport) -> GateReport:
        """The report with its answered findings put aside; those whose answer has expired say so."""
        open_findings: list[Finding] = []
        accepted: list[Finding] = []
        for finding in report.findings:
            entry = self._by_key.get(finding.key)
            if entry is None:
                open_findings.append(finding)
            elif entry.expires < self._today:
                note = f"{finding.what} (its acceptance expired on {entry.expires.isoformat()})"
                open_findings.append(replace(finding, what=note))
            else:
                accepted.append(finding)
        return replace(report, findings=tuple(open_findings), accepted=tuple(accepted))

    def unused(self, reports: Sequence[GateReport]) -> tuple[Finding, ...]:
        """Acceptances of gates that ran and found no such thing."""
        ran = {report.gate for report in reports}
        found = {finding.key for report in reports for finding in (*report.findings, *report.accepted)}
        return tuple(
            Finding(GATE, "unused acceptance", entry.where, f"{entry.gate} no longer finds {entry.check} there")
            for entry in self._by_key.values()
            if entry.gate in ran and entry.key not in found
        )


def unused_report(unused: Sequence[Finding]) -> GateReport:
    """As a stage of its own, after the gates."""
    return GateReport(GATE, tuple(unused), f"{len(unused)} accept nothing any more")


def load_acceptances(path: Path, today: date) -> Acceptances:
    """Reads the file; none is as an empty one. Raises InvalidAcceptancesError."""
    if not path.exists():
        return Acceptances((), today)
    try:
        entries = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).accepted
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidAcceptancesError(f"{path}: {error}") from error
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise InvalidAcceptancesError(f"{path}: {place}: {fault['msg']}") from error
    keys = [entry.key for entry in entries]
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise InvalidAcceptancesError(f"{path}: {' / '.join(twice)} is accepted twice")
    return Acceptances(entries, today)
