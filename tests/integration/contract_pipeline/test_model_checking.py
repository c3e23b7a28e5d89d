"""The compiler's model checker on real sources: what it proves, what it notices, and that it cannot hang the gate."""

import time
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.gates.model_checking import FOLDER, ModelCheckingGate
from intentmesh.contract_pipeline.reports import Finding, Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY

# Solvers on a machine with other work.
pytestmark = pytest.mark.timeout(600)
ONE_MODEL = """
[[model]]
contract = "SensiblePrice"
file = "Pricing.sol"
of = ["libraries/OutputContext.sol"]
targets = ["overflow", "underflow"]
least_proven = 3
"""
LEFT_OUT = '\n[[left_out]]\nfile = "{}"\nreason = "This test is about the other sources."\nexpires = 9999-12-31\n'


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A copy that asks one question only."""
    copy = Workspace.of(REPOSITORY).copy(tmp_path / "copy")
    sources = copy.contracts / "src"
    others = [file.relative_to(sources) for file in sources.rglob("*.sol") if file.name != "OutputContext.sol"]
    text = "".join(LEFT_OUT.format(one) for one in others if one.parts[0] not in ("types", "interfaces"))
    (copy.contracts / FOLDER / "models.toml").write_text(ONE_MODEL + text)
    return copy


def change(workspace: Workspace, before: str, after: str) -> None:
    file = workspace.contracts / "src" / "libraries" / "OutputContext.sol"
    text = file.read_text()
    assert text.count(before) == 1
    file.write_text(text.replace(before, after))


def checks(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.check, finding.where) for finding in findings}


def test_gate__sources_as_they_are__proves_the_price(workspace: Workspace) -> None:
    report = ModelCheckingGate().run(workspace)
    assert report.verdict is Verdict.PASSED, report.findings
    assert report.figures["proven"] == {"SensiblePrice": 3}


def test_gate__a_bound_is_gone__names_target_and_function(workspace: Workspace) -> None:
    change(workspace, "return from < stop ?", "return from < stop + 1 || from > stop ?")
    report = ModelCheckingGate().run(workspace)
    assert ("underflow", "SensiblePrice in OutputContext.priceAt") in checks(report.findings)


def test_gate__checker_does_not_end__is_killed_and_a_finding(workspace: Workspace) -> None:
    began = time.monotonic()
    report = ModelCheckingGate(timeout_seconds=0.2).run(workspace)
    assert checks(report.findings) == {("time", "SensiblePrice")}
    # Flattening has its own time; the checker alone takes many times as long.
    assert time.monotonic() - began < 60
