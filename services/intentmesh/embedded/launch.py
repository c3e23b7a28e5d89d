"""The first thing every child process runs: ties its life to ours, becomes another account if told to, then executes.

Run by path as `python -I -S launch.py PARENT_PID DEATH_SIGNAL UID GID SEARCH -- PROGRAM ARGUMENT…`, with -1 for "keep
the account". It is a program and not a `preexec_fn`, because Python code between fork and exec may deadlock in a
process with threads, and gRPC has many. It imports nothing of ours, so that it starts in some 20 ms.

SEARCH 1 keeps one single capability across the change of account: to walk through folders that belong to root. A data
folder or a virtual environment below /root or made by `mktemp -d` is closed to every other account, and opening its
parents to everybody would be worse.
"""

import ctypes
import os
import signal
import sys

CANNOT_PREPARE = 126
CANNOT_EXECUTE = 127

_PR_SET_PDEATHSIG = 1
_PR_SET_SECUREBITS = 28
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_RAISE = 2
_SECBIT_NO_SETUID_FIXUP = 1 << 2
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
# Either lets an account walk through any folder; the first cannot write, but containers seldom have it.
SEARCH_CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_DAC_OVERRIDE": 1}

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityWord(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _prctl(option: int, first: int, second: int = 0) -> None:
    arguments = [ctypes.c_ulong(value) for value in (first, second, 0, 0)]
    _checked(_libc.prctl(ctypes.c_int(option), *arguments), f"prctl({option})")


def permitted_search_capability() -> int | None:
    """The number of a capability this process may pass on that lets another account walk through closed folders."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 (pathlib doubles the start time)
        permitted = next(int(line.split()[1], 16) for line in status if line.startswith("CapPrm:"))
    return next((number for number in SEARCH_CAPABILITIES.values() if permitted >> number & 1), None)


def _become(uid: int, gid: int, keep_search: bool) -> None:
    capability = permitted_search_capability() if keep_search else None
    if keep_search and capability is None:
        raise PermissionError("no capability to walk through folders that are closed to this account")
    if capability is not None:
        # Without this the change of uid drops every capability, and access(2) ignores those that are left.
        _prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP)
    os.setgroups([gid])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if capability is None:
        return
    only = 1 << capability
    header = _CapabilityHeader(_LINUX_CAPABILITY_VERSION_3, 0)
    words = (_CapabilityWord * 2)(_CapabilityWord(only, only, only), _CapabilityWord(0, 0, 0))
    _checked(_libc.capset(ctypes.byref(header), ctypes.byref(words)), "capset")
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)


def die_with_parent(parent_pid: int, death_signal: int) -> None:
    """Have the kernel send `death_signal` to this process when `parent_pid`, its parent, is gone.

    The kernel means the parent's thread that started us: a parent starts children from a thread that lives as long as
    they should. A change of account clears this, so it comes after.
    """
    _prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> int:
    """Prepare and execute; returns only when that failed."""
    parent_pid, death_signal, uid, gid, search = (int(argument) for argument in arguments[:5])
    command = arguments[6:]
    try:
        # A shell starts its background jobs with these ignored, and that would be inherited for ever.
        for number in (signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        if uid >= 0:
            _become(uid, gid, keep_search=search == 1)
        die_with_parent(parent_pid, death_signal)
    except OSError as error:
        sys.stderr.write(f"cannot prepare {command[0]}: {error}\n")
        return CANNOT_PREPARE
    try:
        os.execve(command[0], command, os.environ)  # noqa: S606 (what this program is for)
    except OSError as error:
        sys.stderr.write(f"cannot execute {command[0]}: {error}\n")
    return CANNOT_EXECUTE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
