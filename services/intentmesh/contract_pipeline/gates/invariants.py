"""Does what must always hold, hold after any sequence of actions?"""

from dataclasses import dataclass

from intentmesh.contract_pipeline.gates.forge import CAMPAIGN, TestResult, forge_test
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 1_800.0


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
    """Every invariant holds, was tried as long as promised, and no action of the handler failed for want of care."""

    campaign: Campaign = FULL
    name: str = "invariant campaigns"

    def run(self, workspace: Workspace) -> GateReport:
        results = forge_test(
            workspace,
            ("--match-contract", CAMPAIGN),
            profile=self.campaign.profile,
            timeout_seconds=TIMEOUT_SECONDS,
        )
        return self.judge(results)

    def judge(self, results: list[TestResult]) -> GateReport:
        """The report on forge's results."""
        findings = [
            Finding(self.name, result.name, result.contract, result.reason) for result in results if not result.passed
        ]
        campaigns = [result for result in results if result.kind == "Invariant"]
        promised = self.campaign.runs * self.campaign.depth
        for result in campaigns:
            if result.passed and int(result.counts["calls"]) < promised:
                fault = f"{result.counts['calls']} calls were made, {promised} are promised"
                findings.append(Finding(self.name, "length of campaign", result.name, fault))
        if not campaigns:
            findings.append(Finding(self.name, "length of campaign", CAMPAIGN, "there is no invariant"))
        calls = sum(int(result.counts["calls"]) for result in campaigns)
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(campaigns)} invariants, {self.campaign.runs} runs of {self.campaign.depth} calls each",
            {"invariants": [result.name for result in campaigns], "calls": calls},
        )
