"""A run that is killed between two stages and started again ends as one that was never killed."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.record import read_record, record_path

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline.conftest import DEPLOYER_KEY, make_target

PROGRAM = Path(__file__).with_name("killed_run.py")
STAGES = ("first", "second", "deploy", "verify", "integration tests", "publication")
NEVER = 0


async def run(data_dir: Path, chains: LocalChains, kill_after: int) -> int:
    target = make_target(chains).model_dump_json()
    urls = [chain.rpc_url for chain in chains.both]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), str(data_dir), target, DEPLOYER_KEY.hex(), *urls, str(kill_after))
    )
    return await process.wait()


@pytest.mark.parametrize("stage", range(1, len(STAGES) + 1), ids=lambda number: f"after {STAGES[number - 1]}")
async def test_resume__killed_after_a_stage__ends_as_if_it_had_not_been(
    stage: int, chains: LocalChains, tmp_path: Path
) -> None:
    assert await run(tmp_path, chains, kill_after=stage) == -signal.SIGKILL
    assert not record_path(tmp_path, "testnet", "1").exists()
    assert await run(tmp_path, chains, NEVER) == 0
    record = read_record(record_path(tmp_path, "testnet", "1"))
    assert [entry["gate"] for entry in record.stages] == list(STAGES)
    assert all(contract.transaction for contract in record.contracts)
    asked = (tmp_path / "asked").read_text().split()
    # The stage it was killed after is done with; only what was never reached is asked for.
    assert asked == ["first", "second"]
    again = tmp_path / "again"
    again.mkdir()
    assert await run(again, chains, NEVER) == 0
    plain = read_record(record_path(again, "testnet", "1"))
    assert [c.address for c in record.contracts] == [c.address for c in plain.contracts]
    assert record.network == plain.network
    assert record.fingerprint == plain.fingerprint
