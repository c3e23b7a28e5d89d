"""What does slither see in the sources?"""

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

NAME = "static analysis"
TIMEOUT_SECONDS = 300.0
# With these words a source has slither say less. What is accepted stands in one file, with a reason and a date.
_HIDING = re.compile(r"slither-disable|@custom:security")


@dataclass(frozen=True, slots=True)
class StaticAnalysisGate:
    """Every detector of slither over `src/`. Whatever it says must be mended or accepted by name."""

    name: str = NAME

    def run(self, workspace: Workspace) -> GateReport:
        # In a fresh folder: builds of earlier sources lead it to findings in code that is no more.
        with tempfile.TemporaryDirectory(prefix="intentmesh-slither-") as folder:
            copy = workspace.copy(Path(folder) / "copy")
            _remove_tests(copy.contracts / "test")
            hidden = uncover(copy.contracts / "src")
            report = Path(folder) / "report.json"
            completed = copy.run(
                workspace.slither(),
                (".", "--json", str(report), "--filter-paths", "node_modules"),
                timeout_seconds=TIMEOUT_SECONDS,
            )
            try:
                content = json.loads(report.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise ToolFailedError(f"slither made no report:\n{completed.tail}") from error
        if not content["success"]:
            raise ToolFailedError(f"slither failed: {content['error']}")
        found = _distinct(content["results"].get("detectors", []), self.name)
        return GateReport(
            self.name,
            (*hidden, *found),
            f"{len(found)} kinds of findings",
            {"detectors_with_findings": len(found)},
        )


def uncover(sources: Path) -> list[Finding]:
    """Takes out of these files the words that hide findings, and holds them against each."""
    findings = []
    for file in sorted(sources.rglob("*.sol")):
        shown, times = _HIDING.subn("", file.read_text(encoding="utf-8"))
        if times:
            file.write_text(shown, encoding="utf-8")
            fault = f"{times} comments hide findings: accept them in accepted-findings.toml instead"
            findings.append(Finding(NAME, "hidden findings", file.relative_to(sources).as_posix(), fault))
    return findings


def _distinct(detections: list[Mapping[str, Any]], gate: str) -> tuple[Finding, ...]:
    """One finding per detector and place; slither tells some places once per caller."""
    found: dict[tuple[str, str, str], Finding] = {}
    for detection in detections:
        first_line = detection["description"].strip().partition("\n")[0]
        what = f"{detection['impact'].lower()} impact: {first_line}"
        finding = Finding(gate, detection["check"], _place(detection), what)
        found.setdefault(finding.key, finding)
    return tuple(found.values())


def _place(detection: Mapping[str, Any]) -> str:
    """Contract and function, without the lines that move with every edit."""
    if not detection["elements"]:
        return "sources"
    element = detection["elements"][0]
    names = []
    while element:
        if element.get("type") in ("contract", "function", "variable", "event", "struct", "enum"):
            names.append(element["name"])
        element = element.get("type_specific_fields", {}).get("parent")
    return ".".join(reversed(names)) or str(detection["elements"][0]["name"])


def _remove_tests(folder: Path) -> None:
    for source in folder.rglob("*.sol"):
        source.unlink()
