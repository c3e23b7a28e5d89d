"""The one piece of shared memory that a killed PostgreSQL leaves: 56 bytes of System V memory that mark its folder.

The next server on the folder removes it. When there will be no next one it would stay until the machine restarts.
"""

import asyncio
import ctypes
import time
from pathlib import Path

PATIENCE_S = 10.0
_LOOK_AGAIN_S = 0.02
_IPC_RMID = 0
# postmaster.pid: line 1 is the server's pid, line 7 the key and the id of its memory.
_PID_LINE, _MEMORY_LINE = 0, 6


async def remove_left_behind(cluster: Path, *, patience_s: float = PATIENCE_S) -> bool:
    """Remove the memory of a server that was killed; True if there was some.

    Its other processes hold it until they have noticed, and are waited for. Nothing is touched that a process goes on
    holding, or that another process made.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()
        server_pid, memory_id = int(lines[_PID_LINE]), int(lines[_MEMORY_LINE].split()[1])
    except (OSError, ValueError, IndexError):
        return False
    gives_up_at = time.monotonic() + patience_s
    while holders := _holders(memory_id, server_pid):
        if time.monotonic() >= gives_up_at:
            return False
        # The kernel tells nobody when the last one has gone.
        await asyncio.sleep(_LOOK_AGAIN_S)
    if holders is None:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.shmctl(ctypes.c_int(memory_id), ctypes.c_int(_IPC_RMID), None) == 0)


def _holders(memory_id: int, creator_pid: int) -> int | None:
    """How many processes hold the piece; None where it is gone, or another process made it."""
    try:
        rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    titles = rows[0].split()
    for row in rows[1:]:
        values = dict(zip(titles, row.split(), strict=True))
        if int(values["shmid"]) == memory_id:
            return int(values["nattch"]) if int(values["cpid"]) == creator_pid else None
    return None
