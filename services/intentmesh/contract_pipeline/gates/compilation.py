"""Do the sources compile, and to the same bytes every time?"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.keccak import keccak

TIMEOUT_SECONDS = 300.0
# What is deployed; everything else is inside of these.
CONTRACTS = ("InputSettlerEscrow", "OutputSettler", "AttestedOracle", "LocalToken")
# The figure that ties what is deployed to what the gates have seen: hash of the creation code by contract.
CODE_HASHES = "creation_code_hashes"


@dataclass(frozen=True, slots=True)
class CompilationGate:
    """Compiles the sources in two fresh folders of different names and compares the bytes, also with the build."""

    name: str = "compile"

    def run(self, workspace: Workspace) -> GateReport:
        with tempfile.TemporaryDirectory(prefix="intentmesh-compile-") as folder:
            first = _build(workspace.copy(Path(folder) / "first"))
            second = _build(workspace.copy(Path(folder) / "the-second"))
            findings = [
                *self._compare("two builds of the same sources", first, second),
                *self._compare("the build in build/contracts (run `make contracts`)", first, workspace.artifacts),
            ]
            compiled = Artifacts(first)
            hashes = creation_code_hashes(compiled)
            versions = sorted({compiled.compiler_version(name) for name in CONTRACTS})
        return GateReport(
            self.name,
            tuple(findings),
            f"{len(CONTRACTS)} contracts, solc {', '.join(versions)}, same bytes twice",
            {CODE_HASHES: hashes, "solc": versions},
        )

    def _compare(self, what: str, one: Path, other: Path) -> list[Finding]:
        here, there = Artifacts(one), Artifacts(other)
        return [
            Finding(self.name, "reproducibility", name, f"{what} differ")
            for name in CONTRACTS
            if here.creation_code(name) != there.creation_code(name)
            or here.runtime_template(name).code != there.runtime_template(name).code
        ]


def creation_code_hashes(artifacts: Artifacts) -> dict[str, str]:
    """By contract, without constructor arguments. Raises NotBuiltError."""
    return {name: "0x" + keccak(artifacts.creation_code(name)).hex() for name in CONTRACTS}


def _build(workspace: Workspace) -> Path:
    completed = workspace.run(workspace.forge(), ("build", "--skip", "test"), timeout_seconds=TIMEOUT_SECONDS)
    if completed.status != 0:
        raise ToolFailedError(f"the contracts do not compile:\n{completed.tail}")
    return workspace.artifacts
