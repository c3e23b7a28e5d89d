"""The one piece of shared memory that a killed PostgreSQL leaves: 56 bytes of System V memory that mark its folder.

The next server on the folder removes it. When there will be no next one it would stay until the machine restarts.
"""

import ctypes
from pathlib import Path

_IPC_RMID = 0
# postmaster.pid: line 1 is the server's pid, line 7 the key and the id of its memory.
_PID_LINE, _MEMORY_LINE = 0, 6


def remove_left_behind(cluster: Path) -> bool:
    """Remove the memory of a server that was killed; True if there was some.

    Nothing is touched that a process is attached to, or that another process made.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="ascii").splitlines()
        server_pid, memory_id = int(lines[_PID_LINE]), int(lines[_MEMORY_LINE].split()[1])
    except (OSError, ValueError, IndexError):
        return False
    if not _is_abandoned(memory_id, server_pid):
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.shmctl(ctypes.c_int(memory_id), ctypes.c_int(_IPC_RMID), None) == 0)


def _is_abandoned(memory_id: int, creator_pid: int) -> bool:
    try:
        rows = Path("/proc/sysvipc/shm").read_text(encoding="ascii").splitlines()
    except OSError:
        return False
    titles = rows[0].split()
    for row in rows[1:]:
        values = dict(zip(titles, row.split(), strict=True))
        if int(values["shmid"]) == memory_id:
            return int(values["cpid"]) == creator_pid and int(values["nattch"]) == 0
    return False
