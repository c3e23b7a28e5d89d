"""Accepted findings: by name, with a reason, until a date."""

from datetime import date
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.acceptances import Acceptances, load_acceptances
from intentmesh.contract_pipeline.audit import audit
from intentmesh.contract_pipeline.errors import InvalidAcceptancesError
from intentmesh.contract_pipeline.reports import Finding, GateReport, Verdict, verdict_of
from intentmesh.contract_pipeline.workspace import Workspace

TODAY = date(2026, 11, 23)
ENTRY = """
[[accepted]]
gate = "static analysis"
check = "timestamp"
where = "Escrow.refund"
reason = "Deadlines are what this contract is about."
expires = {expires}
"""


class FoundGate:
    """Finds what it was given."""

    name = "static analysis"

    def __init__(self, *findings: Finding) -> None:
        self._findings = findings

    def run(self, workspace: Workspace) -> GateReport:  # noqa: ARG002 (the interface of a gate)
        return GateReport(self.name, self._findings, "looked")


FINDING = Finding("static analysis", "timestamp", "Escrow.refund", "uses timestamp for comparisons")


def acceptances(tmp_path: Path, text: str) -> Acceptances:
    file = tmp_path / "accepted.toml"
    file.write_text(text)
    return load_acceptances(file, TODAY)


def verdict(found: Acceptances, *findings: Finding) -> tuple[Verdict, list[GateReport]]:
    reports = list(audit(Workspace.of(Path()), [FoundGate(*findings)], found))
    return verdict_of(reports), reports


def test_acceptance__until_its_last_day__puts_the_finding_aside(tmp_path: Path) -> None:
    result, reports = verdict(acceptances(tmp_path, ENTRY.format(expires="2026-11-23")), FINDING)
    assert result is Verdict.PASSED
    assert reports[0].accepted == (FINDING,)


def test_acceptance__the_day_after__counts_no_longer_and_says_so(tmp_path: Path) -> None:
    result, reports = verdict(acceptances(tmp_path, ENTRY.format(expires="2026-11-22")), FINDING)
    assert result is Verdict.FAILED
    assert "expired on 2026-11-22" in reports[0].findings[0].what


@pytest.mark.parametrize("other", [("timestamp", "Escrow.open"), ("reentrancy", "Escrow.refund")])
def test_acceptance__of_another_check_or_place__does_not_help(tmp_path: Path, other: tuple[str, str]) -> None:
    finding = Finding("static analysis", *other, "something")
    result, _ = verdict(acceptances(tmp_path, ENTRY.format(expires="2027-01-01")), finding, FINDING)
    assert result is Verdict.FAILED


def test_acceptance__that_nothing_needs__fails_the_audit(tmp_path: Path) -> None:
    result, reports = verdict(acceptances(tmp_path, ENTRY.format(expires="2027-01-01")))
    assert result is Verdict.FAILED
    assert reports[-1].findings[0].check == "unused acceptance"


def test_no_file__accepts_nothing(tmp_path: Path) -> None:
    result, _ = verdict(load_acceptances(tmp_path / "none.toml", TODAY), FINDING)
    assert result is Verdict.FAILED


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[[accepted]]\ngate = 'x'", "check"),
        (ENTRY.format(expires="2027-01-01").replace("Deadlines are what this contract is about.", "ok"), "reason"),
        (ENTRY.format(expires="'never'"), "expires"),
        (ENTRY.format(expires="2027-01-01") * 2, "accepted twice"),
        ("not toml", "accepted.toml"),
    ],
)
def test_file__with_a_fault__names_it(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(InvalidAcceptancesError, match=fault):
        acceptances(tmp_path, text)
