"""A child process that is kept running: it is ready before it counts, started again when it dies, and given up when it
keeps dying.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from intentmesh.embedded.errors import ExitedTooEarlyError, GaveUpError, NotReadyInTimeError, PartFailedError
from intentmesh.embedded.parts import Part
from intentmesh.embedded.probes import Probe
from intentmesh.embedded.process import ChildProcess, ProcessId, ProcessSpec

_log = structlog.get_logger(__name__)

PROBE_TIMEOUT_S = 2.0
FIRST_PROBE_PAUSE_S = 0.01
LONGEST_PROBE_PAUSE_S = 0.2


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When and how often a process that died is started again.

    The pause doubles from `first_pause_s` to `longest_pause_s`; a run that was ready for `steady_after_s` wipes the
    slate. After `most_in_a_row` starts without a steady run the process is given up. 0 never starts it again.
    """

    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    steady_after_s: float = 10.0
    most_in_a_row: int = 10

    def pause_s(self, deaths_in_a_row: int) -> float:
        """How long to wait after the n-th death in a row, n from 1."""
        doublings = min(deaths_in_a_row - 1, 30)
        return min(self.first_pause_s * 2.0**doublings, self.longest_pause_s)


async def _nothing() -> None:
    return None


class SupervisedProcess(Part):
    """A child process as a part of the mesh.

    `prepare` runs before each start of the process, the first included: it may mend what a killed run left behind.
    """

    def __init__(
        self,
        spec: ProcessSpec,
        ready: Probe,
        *,
        ready_within_s: float = 30.0,
        restart: RestartPolicy | None = None,
        prepare: Callable[[], Awaitable[None]] = _nothing,
    ) -> None:
        self._spec = spec
        self._ready = ready
        self._ready_within_s = ready_within_s
        self._restart = restart or RestartPolicy()
        self._prepare = prepare
        self._child: ChildProcess | None = None
        self._keeper: asyncio.Task[PartFailedError] | None = None
        self._is_ready = asyncio.Event()
        self._starts = 0

    @property
    def name(self) -> str:
        return self._spec.name

    @property
    def pid(self) -> ProcessId | None:
        """The process that runs now, if one does."""
        return self._child.pid if self._child is not None and not self._child.has_exited else None

    @property
    def restarts(self) -> int:
        """How often the process was started again since `start`."""
        return max(self._starts - 1, 0)

    async def start(self) -> None:
        """Raises ExitedTooEarlyError or NotReadyInTimeError, with the tail of the log."""
        if self._keeper is not None:
            raise RuntimeError(f"{self.name} is already started")
        self._starts = 0
        try:
            child = await self._start_once()
        except BaseException:
            await self._end_child()
            raise
        self._keeper = asyncio.create_task(self._keep_running(child), name=f"keep {self.name}")

    async def stop(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.wait([keeper])
        await self._end_child()

    async def failed(self) -> PartFailedError:
        if self._keeper is None:
            raise RuntimeError(f"{self.name} is not started")
        return await asyncio.shield(self._keeper)

    async def ready(self) -> None:
        """Wait until the process is ready (again)."""
        await self._is_ready.wait()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process as a fault would. It is started again like after any other death."""
        if self._child is not None:
            self._is_ready.clear()
            self._child.send_signal(number)

    async def _keep_running(self, child: ChildProcess) -> PartFailedError:
        """Start the process again each time it dies. Returns when its restart policy says that it is enough."""
        loop = asyncio.get_running_loop()
        deaths_in_a_row = 0
        while True:
            ready_since = loop.time()
            code = await child.exited()
            self._is_ready.clear()
            failure: PartFailedError = _gave_up(child, deaths_in_a_row + 1)
            _log.warning("part_died", part=self.name, exit_code=code)
            if loop.time() - ready_since >= self._restart.steady_after_s:
                deaths_in_a_row = 0
            while True:
                deaths_in_a_row += 1
                if deaths_in_a_row > self._restart.most_in_a_row:
                    _log.error("part_given_up", part=self.name, reason=str(failure))
                    return failure
                await asyncio.sleep(self._restart.pause_s(deaths_in_a_row))
                try:
                    child = await self._start_once()
                    break
                except PartFailedError as error:
                    failure = error
                    await self._end_child()
            _log.info("part_started_again", part=self.name, process_id=child.pid, deaths_in_a_row=deaths_in_a_row)

    async def _start_once(self) -> ChildProcess:
        await self._prepare()
        child = self._child = ChildProcess.spawn(self._spec)
        self._starts += 1
        await self._wait_until_ready(child)
        self._is_ready.set()
        return child

    async def _wait_until_ready(self, child: ChildProcess) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._ready_within_s
        pause_s = FIRST_PROBE_PAUSE_S
        while not await self._probe():
            if loop.time() > deadline:
                happened = f"was not ready within {self._ready_within_s:g} s"
                raise NotReadyInTimeError(self.name, happened, self._spec.log_file, child.log_tail())
            try:
                async with asyncio.timeout(pause_s):
                    await child.exited()
            except TimeoutError:
                pause_s = min(pause_s * 2, LONGEST_PROBE_PAUSE_S)
        # Asked last: an answer may have come from a stranger on the same port while our process was dying.
        if child.has_exited:
            raise _exited_too_early(child)

    async def _probe(self) -> bool:
        # A dead process is "ready" to be reported; the caller looks.
        if self._child is None or self._child.has_exited:
            return True
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await self._ready()
        except (OSError, TimeoutError):
            return False

    async def _end_child(self) -> None:
        child, self._child = self._child, None
        self._is_ready.clear()
        if child is not None:
            await child.stop()


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _exited_too_early(child: ChildProcess) -> ExitedTooEarlyError:
    happened = f"{_how(child.exit_code)} before it was ready"
    return ExitedTooEarlyError(child.spec.name, happened, child.spec.log_file, child.log_tail())


def _gave_up(child: ChildProcess, deaths: int) -> GaveUpError:
    happened = f"{_how(child.exit_code)}, {deaths} times in a row"
    return GaveUpError(child.spec.name, happened, child.spec.log_file, child.log_tail())
