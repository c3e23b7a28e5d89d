"""What is left of a process group, for tests that nothing may be.

Only what can be traced to the processes in question is counted: other programs of the machine come and go meanwhile.
"""

import asyncio
import socket
from pathlib import Path

import psutil


def processes_of(*groups: int) -> list[psutil.Process]:
    """Every living process in one of the groups (a child of ours leads a group with its pid as its number)."""
    found = []
    for process in psutil.process_iter(["pid"]):
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


def shared_memory_of(*groups: int) -> set[str]:
    """What the groups hold of the machine's shared memory: System V ids they made, files of /dev/shm they map."""
    pids = {process.pid for process in processes_of(*groups)} | set(groups)
    rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]]
    made = {f"sysv {row[1]}" for row in rows if int(row[4]) in pids}
    mapped: set[str] = set()
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        mapped |= {line.split()[-1] for line in lines if line.split()[-1].startswith("/dev/shm/")}  # noqa: S108 (read)
    return made | mapped


def still_there(memory: set[str]) -> set[str]:
    """Those pieces of shared memory that exist now."""
    rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()[1:]]
    return memory & ({f"sysv {row[1]}" for row in rows} | {str(path) for path in Path("/dev/shm").iterdir()})  # noqa: S108


async def gone(*groups: int, within_s: float = 20.0) -> None:
    """Wait until the groups are empty. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while processes_of(*groups):  # noqa: ASYNC110 (other processes)
            await asyncio.sleep(0.02)
