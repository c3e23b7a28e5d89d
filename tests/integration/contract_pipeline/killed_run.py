"""A pipeline that is killed after one of its stages: `killed_run.py DATA_DIR ALPHA_URL BETA_URL STAGE_NUMBER`.

It runs as a process of its own, so that the kill is a real one: nothing is tidied up.
"""

import asyncio
import os
import signal
import sys
from datetime import date
from pathlib import Path

from intentmesh.contract_pipeline.acceptances import Acceptances
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.bundle import BundleFolder
from intentmesh.contract_pipeline.gates.compilation import CODE_HASHES, creation_code_hashes
from intentmesh.contract_pipeline.networks import NetworkTarget
from intentmesh.contract_pipeline.pipeline import Deployment, Pipeline
from intentmesh.contract_pipeline.record import DeploymentRecord
from intentmesh.contract_pipeline.reports import GateReport
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY
from intentmesh.transactions.signers import Signer


class LoggedGate:
    """Passes, and leaves a line in a file for every time it was asked."""

    def __init__(self, name: str, log: Path) -> None:
        self.name = name
        self._log = log

    def run(self, workspace: Workspace) -> GateReport:
        with self._log.open("a") as log:
            log.write(self.name + "\n")
        return GateReport(self.name, (), "looked", {CODE_HASHES: creation_code_hashes(Artifacts(workspace.artifacts))})


async def main(data_dir: Path, target: str, key: str, urls: list[str], kill_after: int) -> None:
    seen = 0

    def watch(_report: GateReport) -> None:
        nonlocal seen
        seen += 1
        if seen == kill_after:
            os.kill(os.getpid(), signal.SIGKILL)

    async def live_test(_record: DeploymentRecord) -> list[str]:
        return []

    network = NetworkTarget.model_validate_json(target)
    log = data_dir / "asked"
    pipeline = Pipeline(
        Workspace.of(REPOSITORY),
        data_dir,
        [LoggedGate("first", log), LoggedGate("second", log)],
        Acceptances((), date(2026, 1, 1)),
        BundleFolder(data_dir / "bundles"),
        {},
        live_test,
        {"forge": "as installed"},
        watch,
    )
    ids = [int(chain.chain_id) for chain in network.chains]
    deployment = Deployment("testnet", network, dict(zip(ids, urls, strict=True)), Signer(bytes.fromhex(key)))
    await pipeline.run(deployment, resume=True, dry_run=False)


if __name__ == "__main__":
    folder, network_json, deployer, alpha, beta, stage = sys.argv[1:]
    asyncio.run(main(Path(folder), network_json, deployer, [alpha, beta], int(stage)))
