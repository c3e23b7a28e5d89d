"""All gates over the sources: what `make audit` runs and what a deployment needs behind it."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from intentmesh.contract_pipeline.acceptances import Acceptances, unused_report
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.gates.compilation import CompilationGate
from intentmesh.contract_pipeline.gates.coverage import CoverageGate
from intentmesh.contract_pipeline.gates.formal import FormalGate
from intentmesh.contract_pipeline.gates.invariants import InvariantGate
from intentmesh.contract_pipeline.gates.limits import LimitGate
from intentmesh.contract_pipeline.gates.model_checking import ModelCheckingGate
from intentmesh.contract_pipeline.gates.static_analysis import StaticAnalysisGate
from intentmesh.contract_pipeline.gates.unit_tests import UnitTestGate
from intentmesh.contract_pipeline.reports import GateReport, verdict_of
from intentmesh.contract_pipeline.workspace import Workspace


def all_gates() -> tuple[Gate, ...]:
    """Cheap ones first, in the order of the pipeline's stages."""
    return (
        CompilationGate(),
        UnitTestGate(),
        CoverageGate(),
        StaticAnalysisGate(),
        ModelCheckingGate(),
        FormalGate(),
        InvariantGate(),
        LimitGate(),
    )


def audit(
    workspace: Workspace,
    gates: Sequence[Gate],
    acceptances: Acceptances,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[GateReport]:
    """Asks every gate, also after one has failed: a person wants all findings at once. Yields as they answer.

    Raises ToolMissingError, ToolFailedError.
    """
    reports = []
    for gate in gates:
        reports.append(run_gate(gate, workspace, acceptances, clock))
        yield reports[-1]
    unused = acceptances.unused(reports)
    if unused:
        yield unused_report(unused)


def write_reports(folder: Path, reports: Sequence[GateReport], gates: Sequence[str]) -> None:
    """`report.json`, if all of `gates` answered; else `partial-report.json`, which must not pass for a whole audit."""
    answered = {report.gate for report in reports}
    not_asked = [gate for gate in gates if gate not in answered]
    content = {
        "verdict": verdict_of(reports).value,
        "not_asked": not_asked,
        "gates": [report.to_json() for report in reports],
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / ("partial-report.json" if not_asked else "report.json")
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def run_gate(
    gate: Gate, workspace: Workspace, acceptances: Acceptances, clock: Callable[[], float] = time.monotonic
) -> GateReport:
    """One gate, timed, its answered findings put aside."""
    began = clock()
    report = acceptances.apply(gate.run(workspace))
    return replace(report, seconds=clock() - began)
