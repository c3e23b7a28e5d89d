"""Are the promises true for every argument? Halmos runs the `check_` functions of `test/formal` on symbolic values."""

import json
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.gates.promises import (
    compiled_functions,
    forget_compiled_tests,
    load_promises,
    missing,
)
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Completed, Workspace

TIMEOUT_SECONDS = 1_200.0
PROFILE = "formal"
SOLVER_TIMEOUT_MILLISECONDS = 120_000
PREFIX = "check_"
# Exit codes of halmos for one test.
_OUTCOMES = {
    1: "a counterexample exists",
    2: "it took too long",
    3: "halmos got stuck",
    4: "every path reverts, so it proves nothing",
    5: "halmos failed",
}
# Those that say something about the contracts.
_CONCLUSIVE = (1, 4)


@dataclass(frozen=True, slots=True)
class FormalGate:
    """Every proof there is, and every promised one, was tried, holds, is not empty and left no loop half looked at."""

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
        expected = compiled_functions(_artifacts(workspace), PREFIX)
        return self.judge(suites, completed, expected, load_promises(workspace).proofs)

    def judge(
        self,
        suites: Mapping[str, list[Mapping[str, Any]]],
        completed: Completed,
        compiled: Collection[str],
        promised: Collection[str],
    ) -> GateReport:
        """The report on halmos' own results, by suite. `compiled` are `Contract.check_name`, `promised` bare names.

        Raises ToolFailedError when a suite or the whole ended before its proofs.
        """
        findings: list[Finding] = []
        proven: list[str] = []
        ran: set[str] = set()
        for suite, tests in suites.items():
            contract = suite.rpartition(":")[2]
            if not tests:
                # A setUp that fails takes all its proofs along, and halmos 0.3.3 tells of none.
                raise ToolFailedError(f"halmos tried no proof of {contract}:\n{completed.tail}")
            for test in tests:
                name = test["name"].partition("(")[0]
                ran.add(f"{contract}.{name}")
                fault = _fault(test)
                if fault is None:
                    proven.append(f"{contract}.{name.removeprefix(PREFIX)}")
                else:
                    conclusive = test["exitcode"] in _CONCLUSIVE
                    findings.append(Finding(self.name, name, contract, fault, conclusive))
        findings += [
            Finding(self.name, "missing proof", name, "it was not tried", conclusive=False)
            for name in missing(ran, compiled, promised, PREFIX)
        ]
        if completed.status != 0 and not findings:
            raise ToolFailedError(f"halmos ended with {completed.status} and has no complaint:\n{completed.tail}")
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(proven)} of {len(proven) + len(findings)} promises proven",
            {"proven": sorted(proven)},
        )

    def _build(self, workspace: Workspace) -> None:
        forget_compiled_tests(_artifacts(workspace))
        completed = workspace.run(
            workspace.forge(),
            ("build", "test/formal"),
            timeout_seconds=TIMEOUT_SECONDS,
            environment={"FOUNDRY_PROFILE": PROFILE},
        )
        if completed.status != 0:
            raise ToolFailedError(f"the proofs do not compile:\n{completed.tail}")


def _artifacts(workspace: Workspace) -> Path:
    """Where the profile has forge put them."""
    return workspace.root / "build" / PROFILE


def _fault(test: Mapping[str, Any]) -> str | None:
    code = test["exitcode"]
    if code != 0:
        models = "; ".join(str(model) for model in test.get("models") or [])[:300]
        return _OUTCOMES.get(code, f"halmos ended it with code {code}") + (f": {models}" if models else "")
    if test["num_bounded_loops"]:
        return f"{test['num_bounded_loops']} loops were followed only some steps"
    return None
