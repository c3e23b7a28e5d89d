"""Does what must always hold, hold after any sequence of actions?"""

from collections.abc import Collection
from dataclasses import dataclass

from intentmesh.contract_pipeline.gates.forge import CAMPAIGN, TestResult, forge_test
from intentmesh.contract_pipeline.gates.promises import (
    compiled_functions,
    forget_compiled_tests,
    load_promises,
    missing,
)
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 1_800.0
PREFIX = "invariant_"


@dataclass(frozen=True, slots=True)
class Campaign:
    """How long each invariant is tried: `runs` sequences of `depth` calls. `profile` of foundry.toml says the same."""

    profile: str
    runs: int
    depth: int


# What an audit asks for, and a taste of it.
FULL = Campaign("audit", runs=256, depth=500)
SHORT = Campaign("default", runs=8, depth=100)


@dataclass(frozen=True, slots=True)
class InvariantGate:
    """Every invariant there is, and every promised one, was tried as long as promised and holds, and no action of the
    handler failed for want of care."""

    campaign: Campaign = FULL
    name: str = "invariant campaigns"

    def run(self, workspace: Workspace) -> GateReport:
        forget_compiled_tests(workspace.artifacts)
        results = forge_test(
            workspace,
            ("--match-contract", CAMPAIGN),
            profile=self.campaign.profile,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        expected = compiled_functions(workspace.artifacts, PREFIX)
        return self.judge(results, expected, load_promises(workspace).invariants)

    def judge(
        self, results: Collection[TestResult], compiled: Collection[str], promised: Collection[str]
    ) -> GateReport:
        """The report on forge's results. `compiled` are `Contract.invariant_name`, `promised` bare names."""
        findings = [
            Finding(self.name, result.name, result.contract, result.reason) for result in results if not result.passed
        ]
        campaigns = [result for result in results if result.kind == "Invariant"]
        length = self.campaign.runs * self.campaign.depth
        for result in campaigns:
            if result.passed and int(result.counts["calls"]) < length:
                fault = f"{result.counts['calls']} calls were made, {length} are promised"
                findings.append(Finding(self.name, "length of campaign", result.name, fault))
        ran = {f"{result.contract}.{result.name}" for result in campaigns}
        findings += [
            Finding(self.name, "missing invariant", name, "it was not tried", conclusive=False)
            for name in missing(ran, compiled, promised, PREFIX)
        ]
        calls = sum(int(result.counts["calls"]) for result in campaigns)
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(campaigns)} invariants, {self.campaign.runs} runs of {self.campaign.depth} calls each",
            {"invariants": [result.name for result in campaigns], "calls": calls},
        )
