"""A network on the session's two chains, and a pipeline whose gates cost nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.acceptances import Acceptances
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.bundle import BundleFolder
from intentmesh.contract_pipeline.explorers.publishing import Explorers
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.gates.compilation import CODE_HASHES, creation_code_hashes
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.contract_pipeline.pipeline import Deployment, LiveTest, Pipeline
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.types import format_address
from intentmesh.embedded.deployment import local_accounts
from intentmesh.embedded.programs import REPOSITORY
from intentmesh.transactions.signers import Signer

from tests.fixtures.servers import LocalChains

# Account 9 of every Anvil chain.
DEPLOYER_KEY = bytes.fromhex("2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6")
TOKENS = [{"symbol": "USDC", "name": "USD Coin", "decimals": 6}, {"symbol": "WETH", "name": "Ether", "decimals": 18}]


@dataclass
class CountingGate:
    """Passes unless it was told what to find, counts how often it was asked, and takes what is built as compiled."""

    name: str = "counted"
    faults: Sequence[str] = ()
    asked: int = 0

    def run(self, workspace: Workspace) -> GateReport:
        self.asked += 1
        findings = tuple(Finding(self.name, "fault", "somewhere", fault) for fault in self.faults)
        return GateReport(
            self.name, findings, "looked", {CODE_HASHES: creation_code_hashes(Artifacts(workspace.artifacts))}
        )


@dataclass(frozen=True)
class Site:
    """Where one test deploys to."""

    data_dir: Path
    deployment: Deployment
    workspace: Workspace = field(default_factory=lambda: Workspace.of(REPOSITORY))

    def pipeline(
        self,
        *gates: Gate,
        live_test: LiveTest | None = None,
        explorers: Explorers | None = None,
        acceptances: Acceptances | None = None,
    ) -> Pipeline:
        return Pipeline(
            self.workspace,
            self.data_dir,
            gates or (CountingGate(),),
            acceptances or Acceptances((), date(2026, 1, 1)),
            BundleFolder(self.data_dir / "bundles"),
            explorers or {},
            live_test,
            {"forge": "as installed"},
        )


def make_target(running: LocalChains, **changes: object) -> NetworkTarget:
    """Two local chains with test tokens, two of two attesters."""
    content: dict[str, object] = {
        "version": "1",
        "salt": "pipeline tests",
        "needs_confirmation": False,
        "attesters": [format_address(account.address) for account in local_accounts("attester")],
        "threshold": 2,
        "chains": [
            {"chain_id": chain.chain_id, "name": chain.name, "local": True, "test_tokens": TOKENS}
            for chain in running.both
        ],
    }
    return NetworkTarget.model_validate({**content, **changes})


def make_site(chains: LocalChains, data_dir: Path, name: str = "testnet", **changes: object) -> Site:
    urls = {int(chain.chain_id): chain.rpc_url for chain in chains.both}
    return Site(data_dir, Deployment(name, make_target(chains, **changes), urls, Signer(DEPLOYER_KEY)))


@pytest.fixture
def site(chains: LocalChains, tmp_path: Path) -> Site:
    """Both chains without our contracts."""
    return make_site(chains, tmp_path)


@pytest.fixture
def artifacts() -> Artifacts:
    return Artifacts(Workspace.of(REPOSITORY).artifacts)
