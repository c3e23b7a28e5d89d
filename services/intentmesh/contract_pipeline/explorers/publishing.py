"""The stage that hands every contract to the explorers of its chain, and tells what they say."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.errors import ExplorerError
from intentmesh.contract_pipeline.explorers import Explorer
from intentmesh.contract_pipeline.explorers.etherscan import Etherscan
from intentmesh.contract_pipeline.explorers.sourcify import Sourcify
from intentmesh.contract_pipeline.explorers.submission import make_submission
from intentmesh.contract_pipeline.inspection import Deployed
from intentmesh.contract_pipeline.networks import EtherscanTarget, ExplorerTarget, NetworkTarget, read_secret
from intentmesh.contract_pipeline.reports import Finding, GateReport

PUBLISH = "publication"

# By chain id.
Explorers = Mapping[int, Sequence[Explorer]]


async def publish(
    deployed: Sequence[Deployed], explorers: Explorers, artifacts: Artifacts, sources: Path
) -> GateReport:
    """One contract after the other, so that no explorer is asked for too much at once. What an explorer does not show
    as verified is a finding. Raises NotBuiltError."""
    findings: list[Finding] = []
    shown: dict[str, str] = {}
    for one in deployed:
        where = f"{one.planned.role} ({one.planned.name}) on chain {one.chain_id}"
        for explorer in explorers.get(one.chain_id, ()):
            submission = make_submission(one, artifacts, sources)
            try:
                shown[f"{where}: {explorer.name}"] = (await explorer.publish(submission)).value
            except ExplorerError as error:
                findings.append(Finding(PUBLISH, type(error).__name__.removesuffix("Error"), where, str(error)))
    return GateReport(PUBLISH, tuple(findings), _summary(deployed, explorers, shown), dict(shown))


def explorers_of(network: NetworkTarget) -> Explorers:
    """Those of the configuration, with their keys. Raises InvalidNetworksError when a key is missing."""
    return {chain.chain_id: [_explorer(target) for target in chain.explorers] for chain in network.chains}


def _explorer(target: ExplorerTarget) -> Explorer:
    if isinstance(target, EtherscanTarget):
        return Etherscan(target.url, read_secret(target.api_key))
    return Sourcify(target.url)


def _summary(deployed: Sequence[Deployed], explorers: Explorers, shown: Mapping[str, str]) -> str:
    chains = sorted({one.chain_id for one in deployed})
    without = [str(chain_id) for chain_id in chains if not explorers.get(chain_id)]
    skipped = f"no explorer is configured for chain {', '.join(without)}: skipped" if without else ""
    told = f"{len(shown)} verified by explorers" if len(without) < len(chains) else ""
    return "; ".join(part for part in (told, skipped) if part)
