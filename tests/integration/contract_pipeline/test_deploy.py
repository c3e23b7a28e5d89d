"""Deployments on real Anvil chains: from nothing, again, after a kill, and refused."""

import asyncio
import json
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import load_network
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.contract_pipeline.acceptances import Acceptance, Acceptances
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.deployment import ChainDeployer
from intentmesh.contract_pipeline.errors import PipelineError
from intentmesh.contract_pipeline.explorers.publishing import PUBLISH
from intentmesh.contract_pipeline.pipeline import DEPLOY, INTEGRATION, VERIFY
from intentmesh.contract_pipeline.plan import plan_network
from intentmesh.contract_pipeline.record import DeploymentRecord, read_record, record_path
from intentmesh.contract_pipeline.reports import GateReport, Verdict
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.domain.types import format_address
from intentmesh.embedded.deployment import local_accounts
from intentmesh.embedded.probes import json_rpc
from intentmesh.transactions.signers import Signer

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import DEPLOYER_KEY, CountingGate, Site, make_site, make_target


def record_of(site: Site) -> DeploymentRecord:
    return read_record(record_path(site.data_dir, "testnet", "1"))


async def test_deploy__empty_chains__everything_stands_verified_and_recorded(site: Site) -> None:
    outcome = await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.PASSED
    assert outcome.transactions == 10
    assert [stage.gate for stage in outcome.stages] == ["counted", DEPLOY, VERIFY, INTEGRATION, PUBLISH]
    record = record_of(site)
    assert len(record.contracts) == 10
    assert all(contract.transaction for contract in record.contracts)
    # One salt, code and arguments: one address on all chains.
    assert len({contract.address for contract in record.contracts}) == 5


async def test_deploy__again__sends_nothing_and_records_the_same(site: Site) -> None:
    first = await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    again = await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    assert again.transactions == 0
    assert first.record is not None
    assert again.record is not None
    assert again.record.contracts == first.record.contracts
    assert again.record.network == first.record.network


async def test_record__given_as_chains_file__is_the_deployed_network(site: Site) -> None:
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    network = load_network(record_path(site.data_dir, "testnet", "1"))
    async with ChainClients(network) as clients:
        for chain in network.chains:
            oracle = AttestedOracle(clients.of(chain.chain_id))
            assert await oracle.threshold() == chain.attestation_threshold == 2
            assert await oracle.is_attester(local_accounts("attester")[0].address)


async def test_deploy__gate_fails__nothing_is_sent(site: Site) -> None:
    later = CountingGate("later")
    pipeline = site.pipeline(CountingGate(faults=["a hole"]), later)
    outcome = await pipeline.run(site.deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.transactions == 0
    assert later.asked == 0
    assert not record_path(site.data_dir, "testnet", "1").exists()


async def test_deploy__live_test_fails__no_record(site: Site) -> None:
    async def failing(_record: DeploymentRecord) -> list[str]:
        return ["an intent never settled"]

    outcome = await site.pipeline(live_test=failing).run(site.deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.stages[-1].gate == INTEGRATION
    assert not record_path(site.data_dir, "testnet", "1").exists()


async def test_resume__after_a_failed_live_test__asks_no_gate_again_and_sends_nothing(site: Site) -> None:
    async def failing(_record: DeploymentRecord) -> list[str]:
        return ["an intent never settled"]

    async def passing(_record: DeploymentRecord) -> list[str]:
        return []

    gate = CountingGate()
    await site.pipeline(gate, live_test=failing).run(site.deployment, resume=False, dry_run=False)
    outcome = await site.pipeline(gate, live_test=passing).run(site.deployment, resume=True, dry_run=False)
    assert outcome.verdict is Verdict.PASSED
    assert (gate.asked, outcome.transactions) == (1, 0)


async def test_resume__other_configuration__asks_the_gates_again(site: Site, chains: LocalChains) -> None:
    async def failing(_record: DeploymentRecord) -> list[str]:
        return ["an intent never settled"]

    gate = CountingGate()
    await site.pipeline(gate, live_test=failing).run(site.deployment, resume=False, dry_run=False)
    other = make_site(chains, site.data_dir, threshold=1)
    await other.pipeline(gate).run(other.deployment, resume=True, dry_run=False)
    assert gate.asked == 2


async def failing(_record: DeploymentRecord) -> list[str]:
    return ["an intent never settled"]


def change_a_byte(workspace: Workspace, name: str) -> None:
    """Of its creation code, as a build of other sources would."""
    file = workspace.artifacts / f"{name}.sol" / f"{name}.json"
    content = json.loads(file.read_bytes())
    code = bytearray.fromhex(content["bytecode"]["object"][2:])
    code[len(code) // 2] ^= 1
    content["bytecode"]["object"] = "0x" + code.hex()
    file.write_text(json.dumps(content))


async def test_resume__build_changed_since_the_gates__deploys_nothing(site: Site, tmp_path: Path) -> None:
    site = replace(site, workspace=site.workspace.copy(tmp_path / "copy", with_build=True))
    gate = CountingGate()
    first = await site.pipeline(gate, live_test=failing).run(site.deployment, resume=False, dry_run=False)
    assert first.stages[-1].gate == INTEGRATION
    change_a_byte(site.workspace, "OutputSettler")
    with pytest.raises(PipelineError, match="OutputSettler in build/contracts is not what the gates"):
        await site.pipeline(gate).run(site.deployment, resume=True, dry_run=False)
    assert gate.asked == 1
    assert not record_path(site.data_dir, "testnet", "1").exists()


async def test_deploy__no_gate_has_compiled_the_sources__is_refused(site: Site) -> None:
    @dataclass(frozen=True)
    class IdleGate:
        name: str = "idle"

        def run(self, workspace: Workspace) -> GateReport:  # noqa: ARG002 (the interface of a gate)
            return GateReport(self.name, (), "looked at nothing")

    with pytest.raises(PipelineError, match="is not what the gates"):
        await site.pipeline(IdleGate()).run(site.deployment, resume=False, dry_run=False)


@pytest.mark.parametrize("file", ["contracts/halmos.toml", "tests/golden/orders.json", "contracts/test/new.json"])
async def test_resume__something_the_gates_read_changed__asks_them_again(site: Site, tmp_path: Path, file: str) -> None:
    site = replace(site, workspace=site.workspace.copy(tmp_path / "copy", with_build=True))
    gate = CountingGate()
    await site.pipeline(gate, live_test=failing).run(site.deployment, resume=False, dry_run=False)
    (site.workspace.root / file).write_text("{}")
    await site.pipeline(gate).run(site.deployment, resume=True, dry_run=False)
    assert gate.asked == 2


async def test_resume__contracts_sent_since_the_live_test__tests_them(site: Site, chains: LocalChains) -> None:
    tested = 0

    async def passing(_record: DeploymentRecord) -> list[str]:
        nonlocal tested
        tested += 1
        return []

    snapshots = {chain.port: await json_rpc(chain.port, "evm_snapshot") for chain in chains.both}
    (site.data_dir / "bundles").write_text("in the way of what comes after the live test")
    with pytest.raises(OSError, match="bundles"):
        await site.pipeline(live_test=passing).run(site.deployment, resume=False, dry_run=False)
    for port, snapshot in snapshots.items():
        await json_rpc(port, "evm_revert", snapshot)
    (site.data_dir / "bundles").unlink()
    outcome = await site.pipeline(live_test=passing).run(site.deployment, resume=True, dry_run=False)
    assert (outcome.transactions, tested) == (10, 2)


async def test_resume__acceptance_expired_meanwhile__counts_no_longer(site: Site) -> None:
    async def failing(_record: DeploymentRecord) -> list[str]:
        return ["an intent never settled"]

    gate = CountingGate(faults=["a hole"])
    entry = Acceptance(
        gate=gate.name, check="fault", where="somewhere", reason="Known, and mended soon.", expires=date(2026, 1, 31)
    )
    before = Acceptances([entry], date(2026, 1, 31))
    first = await site.pipeline(gate, live_test=failing, acceptances=before).run(
        site.deployment, resume=False, dry_run=False
    )
    assert first.stages[-1].gate == INTEGRATION
    after = Acceptances([entry], date(2026, 2, 1))
    outcome = await site.pipeline(gate, acceptances=after).run(site.deployment, resume=True, dry_run=False)
    assert outcome.verdict is Verdict.FAILED
    assert "expired" in outcome.stages[-1].findings[0].what
    assert gate.asked == 1


async def test_deploy__acceptance_that_nothing_needs__stops_it(site: Site) -> None:
    gate = CountingGate()
    entry = Acceptance(
        gate=gate.name, check="fault", where="somewhere", reason="Known, and mended by now.", expires=date(2026, 1, 31)
    )
    unneeded = Acceptances([entry], date(2026, 1, 1))
    outcome = await site.pipeline(gate, acceptances=unneeded).run(site.deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.stages[-1].findings[0].check == "unused acceptance"
    assert outcome.transactions == 0


async def test_deploy__chain_refuses__is_a_finding_of_its_stage(site: Site, chains: LocalChains) -> None:
    poor = Signer(bytes.fromhex("11" * 32))
    for chain in chains.both:
        await json_rpc(chain.port, "anvil_setBalance", format_address(poor.address), "0x1")
    outcome = await site.pipeline().run(replace(site.deployment, signer=poor), resume=False, dry_run=False)
    assert [stage.gate for stage in outcome.stages] == ["counted", DEPLOY]
    assert outcome.verdict is Verdict.FAILED
    assert outcome.transactions == 0
    assert "input_settler on chain alpha: the chain refuses it" in outcome.stages[-1].findings[0].what


async def test_deploy__contract_of_a_public_chain_that_is_young__is_waited_for(
    tmp_path: Path, chains: LocalChains, artifacts: Artifacts
) -> None:
    attesters = {"attesters": ["0x" + "ab" * 20], "threshold": 1}
    site = make_site(chains, tmp_path, **attesters)
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    public = {"chain_id": 31337, "name": "alpha", "rpc_urls": ["env:RPC"], "confirmations": 20}
    (plan,) = plan_network(make_target(chains, chains=[public], deployer_key="env:KEY", **attesters), artifacts)
    async with ChainDeployer(plan, chains.alpha.rpc_url, Signer(DEPLOYER_KEY), artifacts) as deployer:
        running = asyncio.create_task(deployer.deploy({}))
        # Many times what it takes to see that all three stand there.
        done, _ = await asyncio.wait([running], timeout=3.0)
        assert not done
        await json_rpc(chains.alpha.port, "anvil_mine", "0x14")
        assert not any(one.sent for one in await running)


async def test_deploy__mainnet_before_testnet__is_refused(chains: LocalChains, tmp_path: Path) -> None:
    site = make_site(chains, tmp_path, "mainnet", after="testnet")
    with pytest.raises(PipelineError, match="comes after testnet, which has no record"):
        await site.pipeline().run(site.deployment, resume=False, dry_run=False)


async def test_deploy__intents_cannot_be_tried_and_nobody_comes_after__says_that_they_were_skipped(site: Site) -> None:
    outcome = await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    (stage,) = [stage for stage in outcome.stages if stage.gate == INTEGRATION]
    assert stage.summary.startswith("skipped")
    assert stage.figures == {"tried": False}


async def test_deploy__intents_cannot_be_tried_and_mainnet_comes_after__is_a_finding(site: Site) -> None:
    deployment = replace(site.deployment, followers=("mainnet",))
    outcome = await site.pipeline().run(deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.stages[-1].gate == INTEGRATION
    assert "mainnet" in outcome.stages[-1].findings[0].what
    assert not record_path(site.data_dir, "testnet", "1").exists()


async def test_deploy__mainnet_after_a_testnet_without_live_test__is_refused(chains: LocalChains, site: Site) -> None:
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    mainnet = make_site(chains, site.data_dir, "mainnet", after="testnet", salt="mainnet")
    with pytest.raises(PipelineError, match="no intent was tried on testnet"):
        await mainnet.pipeline().run(mainnet.deployment, resume=False, dry_run=False)


async def test_deploy__mainnet_after_testnet__is_done(chains: LocalChains, site: Site) -> None:
    async def passing(_record: DeploymentRecord) -> list[str]:
        return []

    await site.pipeline(live_test=passing).run(site.deployment, resume=False, dry_run=False)
    mainnet = make_site(chains, site.data_dir, "mainnet", after="testnet", salt="mainnet")
    outcome = await mainnet.pipeline().run(mainnet.deployment, resume=False, dry_run=False)
    assert outcome.verdict is Verdict.PASSED
    assert outcome.transactions == 10


async def test_deploy__dry_run__leaves_no_record(site: Site) -> None:
    outcome = await site.pipeline().run(site.deployment, resume=False, dry_run=True)
    assert outcome.verdict is Verdict.PASSED
    assert outcome.record is None
    assert not record_path(site.data_dir, "testnet", "1").exists()


async def test_bundle__of_every_contract__holds_what_its_metadata_names(site: Site) -> None:
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    folders = sorted((site.data_dir / "bundles").glob("*/0x*"))
    assert len(folders) == 10
    for folder in folders:
        metadata = json.loads((folder / "metadata.json").read_bytes())
        assert all((folder / "sources" / path).is_file() for path in metadata["sources"])
        assert (folder / "creator-tx-hash.txt").read_text().startswith("0x")
