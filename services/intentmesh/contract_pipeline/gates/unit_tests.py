"""Do the unit and fuzz tests pass?"""

from dataclasses import dataclass

from intentmesh.contract_pipeline.gates.forge import CAMPAIGN, GAS, PROOFS, forge_test
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class UnitTestGate:
    """All tests but campaigns, proofs and gas figures. The profile says how long the fuzz tests are."""

    profile: str = "audit"
    name: str = "unit and fuzz tests"

    def run(self, workspace: Workspace) -> GateReport:
        results = forge_test(
            workspace,
            ("--no-match-contract", f"{CAMPAIGN}|{GAS}|{PROOFS}"),
            profile=self.profile,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        fuzzed = [result for result in results if result.kind == "Fuzz"]
        runs = sum(int(result.counts["runs"]) for result in fuzzed)
        findings = tuple(
            Finding(self.name, result.name, result.contract, result.reason) for result in results if not result.passed
        )
        return GateReport(
            self.name,
            findings,
            f"{len(results) - len(findings)} of {len(results)} pass, {len(fuzzed)} of them fuzzed, {runs} runs",
            {"tests": len(results), "fuzz_tests": len(fuzzed), "fuzz_runs": runs},
        )
