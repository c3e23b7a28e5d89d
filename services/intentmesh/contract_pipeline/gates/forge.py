"""What the gates that run `forge test` share: running it, and reading its JSON."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.workspace import Workspace

# Campaigns, proofs and gas figures have gates of their own.
CAMPAIGN = "EscrowInvariants"
GAS = "GasTest"
PROOFS = "Proofs"


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test of one contract, as forge tells it."""

    contract: str
    name: str
    passed: bool
    reason: str
    # "Unit", "Fuzz" or "Invariant", with what forge counted.
    kind: str
    counts: Mapping[str, Any]
    # Gas by the name that the test gave to a call.
    gas: Mapping[str, int]


def forge_test(
    workspace: Workspace,
    arguments: Sequence[str],
    *,
    profile: str,
    timeout_seconds: float,
    environment: Mapping[str, str] | None = None,
) -> list[TestResult]:
    """Runs tests and reads their results. Raises ToolFailedError when forge says nothing, as when nothing compiles."""
    completed = workspace.run(
        workspace.forge(),
        ("test", "--json", *arguments),
        timeout_seconds=timeout_seconds,
        environment={"FOUNDRY_PROFILE": profile, **(environment or {})},
    )
    try:
        suites = json.loads(completed.output)
        results = list(_results(suites))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolFailedError(f"forge test told no results:\n{completed.tail}") from error
    if not results:
        raise ToolFailedError(f"forge test ran nothing for {' '.join(arguments)}:\n{completed.tail}")
    return results


def _results(suites: Mapping[str, Any]) -> Iterator[TestResult]:
    for suite, content in suites.items():
        contract = suite.rpartition(":")[2]
        for name, result in content["test_results"].items():
            kind, counts = next(iter(result["kind"].items()))
            yield TestResult(
                contract=contract,
                name=name.partition("(")[0],
                passed=result["status"] == "Success",
                reason=result["reason"] or "it failed",
                kind=kind,
                counts=counts,
                gas={call: int(gas) for group in result["gas_snapshots"].values() for call, gas in group.items()},
            )
