"""Do the tests reach the lines and branches of the sources?"""

import tempfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.gates.forge import CAMPAIGN, GAS, PROOFS
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 600.0
LEAST_PERCENT = 98.0


@dataclass(frozen=True, slots=True)
class FileCoverage:
    """What the tests reached of one source file."""

    path: str
    lines: int
    branches: int
    missed_lines: tuple[int, ...]
    # Lines on which a branch was never taken, once for each such branch.
    missed_branches: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CoverageGate:
    """Lines and branches of everything under `src/`, together. Too little is one finding per file with a gap, and a
    file that was not looked at is one as well."""

    least_percent: float = LEAST_PERCENT
    name: str = "coverage"

    def run(self, workspace: Workspace) -> GateReport:
        with tempfile.TemporaryDirectory(prefix="intentmesh-coverage-") as folder:
            report = Path(folder) / "lcov.info"
            completed = workspace.run(
                workspace.forge(),
                (
                    *("coverage", "--report", "lcov", "--report-file", str(report)),
                    *("--no-match-contract", f"{CAMPAIGN}|{GAS}|{PROOFS}"),
                ),
                timeout_seconds=TIMEOUT_SECONDS,
            )
            if completed.status != 0 or not report.exists():
                raise ToolFailedError(f"forge coverage made no report:\n{completed.tail}")
            files = read_lcov(report.read_text(encoding="utf-8").splitlines())
        return self.judge(files, workspace.sources())

    def judge(self, files: Iterable[FileCoverage], expected: Collection[str]) -> GateReport:
        """The report on these files, of which those outside of `src/` do not count. `expected` are relative to it.

        Raises ToolFailedError when no line or no branch was counted.
        """
        sources = [file for file in files if file.path.startswith("src/")]
        all_lines, all_branches = sum(f.lines for f in sources), sum(f.branches for f in sources)
        if not all_lines or not all_branches:
            raise ToolFailedError(f"forge coverage told of {all_lines} lines and {all_branches} branches under src/")
        lines = _percent(all_lines, sum(len(f.missed_lines) for f in sources))
        branches = _percent(all_branches, sum(len(f.missed_branches) for f in sources))
        findings = [
            Finding(self.name, "no coverage", file, "forge coverage says nothing of it")
            for file in sorted({f"src/{file}" for file in expected} - {f.path for f in sources})
        ]
        if lines < self.least_percent:
            findings += [
                Finding(self.name, "line coverage", f.path, f"no test reaches the lines {_numbers(f.missed_lines)}")
                for f in sources
                if f.missed_lines
            ]
        if branches < self.least_percent:
            findings += [
                Finding(
                    self.name, "branch coverage", f.path, f"no test takes branches at {_numbers(f.missed_branches)}"
                )
                for f in sources
                if f.missed_branches
            ]
        return GateReport(
            self.name,
            tuple(findings),
            f"lines {lines:.1f} %, branches {branches:.1f} % of {len(sources)} files",
            {"lines_percent": round(lines, 2), "branches_percent": round(branches, 2), "branches": all_branches},
        )


def read_lcov(report: Iterable[str]) -> list[FileCoverage]:
    """The files of an LCOV report."""
    files: list[FileCoverage] = []
    path = ""
    lines: dict[int, int] = {}
    branches: list[tuple[int, int]] = []
    for record in report:
        kind, _, value = record.partition(":")
        if kind == "SF":
            path, lines, branches = value, {}, []
        elif kind == "DA":
            line, hits = value.split(",")[:2]
            lines[int(line)] = int(hits)
        elif kind == "BRDA":
            line, _, _, taken = value.split(",")
            branches.append((int(line), 0 if taken == "-" else int(taken)))
        elif record == "end_of_record":
            files.append(
                FileCoverage(
                    path,
                    len(lines),
                    len(branches),
                    tuple(line for line, hits in sorted(lines.items()) if hits == 0),
                    tuple(line for line, taken in branches if taken == 0),
                )
            )
    return files


def _percent(all_of_them: int, missed: int) -> float:
    return 100.0 * (all_of_them - missed) / all_of_them


def _numbers(lines: Iterable[int]) -> str:
    return ", ".join(str(line) for line in sorted(set(lines)))
