"""How gates judge what their tools say."""

import json
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from intentmesh.contract_pipeline.errors import InvalidMutantError, ToolFailedError
from intentmesh.contract_pipeline.gates.coverage import CoverageGate, read_lcov
from intentmesh.contract_pipeline.gates.forge import TestResult as ForgeResult
from intentmesh.contract_pipeline.gates.formal import FormalGate
from intentmesh.contract_pipeline.gates.invariants import Campaign, InvariantGate
from intentmesh.contract_pipeline.gates.limits import LimitGate, Limits
from intentmesh.contract_pipeline.gates.promises import compiled_functions, forget_compiled_tests, load_promises
from intentmesh.contract_pipeline.gates.static_analysis import uncover
from intentmesh.contract_pipeline.gates.unit_tests import Fuzzing, UnitTestGate
from intentmesh.contract_pipeline.mutation import load_mutants
from intentmesh.contract_pipeline.reports import GateReport, Verdict
from intentmesh.contract_pipeline.workspace import Completed, Workspace
from intentmesh.embedded.programs import REPOSITORY


def lcov(path: str, lines: Mapping[int, int], branches: Mapping[int, str]) -> list[str]:
    return [
        f"SF:{path}",
        *(f"DA:{line},{hits}" for line, hits in lines.items()),
        *(f"BRDA:{line},0,0,{taken}" for line, taken in branches.items()),
        "end_of_record",
    ]


def judged_coverage(*records: str, sources: Collection[str] = ("A.sol",), least: float = 98.0) -> GateReport:
    return CoverageGate(least_percent=least).judge(read_lcov(records), sources)


def test_coverage__all_reached__passes_with_figures() -> None:
    report = judged_coverage(*lcov("src/A.sol", {1: 3, 2: 1}, {1: "2"}))
    assert report.verdict is Verdict.PASSED
    assert report.figures == {"lines_percent": 100.0, "branches_percent": 100.0, "branches": 1}


def test_coverage__one_line_in_fifty_and_a_bit__fails_and_names_the_line() -> None:
    lines = dict.fromkeys(range(1, 50), 1) | {50: 0}
    report = judged_coverage(*lcov("src/A.sol", lines, {1: "1"}), least=98.1)
    (finding,) = report.findings
    assert (finding.check, finding.where) == ("line coverage", "src/A.sol")
    assert finding.what.endswith("50")


def test_coverage__exactly_the_limit__passes() -> None:
    lines = dict.fromkeys(range(1, 50), 1) | {50: 0}
    assert judged_coverage(*lcov("src/A.sol", lines, {1: "1"})).verdict is Verdict.PASSED


@pytest.mark.parametrize("taken", ["-", "0"])
def test_coverage__branch_never_taken__fails(taken: str) -> None:
    report = judged_coverage(*lcov("src/A.sol", {7: 1}, {7: taken}))
    assert [finding.check for finding in report.findings] == ["branch coverage"]


def test_coverage__gap_in_a_test_file__does_not_count() -> None:
    report = judged_coverage(*lcov("src/A.sol", {1: 1}, {1: "1"}), *lcov("test/B.sol", {1: 0}, {}))
    assert report.verdict is Verdict.PASSED


def test_coverage__source_that_the_report_leaves_out__is_a_finding() -> None:
    report = judged_coverage(*lcov("src/A.sol", {1: 1}, {1: "1"}), sources=["A.sol", "libraries/B.sol"])
    assert [(finding.check, finding.where) for finding in report.findings] == [("no coverage", "src/libraries/B.sol")]


@pytest.mark.parametrize(
    "records",
    [
        lcov("test/B.sol", {1: 1}, {1: "1"}),
        # As a forge that writes no branches would.
        lcov("src/A.sol", {1: 1}, {}),
        lcov("src/A.sol", {}, {1: "1"}),
    ],
)
def test_coverage__no_source_line_or_branch_at_all__is_a_failure_of_the_tool(records: list[str]) -> None:
    with pytest.raises(ToolFailedError):
        judged_coverage(*records)


def fuzzed(runs: int, *, passed: bool = True) -> ForgeResult:
    return ForgeResult("ATest", "test_a", passed, "broken", "Fuzz", {"runs": runs}, {})


UNIT = ForgeResult("ATest", "test_b", True, "", "Unit", {"gas": 1}, {})
GATE = UnitTestGate(Fuzzing("audit", runs=2048))


def test_unit_tests__every_fuzz_test_as_long_as_promised__pass() -> None:
    assert GATE.judge([UNIT, fuzzed(2048)]).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("results", "check"),
    [
        ([UNIT, fuzzed(2048), fuzzed(2047)], "length of fuzz test"),
        # A counterexample ends it early, which is no second finding.
        ([UNIT, fuzzed(3, passed=False)], "test_a"),
        ([UNIT], "length of fuzz test"),
    ],
)
def test_unit_tests__short_broken_or_not_fuzzed__fail(results: list[ForgeResult], check: str) -> None:
    assert [finding.check for finding in GATE.judge(results).findings] == [check]


def proof(name: str, exitcode: int = 0, loops: int = 0) -> Mapping[str, Any]:
    return {"name": f"check_{name}(uint256)", "exitcode": exitcode, "num_bounded_loops": loops, "models": []}


GONE_WELL = Completed(0, "", "")
GONE_BADLY = Completed(1, "Symbolic test result: 0 passed; 2 failed", "ERROR setUp() failed: HalmosException")


def judged(
    suites: Mapping[str, list[Mapping[str, Any]]],
    expected: Collection[str] = ("AProofs.check_it_holds",),
    promised: Collection[str] = (),
    ended: Completed = GONE_WELL,
) -> GateReport:
    return FormalGate().judge(suites, ended, expected, promised)


def test_formal__all_proven__names_them() -> None:
    report = judged({"test/A.t.sol:AProofs": [proof("it_holds")]}, promised=["it_holds"])
    assert report.verdict is Verdict.PASSED
    assert report.figures == {"proven": ["AProofs.it_holds"]}


@pytest.mark.parametrize(
    ("exitcode", "says", "conclusive"),
    [(1, "counterexample", True), (2, "too long", False), (3, "stuck", False), (4, "proves nothing", True)],
)
def test_formal__not_proven__says_why(exitcode: int, says: str, conclusive: bool) -> None:
    report = judged({"test/A.t.sol:AProofs": [proof("it_holds", exitcode)]}, ended=GONE_BADLY)
    assert says in report.findings[0].what
    assert report.findings[0].conclusive is conclusive


def test_formal__loop_cut_short__is_no_proof() -> None:
    report = judged({"test/A.t.sol:AProofs": [proof("it_holds", loops=1)]})
    assert report.verdict is Verdict.FAILED


def test_formal__compiled_proof_that_did_not_run__is_a_finding() -> None:
    suites = {"test/A.t.sol:AProofs": [proof("it_holds")]}
    report = judged(suites, ["AProofs.check_it_holds", "AProofs.check_more_holds", "Others.check_all_holds"])
    assert [(finding.check, finding.where) for finding in report.findings] == [
        ("missing proof", "AProofs.more_holds"),
        ("missing proof", "Others.all_holds"),
    ]


def test_formal__promise_without_a_proof__is_a_finding() -> None:
    report = judged({"test/A.t.sol:AProofs": [proof("it_holds")]}, promised=["it_holds", "it_never_ends"])
    assert [(finding.check, finding.where) for finding in report.findings] == [("missing proof", "it_never_ends")]


def test_formal__suite_whose_set_up_failed__is_a_failure_of_the_tool() -> None:
    # As halmos 0.3.3 tells it: the suite is there and empty.
    suites = {"test/A.t.sol:AProofs": [proof("it_holds")], "test/B.t.sol:BProofs": []}
    with pytest.raises(ToolFailedError, match=r"(?s)BProofs.*setUp\(\) failed"):
        judged(suites, ended=GONE_BADLY)


def test_formal__bad_end_without_a_finding__is_a_failure_of_the_tool() -> None:
    with pytest.raises(ToolFailedError, match="ended with 1"):
        judged({"test/A.t.sol:AProofs": [proof("it_holds")]}, ended=GONE_BADLY)


def artifact(folder: Path, contract: str, *functions: str, code: str = "0x6001") -> None:
    file = folder / f"{contract}.t.sol" / f"{contract}.json"
    file.parent.mkdir(parents=True)
    abi = [{"type": "function", "name": name} for name in functions]
    file.write_text(json.dumps({"abi": [*abi, {"type": "constructor"}], "bytecode": {"object": code}}))


def test_compiled__functions_of_a_prefix__without_those_of_abstract_contracts(tmp_path: Path) -> None:
    artifact(tmp_path, "AProofs", "check_it_holds", "setUp")
    artifact(tmp_path, "BProofs", "check_more_holds")
    artifact(tmp_path, "Base", "check_all_holds", code="0x")
    assert compiled_functions(tmp_path, "check_") == {"AProofs.check_it_holds", "BProofs.check_more_holds"}


def test_compiled__artifacts_of_tests_that_are_gone__are_forgotten_before_the_next_build(tmp_path: Path) -> None:
    artifact(tmp_path, "AProofs", "check_it_holds")
    kept = tmp_path / "OutputSettler.sol" / "OutputSettler.json"
    kept.parent.mkdir()
    kept.write_text("{}")
    forget_compiled_tests(tmp_path)
    assert compiled_functions(tmp_path, "check_") == set()
    assert kept.exists()


def test_promises__of_the_project__are_what_its_readme_says() -> None:
    promises = load_promises(Workspace.of(REPOSITORY))
    section = (
        (REPOSITORY / "contracts" / "README.md").read_text().partition("## What is proven")[2].partition("\n## ")[0]
    )
    table = [line for line in section.splitlines() if line.startswith("|")]
    named = set(re.findall(r"`(\w+)`", "".join(table)))
    assert len(named) >= 6
    assert named <= set(promises.proofs)


def campaign(calls: int, *, passed: bool = True) -> ForgeResult:
    return ForgeResult("Inv", "invariant_x", passed, "broken", "Invariant", {"runs": 2, "calls": calls}, {})


def test_invariants__as_long_as_promised__pass() -> None:
    gate = InvariantGate(Campaign("audit", runs=2, depth=5))
    assert gate.judge([campaign(10)], ["Inv.invariant_x"], ["x"]).verdict is Verdict.PASSED


@pytest.mark.parametrize("results", [[campaign(9)], [campaign(10, passed=False)], []])
def test_invariants__short_broken_or_none__fail(results: list[ForgeResult]) -> None:
    gate = InvariantGate(Campaign("audit", runs=2, depth=5))
    assert gate.judge(results, ["Inv.invariant_x"], []).verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("compiled", "promised", "where"),
    [
        (["Inv.invariant_x", "Inv.invariant_y"], [], "Inv.y"),
        (["Inv.invariant_x", "Other.invariant_x"], [], "Other.x"),
        (["Inv.invariant_x"], ["x", "y"], "y"),
    ],
)
def test_invariants__one_did_not_run__is_a_finding(compiled: list[str], promised: list[str], where: str) -> None:
    gate = InvariantGate(Campaign("audit", runs=2, depth=5))
    report = gate.judge([campaign(10)], compiled, promised)
    assert [(finding.check, finding.where) for finding in report.findings] == [("missing invariant", where)]


def test_static_analysis__comment_that_hides_findings__is_taken_out_and_a_finding(tmp_path: Path) -> None:
    source = "contract A {\n    // slither-disable-next-line unused-return\n    function f() external { g(); }\n}\n"
    file = tmp_path / "libraries" / "A.sol"
    file.parent.mkdir()
    file.write_text(source)
    (tmp_path / "B.sol").write_text("contract B {}\n")
    (finding,) = uncover(tmp_path)
    assert (finding.check, finding.where) == ("hidden findings", "libraries/A.sol")
    assert "slither-disable" not in file.read_text()
    # The line itself stays, so that lines in messages are those of the source.
    assert file.read_text().count("\n") == source.count("\n")


def test_sources_of_the_project__hide_nothing_from_slither(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "contracts" / "src", tmp_path / "src")
    assert uncover(tmp_path / "src") == []


LIMITS = Limits(runtime_bytes={"A": 100}, creation_bytes=200, gas={"fill": 10})


def test_limits__at_the_limit__pass() -> None:
    assert LimitGate().judge(LIMITS, {"A": (100, 200)}, {"fill": 10}).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("sizes", "gas", "check"),
    [
        ((101, 200), {"fill": 10}, "runtime bytes"),
        ((100, 201), {"fill": 10}, "creation bytes"),
        ((100, 200), {"fill": 11}, "gas"),
        ((100, 200), {}, "gas"),
        ((100, 200), {"fill": 10, "new": 1}, "gas"),
    ],
)
def test_limits__over_or_unknown__fail(sizes: tuple[int, int], gas: Mapping[str, int], check: str) -> None:
    report = LimitGate().judge(LIMITS, {"A": sizes}, gas)
    assert [finding.check for finding in report.findings] == [check]


def test_mutants__of_the_project__are_at_least_twelve_and_fit_the_sources() -> None:
    mutants = load_mutants(REPOSITORY)
    assert len(mutants) >= 12
    for mutant in mutants:
        source = (Workspace.of(REPOSITORY).contracts / mutant.file).read_text()
        assert source.count(mutant.before) == 1, mutant.name


def test_mutants__two_of_one_name__are_refused(tmp_path: Path) -> None:
    file = tmp_path / "contracts" / "test" / "mutants.toml"
    file.parent.mkdir(parents=True)
    entry = '[[mutant]]\nname = "a"\nbreaks = "b"\nfile = "src/A.sol"\nbefore = "x"\nafter = "y"\n'
    file.write_text(entry * 2)
    with pytest.raises(InvalidMutantError, match="one name"):
        load_mutants(tmp_path)
