"""How gates judge what their tools say."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.errors import InvalidMutantError, ToolFailedError
from intentmesh.contract_pipeline.gates.coverage import CoverageGate, read_lcov
from intentmesh.contract_pipeline.gates.forge import TestResult as ForgeResult
from intentmesh.contract_pipeline.gates.formal import FormalGate
from intentmesh.contract_pipeline.gates.invariants import Campaign, InvariantGate
from intentmesh.contract_pipeline.gates.limits import LimitGate, Limits
from intentmesh.contract_pipeline.mutation import load_mutants
from intentmesh.contract_pipeline.reports import Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY


def lcov(path: str, lines: Mapping[int, int], branches: Mapping[int, str]) -> list[str]:
    return [
        f"SF:{path}",
        *(f"DA:{line},{hits}" for line, hits in lines.items()),
        *(f"BRDA:{line},0,0,{taken}" for line, taken in branches.items()),
        "end_of_record",
    ]


def test_coverage__all_reached__passes_with_figures() -> None:
    report = CoverageGate().judge(read_lcov(lcov("src/A.sol", {1: 3, 2: 1}, {1: "2"})))
    assert report.verdict is Verdict.PASSED
    assert report.figures == {"lines_percent": 100.0, "branches_percent": 100.0}


def test_coverage__one_line_in_fifty_and_a_bit__fails_and_names_the_line() -> None:
    lines = dict.fromkeys(range(1, 50), 1) | {50: 0}
    report = CoverageGate(least_percent=98.1).judge(read_lcov(lcov("src/A.sol", lines, {})))
    (finding,) = report.findings
    assert (finding.check, finding.where) == ("line coverage", "src/A.sol")
    assert finding.what.endswith("50")


def test_coverage__exactly_the_limit__passes() -> None:
    lines = dict.fromkeys(range(1, 50), 1) | {50: 0}
    assert CoverageGate().judge(read_lcov(lcov("src/A.sol", lines, {}))).verdict is Verdict.PASSED


@pytest.mark.parametrize("taken", ["-", "0"])
def test_coverage__branch_never_taken__fails(taken: str) -> None:
    report = CoverageGate().judge(read_lcov(lcov("src/A.sol", {7: 1}, {7: taken})))
    assert [finding.check for finding in report.findings] == ["branch coverage"]


def test_coverage__gap_in_a_test_file__does_not_count() -> None:
    files = read_lcov([*lcov("src/A.sol", {1: 1}, {}), *lcov("test/B.sol", {1: 0}, {})])
    assert CoverageGate().judge(files).verdict is Verdict.PASSED


def test_coverage__no_source_at_all__is_a_failure_of_the_tool() -> None:
    with pytest.raises(ToolFailedError):
        CoverageGate().judge(read_lcov(lcov("test/B.sol", {1: 1}, {})))


def proof(name: str, exitcode: int = 0, loops: int = 0) -> Mapping[str, object]:
    return {"name": f"check_{name}(uint256)", "exitcode": exitcode, "num_bounded_loops": loops, "models": []}


def test_formal__all_proven__names_them() -> None:
    report = FormalGate(least_proofs=1).judge({"test/A.t.sol:AProofs": [proof("it_holds")]})
    assert report.verdict is Verdict.PASSED
    assert report.figures == {"proven": ["AProofs.it_holds"]}


@pytest.mark.parametrize(("exitcode", "says"), [(1, "counterexample"), (2, "too long"), (4, "proves nothing")])
def test_formal__not_proven__says_why(exitcode: int, says: str) -> None:
    report = FormalGate(least_proofs=1).judge({"test/A.t.sol:AProofs": [proof("it_holds", exitcode)]})
    assert says in report.findings[0].what


def test_formal__loop_cut_short__is_no_proof() -> None:
    report = FormalGate(least_proofs=1).judge({"test/A.t.sol:AProofs": [proof("it_holds", loops=1)]})
    assert report.verdict is Verdict.FAILED


def test_formal__fewer_proofs_than_promised__fails() -> None:
    report = FormalGate(least_proofs=2).judge({"test/A.t.sol:AProofs": [proof("it_holds")]})
    assert report.findings[0].check == "number of proofs"


def campaign(calls: int, *, passed: bool = True) -> ForgeResult:
    return ForgeResult("Inv", "invariant_x", passed, "broken", "Invariant", {"runs": 2, "calls": calls}, {})


def test_invariants__as_long_as_promised__pass() -> None:
    gate = InvariantGate(Campaign("audit", runs=2, depth=5))
    assert gate.judge([campaign(10)]).verdict is Verdict.PASSED


@pytest.mark.parametrize("results", [[campaign(9)], [campaign(10, passed=False)], []])
def test_invariants__short_broken_or_none__fail(results: list[ForgeResult]) -> None:
    gate = InvariantGate(Campaign("audit", runs=2, depth=5))
    assert gate.judge(results).verdict is Verdict.FAILED


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
