"""A child process with everything that belongs to it: its group, its log, its end.

What holds for every child: it leads a session of its own (a Ctrl-C at the terminal reaches us, not it), it writes to
a log file, it gets a signal from the kernel when we are killed, and when its first process ends, the rest of its
group is killed before its pid is given back, so that no signal of ours can ever reach a stranger.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType

from intentmesh.embedded import launch
from intentmesh.embedded.account import Account

ProcessId = NewType("ProcessId", int)

LOG_TAIL_BYTES = 4_000
# A log that has grown beyond this when its process is started is put aside, one generation deep.
LOG_ROTATION_BYTES = 32 * 1024 * 1024
KILL_GRACE_S = 5.0
GROUP_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how it ends."""

    name: str
    command: tuple[str, ...]
    log_file: Path
    # Added to our own environment.
    environment: Mapping[str, str] = field(default_factory=dict)
    working_folder: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    # Sent by the kernel when we are gone. A process that must write something down first gets a gentler one.
    parent_death_signal: signal.Signals = signal.SIGKILL


class ChildProcess:
    """One run of one ProcessSpec. Made by `spawn`, inside a running event loop and on its thread."""

    def __init__(self, spec: ProcessSpec, process: subprocess.Popen[bytes], log_start: int) -> None:
        self.spec = spec
        self.pid = ProcessId(process.pid)
        self._process = process
        self._log_start = log_start
        self._exited = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._pidfd, self._on_exit)

    @classmethod
    def spawn(cls, spec: ProcessSpec) -> "ChildProcess":
        """Start the process. It is running, or about to fail, afterwards; whether it is ready is another question."""
        _put_aside_long_log(spec.log_file)
        with spec.log_file.open("ab") as log:
            process = subprocess.Popen(
                _launch_command(spec),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=spec.working_folder,
                env={**os.environ, **spec.environment},
                start_new_session=True,
            )
            return cls(spec, process, log.tell())

    @property
    def has_exited(self) -> bool:
        """Whether the process has ended and was collected."""
        return self._exited.is_set()

    @property
    def exit_code(self) -> int | None:
        """The exit code, the negative number of the signal that ended it, or None while it runs."""
        return self._process.returncode

    async def exited(self) -> int:
        """Wait for the end; returns the exit code (negative: the signal)."""
        await self._exited.wait()
        return self._process.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the first process of the group, if it still runs."""
        if not self.has_exited:
            signal.pidfd_send_signal(self._pidfd, number)

    async def stop(self) -> int:
        """End the process and its group: its stop signal, its grace, then SIGKILL. Returns the exit code.

        When this is cancelled the group is killed at once: nothing is left behind either way.
        """
        try:
            self.send_signal(self.spec.stop_signal)
            async with asyncio.timeout(self.spec.stop_grace_s):
                await self._exited.wait()
        except TimeoutError:
            self._kill_group()
            async with asyncio.timeout(KILL_GRACE_S):
                await self._exited.wait()
        finally:
            if not self.has_exited:
                self._kill_group()
                self._on_exit()
        await self._group_is_gone()
        return self._process.returncode

    def log_tail(self) -> str:
        """The last lines this run wrote, at most LOG_TAIL_BYTES."""
        with self.spec.log_file.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, end - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", errors="replace")

    def _on_exit(self) -> None:
        """Collect the process. Until `wait` returns its pid, and so its group's number, cannot be given to another."""
        if self.has_exited:
            return
        self._loop.remove_reader(self._pidfd)
        self._kill_group()
        self._process.wait(KILL_GRACE_S)
        os.close(self._pidfd)
        self._exited.set()

    def _kill_group(self) -> None:
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    async def _group_is_gone(self) -> None:
        """Wait until whoever inherited the killed rest of the group has collected it; not for ever, if nobody does."""
        deadline = self._loop.time() + KILL_GRACE_S
        while self._loop.time() < deadline:
            try:
                os.killpg(self.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            await asyncio.sleep(GROUP_POLL_S)


def _launch_command(spec: ProcessSpec) -> list[str]:
    program = shutil.which(spec.command[0]) or spec.command[0]
    uid, gid, search = (-1, -1, 0) if spec.account is None else _account_numbers(spec.account)
    numbers = (os.getpid(), spec.parent_death_signal.value, uid, gid, search)
    interpreter = (sys.executable, "-I", "-S", launch.__file__)
    return [*interpreter, *map(str, numbers), "--", program, *spec.command[1:]]


def _account_numbers(account: Account) -> tuple[int, int, int]:
    return account.uid, account.gid, int(account.keeps_search)


def _put_aside_long_log(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LOG_ROTATION_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
