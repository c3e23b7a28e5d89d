"""`intentmesh contracts deploy` and `verify` on the two networks of the project, as a person or CI runs them."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from intentmesh.contract_pipeline.artifacts import Artifacts
from intentmesh.contract_pipeline.networks import load_networks
from intentmesh.contract_pipeline.pipeline import INTEGRATION
from intentmesh.contract_pipeline.plan import plan_network
from intentmesh.contract_pipeline.record import DeploymentRecord, read_record, record_path
from intentmesh.embedded.programs import REPOSITORY

PROGRAM = "tests.integration.contract_pipeline.command_run"
NETWORKS = load_networks(REPOSITORY / "contracts" / "networks.toml")
CONTRACTS = 10


@dataclass(frozen=True)
class Command:
    """The command in a data folder of its own."""

    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        log, data_dir = str(self.folder / "asked"), ("--data-dir", str(self.folder / "data"), "--json")
        return subprocess.Popen(
            (sys.executable, "-m", PROGRAM, log, *arguments, *data_dir),
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
        """Exit code, what it told line by line, and what it told a person."""
        process = self.start(*arguments)
        try:
            told, noted = process.communicate(timeout=150)
        finally:
            process.kill()
        return process.returncode, [json.loads(line) for line in told.splitlines()], noted

    def record(self, network: str) -> DeploymentRecord:
        return read_record(record_path(self.folder / "data", network, "1"))

    @property
    def asked(self) -> int:
        """How often the gate was asked."""
        return len((self.folder / "asked").read_text().splitlines())

    def noted_transactions(self) -> int:
        try:
            journal = (self.folder / "data" / "journals" / "testnet-1.json").read_text()
        except FileNotFoundError:
            return 0
        return len(json.loads(journal)["transactions"])

    def kill_in_the_middle(self) -> None:
        """A deployment to testnet that is killed when it has sent some of its transactions."""
        process = self.start("deploy", "--network", "testnet")
        try:
            deadline = time.monotonic() + 60
            while self.noted_transactions() < 3:
                assert process.poll() is None, process.communicate()
                assert time.monotonic() < deadline
                time.sleep(0.001)
            children = psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()
            process.communicate()
        # They write down what they have when they see that nobody is left to run them for.
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


def addresses(record: DeploymentRecord) -> set[tuple[int, str, bytes]]:
    return {(contract.chain_id, contract.role, bytes(contract.address)) for contract in record.contracts}


def planned(network: str) -> set[tuple[int, str, bytes]]:
    plans = plan_network(NETWORKS[network], Artifacts(REPOSITORY / "build" / "contracts"))
    return {(plan.chain_id, one.role, bytes(one.address)) for plan in plans for one in plan.contracts}


# Six runs that start chains, two of them a whole mesh besides.
@pytest.mark.timeout(360)
def test_deploy__killed_and_resumed_then_again_then_mainnet__ends_as_the_plan_says(command: Command) -> None:
    command.kill_in_the_middle()
    assert not record_path(command.folder / "data", "testnet", "1").exists()
    assert 3 <= command.noted_transactions() < CONTRACTS

    code, told, noted = command.run("deploy", "--network", "testnet", "--resume")
    assert code == 0, (told, noted)
    assert 0 < told[-1]["transactions"] < CONTRACTS
    assert command.asked == 1
    (intents,) = [line for line in told if line.get("gate") == INTEGRATION]
    assert (intents["verdict"], intents["figures"]) == ("passed", {"tried": True})
    first = command.record("testnet")
    assert addresses(first) == planned("testnet")
    assert len(addresses(first)) == CONTRACTS
    assert all(contract.transaction for contract in first.contracts)

    code, told, noted = command.run("deploy", "--network", "testnet")
    assert code == 0, (told, noted)
    assert told[-1]["transactions"] == 0
    assert command.record("testnet").contracts == first.contracts

    code, told, noted = command.run("deploy", "--network", "mainnet")
    assert (code, told) == (1, [])
    assert "pass --confirm mainnet" in noted
    assert command.asked == 2

    code, told, noted = command.run("deploy", "--network", "mainnet", "--confirm", "mainnet")
    assert code == 0, (told, noted)
    assert addresses(command.record("mainnet")) == planned("mainnet")
    for network in NETWORKS:
        code, told, noted = command.run("verify", "--network", network)
        assert (code, told) == (0, [{"event": "end", "verdict": "passed"}]), noted
