"""Do the unit and fuzz tests pass?"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from intentmesh.contract_pipeline.gates.forge import CAMPAIGN, GAS, PROOFS, TestResult, forge_test
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 900.0


@dataclass(frozen=True, slots=True)
class Fuzzing:
    """How often each fuzz test is tried. `profile` of foundry.toml says the same."""

    profile: str
    runs: int


# What an audit asks for, and a taste of it.
FULL_FUZZING = Fuzzing("audit", runs=2048)
SHORT_FUZZING = Fuzzing("default", runs=512)


@dataclass(frozen=True, slots=True)
class UnitTestGate:
    """All tests but campaigns, proofs and gas figures pass, the fuzz tests as often as promised."""

    fuzzing: Fuzzing = FULL_FUZZING
    name: str = "unit and fuzz tests"

    def run(self, workspace: Workspace) -> GateReport:
        results = forge_test(
            workspace,
            ("--no-match-contract", f"{CAMPAIGN}|{GAS}|{PROOFS}"),
            profile=self.fuzzing.profile,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        return self.judge(results)

    def judge(self, results: Collection[TestResult]) -> GateReport:
        """The report on forge's results."""
        fuzzed = [result for result in results if result.kind == "Fuzz"]
        runs = sum(int(result.counts["runs"]) for result in fuzzed)
        failed = [
            Finding(self.name, result.name, result.contract, result.reason) for result in results if not result.passed
        ]
        return GateReport(
            self.name,
            (*failed, *self._too_short(fuzzed)),
            f"{len(results) - len(failed)} of {len(results)} pass, {len(fuzzed)} of them fuzzed, {runs} runs",
            {"tests": len(results), "fuzz_tests": len(fuzzed), "fuzz_runs": runs},
        )

    def _too_short(self, fuzzed: Collection[TestResult]) -> Iterator[Finding]:
        """One that fails ends early and has said enough."""
        check, promised = "length of fuzz test", f"{self.fuzzing.runs} are promised"
        if not fuzzed:
            yield Finding(self.name, check, "test", f"no test was fuzzed, {promised} of each", conclusive=False)
        for result in fuzzed:
            if result.passed and int(result.counts["runs"]) < self.fuzzing.runs:
                fault = f"{result.counts['runs']} runs were made, {promised}"
                yield Finding(self.name, check, f"{result.contract}.{result.name}", fault, conclusive=False)
