"""What a killed PostgreSQL leaves in System V memory, while its last processes still hold it."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from intentmesh.embedded.shared_memory import remove_left_behind

from tests.integration.embedded.census import still_there

IPC_CREAT, IPC_RMID, OWNER_ONLY = 0o1000, 0, 0o600

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmdt.argtypes = [ctypes.c_void_p]


@pytest.fixture
def memory() -> Iterator[int]:
    """The id of a piece that this process has made."""
    made = libc.shmget(0, 56, IPC_CREAT | OWNER_ONLY)
    assert made >= 0
    yield made
    libc.shmctl(made, IPC_RMID, None)


def _claim(cluster: Path, memory: int) -> None:
    """As a server of this process's id would."""
    lines = [str(os.getpid()), "", "", "", "", "", f"4711 {memory}"]
    (cluster / "postmaster.pid").write_text("\n".join(lines))


async def test_remove_left_behind__a_process_still_holds_it__waits_until_it_lets_go(
    tmp_path: Path, memory: int
) -> None:
    _claim(tmp_path, memory)
    held = libc.shmat(memory, None, 0)
    removing = asyncio.create_task(remove_left_behind(tmp_path, patience_s=30))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not removing.done()
    assert libc.shmdt(held) == 0
    assert await removing
    assert not still_there({f"sysv {memory}"})


async def test_remove_left_behind__a_process_does_not_let_go__leaves_it(tmp_path: Path, memory: int) -> None:
    _claim(tmp_path, memory)
    held = libc.shmat(memory, None, 0)
    assert not await remove_left_behind(tmp_path, patience_s=0)
    assert still_there({f"sysv {memory}"})
    libc.shmdt(held)
