"""A run that is killed between two stages and started again ends as one that was never killed."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.record import read_record, record_path

from tests.fixtures.servers import LocalChains
from tests.integration.contract_pipeline import killed_run
from tests.integration.contract_pipeline.conftest import DEPLOYER_KEY, make_target

PROGRAM = Path(__file__).with_name("killed_run.py")
STAGES = ("first", "second", "deploy", "verify", "integration tests", "publication")
NEVER = 0


async def run_and_kill(data_dir: Path, chains: LocalChains, kill_after: int) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(PROGRAM), *arguments(data_dir, chains), str(kill_after))
    )
    return await process.wait()


async def run(data_dir: Path, chains: LocalChains) -> None:
    """To the end, which takes no process of its own: runs share nothing but the files and the chains."""
    folder, target, key, *urls = arguments(data_dir, chains)
    await killed_run.main(Path(folder), target, key, urls, NEVER)


def arguments(data_dir: Path, chains: LocalChains) -> tuple[str, ...]:
    return str(data_dir), make_target(chains).model_dump_json(), DEPLOYER_KEY.hex(), *(c.rpc_url for c in chains.both)


@pytest.mark.parametrize("stage", range(1, len(STAGES) + 1), ids=lambda number: f"after {STAGES[number - 1]}")
async def test_resume__killed_after_a_stage__ends_as_if_it_had_not_been(
    stage: int, chains: LocalChains, tmp_path: Path
) -> None:
    assert await run_and_kill(tmp_path, chains, stage) == -signal.SIGKILL
    assert not record_path(tmp_path, "testnet", "1").exists()
    await run(tmp_path, chains)
    record = read_record(record_path(tmp_path, "testnet", "1"))
    assert [entry["gate"] for entry in record.stages] == list(STAGES)
    assert all(contract.transaction for contract in record.contracts)
    asked = (tmp_path / "asked").read_text().split()
    # The stage it was killed after is done with; only what was never reached is asked for.
    assert asked == ["first", "second"]
    again = tmp_path / "again"
    again.mkdir()
    await run(again, chains)
    plain = read_record(record_path(again, "testnet", "1"))
    assert [c.address for c in record.contracts] == [c.address for c in plain.contracts]
    assert record.network == plain.network
    assert record.fingerprint == plain.fingerprint
