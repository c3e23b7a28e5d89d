"""Is the code small enough to be deployed, and do calls cost what they should?

The limits stand in `contracts/limits.toml`: bytes of runtime and of creation code for every contract, gas for each call
of `make gas`. They are a little above what is, so that a change that costs says so.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.gates.forge import GAS, forge_test
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace

TIMEOUT_SECONDS = 300.0

_Positive = Annotated[int, Field(gt=0)]


class Limits(BaseModel):
    """`contracts/limits.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime_bytes: Mapping[str, _Positive]
    # EIP-3860: creation code above it is refused by every chain.
    creation_bytes: _Positive
    gas: Mapping[str, _Positive]


@dataclass(frozen=True, slots=True)
class LimitGate:
    """Sizes from the compiled contracts, gas from calls as transactions of their own."""

    name: str = "gas and size limits"

    def run(self, workspace: Workspace) -> GateReport:
        limits = _read_limits(workspace)
        sizes = {name: _sizes(workspace, name) for name in limits.runtime_bytes}
        return self.judge(limits, sizes, self._measure(workspace))

    def judge(self, limits: Limits, sizes: Mapping[str, tuple[int, int]], gas: Mapping[str, int]) -> GateReport:
        """The report on (runtime, creation) bytes by contract and gas by call."""
        findings = []
        for name, (runtime, creation) in sizes.items():
            findings += self._over("runtime bytes", name, runtime, limits.runtime_bytes[name])
            findings += self._over("creation bytes", name, creation, limits.creation_bytes)
        for call, limit in limits.gas.items():
            if call not in gas:
                findings.append(Finding(self.name, "gas", call, "was not measured"))
                continue
            findings += self._over("gas", call, gas[call], limit)
        findings += [
            Finding(self.name, "gas", call, "has no limit in limits.toml") for call in gas if call not in limits.gas
        ]
        largest = max(runtime for runtime, _ in sizes.values())
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(gas)} calls and {len(sizes)} contracts within limits, the largest has {largest:,} bytes",
            {"gas": dict(gas), "runtime_bytes": {name: runtime for name, (runtime, _) in sizes.items()}},
        )

    def _measure(self, workspace: Workspace) -> dict[str, int]:
        results = forge_test(
            workspace,
            ("--isolate", "--match-contract", GAS),
            profile="default",
            timeout_seconds=TIMEOUT_SECONDS,
        )
        failed = [result.name for result in results if not result.passed]
        if failed:
            raise ToolFailedError(f"gas was not measured: {', '.join(failed)} failed")
        return {call: gas for result in results for call, gas in result.gas.items()}

    def _over(self, check: str, where: str, actual: int, limit: int) -> list[Finding]:
        if actual <= limit:
            return []
        return [Finding(self.name, check, where, f"{actual:,} is above the limit of {limit:,}")]


def _sizes(workspace: Workspace, name: str) -> tuple[int, int]:
    artifacts = Artifacts(workspace.artifacts)
    return len(artifacts.runtime_template(name).code), len(artifacts.creation_code(name))


def _read_limits(workspace: Workspace) -> Limits:
    file = workspace.contracts / "limits.toml"
    try:
        return Limits.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ToolFailedError(f"{file} cannot be read: {error}") from error
