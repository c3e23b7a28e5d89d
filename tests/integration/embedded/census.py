"""What is left of a process group, for tests that nothing may be."""

import asyncio
import socket
from pathlib import Path

import psutil


def processes_of(*groups: int) -> list[psutil.Process]:
    """Every living process in one of the groups (a child of ours leads a group with its pid as its number)."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        if int(stat[2]) in groups and stat[0] != "Z":
            found.append(process)
    return found


def listens(port: int) -> bool:
    """Whether anybody accepts connections on a port of 127.0.0.1."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def shared_memory() -> set[str]:
    """Every piece of shared memory of the machine: POSIX names and System V ids."""
    names = {path.name for path in Path("/dev/shm").iterdir()}  # noqa: S108 (looked at, not written)
    ids = {line.split()[1] for line in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]}
    return names | ids


async def gone(*groups: int, within_s: float = 20.0) -> None:
    """Wait until the groups are empty. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while processes_of(*groups):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.02)
