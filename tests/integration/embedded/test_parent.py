"""However the process that started the parts ends, they end too, and the next one continues on the same folder."""

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from intentmesh.embedded.ports import Port
from intentmesh.embedded.probes import json_rpc
from intentmesh.embedded.programs import REPOSITORY

from tests.integration.embedded.census import gone, listens, shared_memory_of, still_there

START_DEADLINE_S = 60


@pytest.fixture
def path() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="intentmesh-test-"))
    yield path
    shutil.rmtree(path)


class DoomedMesh:
    """The other process, and what it started."""

    def __init__(self, process: asyncio.subprocess.Process, parts: dict[str, list[int]]) -> None:
        self.process = process
        self.pids = {name: pid for name, (pid, _) in parts.items()}
        self.ports = {name: Port(port) for name, (_, port) in parts.items()}

    @classmethod
    async def start(cls, path: Path) -> "DoomedMesh":
        command = (sys.executable, "-m", "tests.integration.embedded.doomed_mesh", str(path))
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_DEADLINE_S)
            return cls(process, json.loads(line))
        except BaseException:
            process.kill()
            await process.wait()
            raise

    async def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        await asyncio.wait_for(self.process.communicate(), 60)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
async def test_parts__of_a_process_that_ends__end_with_it_and_can_be_continued(
    path: Path, number: signal.Signals
) -> None:
    mesh = await DoomedMesh.start(path)
    memory = shared_memory_of(*mesh.pids.values())
    await json_rpc(mesh.ports["alpha"], "anvil_mine", "0x7")
    await mesh.end(number)
    await gone(*mesh.pids.values())
    assert not [name for name, port in mesh.ports.items() if listens(port)]
    assert still_there(memory) == set()

    second = await DoomedMesh.start(path)
    try:
        assert await json_rpc(second.ports["alpha"], "eth_blockNumber") == "0x7"
    finally:
        await second.end(signal.SIGINT)
    await gone(*second.pids.values())


async def test_parts__of_a_process_killed_in_the_middle_of_its_start__end_with_it(path: Path) -> None:
    """Killed at moments spread over the first start, the making of the cluster included."""
    memory: set[str] = set()
    command = (sys.executable, "-m", "tests.integration.embedded.doomed_mesh", str(path))
    for delay_s in (0.7, 0.9, 1.1, 1.3):
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, stdout=asyncio.subprocess.DEVNULL)
        # A moment, not a condition: what matters is that each is another one.
        await asyncio.sleep(delay_s)
        children = await _children_of(process.pid)
        memory |= shared_memory_of(*children)
        process.kill()
        await process.wait()
        await gone(*children)
    mesh = await DoomedMesh.start(path)
    await mesh.end(signal.SIGINT)
    assert still_there(memory) == set()


async def _children_of(pid: int) -> list[int]:
    text = await asyncio.to_thread(Path(f"/proc/{pid}/task/{pid}/children").read_text, encoding="ascii")
    return [int(child) for child in text.split()]
