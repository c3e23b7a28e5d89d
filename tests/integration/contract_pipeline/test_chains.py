"""The local chains of a network between deployments: `contracts chains` runs them, and the record finds them."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import psutil
import pytest
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import load_network
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.cli.contracts_chains import plainly, running_chains
from intentmesh.contract_pipeline.development_accounts import DEVELOPMENT_ACCOUNTS
from intentmesh.contract_pipeline.errors import PipelineError
from intentmesh.contract_pipeline.networks import NetworkTarget, load_networks
from intentmesh.contract_pipeline.pipeline import Deployment
from intentmesh.contract_pipeline.record import DeploymentRecord, record_path
from intentmesh.contract_pipeline.reports import Verdict
from intentmesh.domain.types import Address, format_address, parse_address
from intentmesh.embedded.ports import Port
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.programs import REPOSITORY
from intentmesh.transactions.signers import Signer

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import DEPLOYER_KEY, CountingGate, Site, make_target

TARGET = load_networks(REPOSITORY / "contracts" / "networks.toml")["testnet"]


async def deploy(data_dir: Path, *, dry_run: bool) -> int:
    """How many transactions it took."""
    async with running_chains(data_dir, TARGET, dry_run) as urls:
        site = Site(data_dir, Deployment("testnet", TARGET, urls, Signer(DEPLOYER_KEY)))
        outcome = await site.pipeline().run(site.deployment, resume=False, dry_run=dry_run)
    assert outcome.verdict is Verdict.PASSED
    return outcome.transactions


async def test_dry_run__on_forks__does_all_of_it_and_leaves_the_chains_as_they_were(tmp_path: Path) -> None:
    assert await deploy(tmp_path, dry_run=True) == 10
    assert not record_path(tmp_path, "testnet", "1").exists()
    # Had it reached the chains themselves, there would be nothing left to send.
    assert await deploy(tmp_path, dry_run=False) == 10
    assert await deploy(tmp_path, dry_run=False) == 0


async def test_dry_run__public_chain_that_wants_depth__ends_and_writes_nothing(
    site: Site, chains: LocalChains, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.pipeline().run(site.deployment, resume=False, dry_run=False)
    monkeypatch.setenv("DRY_RUN_TEST_RPC", chains.alpha.rpc_url)
    public = {"chain_id": 31337, "name": "alpha", "rpc_urls": ["env:DRY_RUN_TEST_RPC"], "confirmations": 20}
    real = {"chains": [public], "deployer_key": "env:KEY", "attesters": ["0x" + "ab" * 20], "threshold": 1}
    target = make_target(chains, salt="a dry run", **real)
    data_dir = site.data_dir / "dry"
    async with running_chains(data_dir, target, dry_run=True) as urls:
        dry = Site(data_dir, Deployment("mainnet", target, urls, Signer(DEPLOYER_KEY)))
        outcome = await dry.pipeline().run(dry.deployment, resume=False, dry_run=True)
    assert (outcome.verdict, outcome.transactions) == (Verdict.PASSED, 3)
    assert not (data_dir / "journals").exists()


async def test_dry_run__after_a_run_that_failed__leaves_its_journal_as_it_was(site: Site) -> None:
    async def failing(_record: DeploymentRecord) -> list[str]:
        return ["an intent never settled"]

    await site.pipeline(live_test=failing).run(site.deployment, resume=False, dry_run=False)
    (journal,) = (site.data_dir / "journals").iterdir()
    before = journal.read_bytes()
    gates = CountingGate(), CountingGate("another")
    outcome = await site.pipeline(*gates).run(site.deployment, resume=True, dry_run=True)
    assert outcome.verdict is Verdict.PASSED
    # What passed before counts for a dry run as well; what only it has seen counts for nothing later.
    assert [gate.asked for gate in gates] == [0, 1]
    assert journal.read_bytes() == before


def public_target(chains: LocalChains, variable: str) -> NetworkTarget:
    chain = {"chain_id": 31337, "name": "alpha", "rpc_urls": [f"env:{variable}"]}
    real = {"chains": [chain], "deployer_key": "env:KEY", "attesters": ["0x" + "ab" * 20], "threshold": 1}
    return make_target(chains, **real)


def command_lines() -> list[str]:
    return [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]


async def test_dry_run__url_with_a_key__is_used_and_on_no_command_line(
    chains: LocalChains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of an account that the fork can only know from the chain behind the URL.
    known = format_address(Address(b"\x77" * 20))
    await json_rpc(chains.alpha.port, "anvil_setBalance", known, "0x1234")
    monkeypatch.setenv("DRY_RUN_TEST_RPC", f"{chains.alpha.rpc_url}?apikey=ABCDEF")
    async with running_chains(tmp_path, public_target(chains, "DRY_RUN_TEST_RPC"), dry_run=True) as urls:
        port = Port(int(urls[31337].rpartition(":")[2]))
        assert await json_rpc(port, "eth_getBalance", known, "latest") == "0x1234"
        lines = command_lines()
    assert any(f"--port {port}" in line for line in lines)
    assert not any("ABCDEF" in line for line in lines)


async def test_dry_run__node_behind_a_url_with_a_key_is_not_there__the_message_has_no_key(
    chains: LocalChains, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Port 1 of this machine: nobody listens there.
    monkeypatch.setenv("DRY_RUN_TEST_RPC", "http://somebody:ABCDEF@127.0.0.1:1/v2/GHIJKL?apikey=MNOPQR")

    async def start() -> None:
        async with running_chains(tmp_path, public_target(chains, "DRY_RUN_TEST_RPC"), dry_run=True):
            raise AssertionError("there is nothing to fork")

    with pytest.raises(PipelineError) as caught:
        await plainly(start())
    assert "fork-alpha" in str(caught.value)
    assert not any(secret in str(caught.value) for secret in ("ABCDEF", "GHIJKL", "MNOPQR"))


async def test_development_accounts__those_of_an_anvil__are_all_among_them(chains: LocalChains) -> None:
    accounts = await json_rpc(chains.alpha.port, "eth_accounts")
    assert len(accounts) == 10
    assert {parse_address(account) for account in accounts} <= DEVELOPMENT_ACCOUNTS


async def test_chains__after_a_deployment__are_where_the_record_says_with_what_was_deployed(tmp_path: Path) -> None:
    await deploy(tmp_path, dry_run=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "intentmesh.cli.main", "contracts", "chains"),
        *("--network", "testnet", "--data-dir", str(tmp_path), "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        ready = json.loads(await process.stdout.readline())
        network = load_network(record_path(tmp_path, "testnet", "1"))
        assert {str(chain.chain_id): chain.rpc_urls[0] for chain in network.chains} == ready["chains"]
        async with ChainClients(network) as clients:
            for chain in network.chains:
                assert await AttestedOracle(clients.of(chain.chain_id)).threshold() == 2
    finally:
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
