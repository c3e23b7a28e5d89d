"""Are the promises true for every argument? Halmos runs the `check_` functions of `test/formal` on symbolic values."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 1_200.0
PROFILE = "formal"
SOLVER_TIMEOUT_MILLISECONDS = 120_000
# The promises that the project states in so many words.
LEAST_PROOFS = 6
# Exit codes of halmos for one test.
_OUTCOMES = {
    1: "a counterexample exists",
    2: "it took too long",
    3: "halmos got stuck",
    4: "every path reverts, so it proves nothing",
    5: "halmos failed",
}


@dataclass(frozen=True, slots=True)
class FormalGate:
    """Every proof holds, is not empty, and left no loop half looked at."""

    least_proofs: int = LEAST_PROOFS
    name: str = "formal verification"

    def run(self, workspace: Workspace) -> GateReport:
        self._build(workspace)
        with tempfile.TemporaryDirectory(prefix="intentmesh-halmos-") as folder:
            report = Path(folder) / "report.json"
            completed = workspace.run(
                workspace.halmos(),
                (
                    *("--match-contract", "Proofs$", "--forge-build-out", "../build/formal"),
                    *("--solver-timeout-assertion", str(SOLVER_TIMEOUT_MILLISECONDS)),
                    *("--json-output", str(report)),
                ),
                timeout_seconds=TIMEOUT_SECONDS,
                environment={"FOUNDRY_PROFILE": PROFILE},
            )
            try:
                suites = json.loads(report.read_text(encoding="utf-8"))["test_results"]
            except (OSError, ValueError, KeyError) as error:
                raise ToolFailedError(f"halmos made no report:\n{completed.tail}") from error
        return self.judge(suites)

    def judge(self, suites: Mapping[str, list[Mapping[str, Any]]]) -> GateReport:
        """The report on halmos' own results, by suite."""
        findings: list[Finding] = []
        proven: list[str] = []
        for suite, tests in suites.items():
            contract = suite.rpartition(":")[2]
            for test in tests:
                name = test["name"].partition("(")[0]
                fault = _fault(test)
                if fault is None:
                    proven.append(f"{contract}.{name.removeprefix('check_')}")
                else:
                    findings.append(Finding(self.name, name, contract, fault))
        if len(proven) + len(findings) < self.least_proofs:
            fault = f"only {len(proven) + len(findings)} proofs ran, {self.least_proofs} are promised"
            findings.append(Finding(self.name, "number of proofs", "test/formal", fault))
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(proven)} of {len(proven) + len(findings)} promises proven",
            {"proven": sorted(proven)},
        )

    def _build(self, workspace: Workspace) -> None:
        completed = workspace.run(
            workspace.forge(),
            ("build", "test/formal"),
            timeout_seconds=TIMEOUT_SECONDS,
            environment={"FOUNDRY_PROFILE": PROFILE},
        )
        if completed.status != 0:
            raise ToolFailedError(f"the proofs do not compile:\n{completed.tail}")


def _fault(test: Mapping[str, Any]) -> str | None:
    code = test["exitcode"]
    if code != 0:
        models = "; ".join(str(model) for model in test.get("models") or [])[:300]
        return _OUTCOMES.get(code, f"halmos ended it with code {code}") + (f": {models}" if models else "")
    if test["num_bounded_loops"]:
        return f"{test['num_bounded_loops']} loops were followed only some steps"
    return None
