"""What an audit leaves behind."""

import json
from pathlib import Path

from intentmesh.contract_pipeline.audit import write_reports
from intentmesh.contract_pipeline.reports import Finding, GateReport

COMPILED = GateReport("compile", (), "compiled")
TESTED = GateReport("tests", (Finding("tests", "test_a", "A", "broken"),), "tested")
GATES = ("compile", "tests")


def test_report__of_every_gate__holds_them_and_the_verdict(tmp_path: Path) -> None:
    write_reports(tmp_path / "audit", [COMPILED, TESTED], GATES)
    content = json.loads((tmp_path / "audit" / "report.json").read_text())
    assert content["verdict"] == "failed"
    assert [gate["gate"] for gate in content["gates"]] == ["compile", "tests"]
    assert content["not_asked"] == []


def test_report__of_some_gates__says_so_and_leaves_the_whole_one_alone(tmp_path: Path) -> None:
    write_reports(tmp_path, [COMPILED, TESTED], GATES)
    whole = (tmp_path / "report.json").read_bytes()
    write_reports(tmp_path, [COMPILED], GATES)
    assert (tmp_path / "report.json").read_bytes() == whole
    content = json.loads((tmp_path / "partial-report.json").read_text())
    assert (content["verdict"], content["not_asked"]) == ("passed", ["tests"])
