"""Child processes: their start, their end, and that nothing of them is left."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from intentmesh.embedded.errors import ExitedTooEarlyError, GaveUpError, NotReadyInTimeError
from intentmesh.embedded.parts import PartStack
from intentmesh.embedded.process import ChildProcess, ProcessSpec
from intentmesh.embedded.supervision import RestartPolicy, SupervisedProcess

from tests.integration.embedded.census import gone, processes_of

# Writes "ready", and ends as told: by SIGTERM, by no signal but SIGKILL, or with a child of its own still running.
OBEDIENT = "import signal, time; print('ready', flush=True); signal.pause()"
DEAF = "import signal; signal.signal(15, signal.SIG_IGN); print('ready', flush=True)\nwhile True: signal.pause()"
PARENT = (
    "import subprocess, sys, signal\n"
    "subprocess.Popen([sys.executable, '-c', 'import signal; signal.signal(15, signal.SIG_IGN); signal.pause()'])\n"
    "print('ready', flush=True); signal.pause()"
)


def spec(tmp_path: Path, program: str, *, name: str = "child", stop_grace_s: float = 5.0) -> ProcessSpec:
    command = (sys.executable, "-c", program)
    return ProcessSpec(name, command, tmp_path / f"{name}.log", stop_grace_s=stop_grace_s)


def says_ready(log_file: Path) -> Callable[[], Awaitable[bool]]:
    async def probe() -> bool:
        return b"ready" in await asyncio.to_thread(log_file.read_bytes)

    return probe


def supervised(
    tmp_path: Path, program: str, restart: RestartPolicy | None = None, ready_within_s: float = 10.0
) -> SupervisedProcess:
    child = spec(tmp_path, program)
    return SupervisedProcess(child, says_ready(child.log_file), ready_within_s=ready_within_s, restart=restart)


async def started(child: ChildProcess) -> ChildProcess:
    async with asyncio.timeout(10):
        while "ready" not in child.log_tail():  # noqa: ASYNC110 (another process)
            await asyncio.sleep(0.01)
    return child


async def test_stop__of_an_obedient_process__is_by_its_signal(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, OBEDIENT)))
    assert await child.stop() == -signal.SIGTERM
    assert processes_of(child.pid) == []


async def test_stop__of_a_deaf_process__kills_it_after_its_grace(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, DEAF, stop_grace_s=0.2)))
    assert await child.stop() == -signal.SIGKILL
    assert processes_of(child.pid) == []


async def test_stop__of_a_process_with_children__leaves_none_of_them(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, PARENT)))
    assert len(processes_of(child.pid)) == 2
    await child.stop()
    assert processes_of(child.pid) == []


async def test_death__of_a_process_with_children__takes_them_along(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, PARENT)))
    os.kill(child.pid, signal.SIGKILL)
    assert await child.exited() == -signal.SIGKILL
    await gone(child.pid)


async def test_stop__cancelled_in_its_grace__kills_at_once(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, DEAF, stop_grace_s=60)))
    stopping = asyncio.create_task(child.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    assert child.exit_code == -signal.SIGKILL
    await gone(child.pid)


async def test_stop__twice__is_harmless(tmp_path: Path) -> None:
    child = await started(ChildProcess.spawn(spec(tmp_path, OBEDIENT)))
    assert await child.stop() == await child.stop()


async def test_signals__a_shell_had_ignored__work_in_the_child(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = await started(ChildProcess.spawn(spec(tmp_path, OBEDIENT)))
    finally:
        signal.signal(signal.SIGINT, before)
    child.send_signal(signal.SIGINT)
    # Python's own handler of SIGINT is installed only when the signal was not ignored at its start.
    assert await asyncio.wait_for(child.exited(), 5) == -signal.SIGINT
    await child.stop()


async def test_program__that_is_not_there__is_told_in_the_log(tmp_path: Path) -> None:
    child = ChildProcess.spawn(ProcessSpec("child", ("/no/such/program",), tmp_path / "child.log"))
    assert await child.exited() == 127
    assert "No such file" in child.log_tail()
    await child.stop()


async def test_log__of_a_second_run__does_not_show_the_first(tmp_path: Path) -> None:
    for text in ("first", "second"):
        child = ChildProcess.spawn(spec(tmp_path, f"print('{text}')"))
        await child.exited()
    assert child.log_tail() == "second\n"
    assert (tmp_path / "child.log").read_text() == "first\nsecond\n"


async def test_start__of_a_process_that_ends__shows_its_last_words(tmp_path: Path) -> None:
    part = supervised(tmp_path, "import sys; sys.exit('no room on the disk')")
    with pytest.raises(ExitedTooEarlyError, match="exit code 1 before it was ready") as failure:
        await part.start()
    assert "no room on the disk" in str(failure.value)
    assert part.pid is None


async def test_start__of_a_process_that_is_never_ready__stops_it(tmp_path: Path) -> None:
    part = supervised(tmp_path, "import signal; print('thinking', flush=True); signal.pause()", ready_within_s=0.5)
    with pytest.raises(NotReadyInTimeError, match=r"within 0\.5 s") as failure:
        await part.start()
    assert "thinking" in str(failure.value)
    assert part.pid is None


async def test_start__cancelled_in_the_middle__leaves_nothing(tmp_path: Path) -> None:
    part = supervised(tmp_path, "import signal; signal.pause()")
    starting = asyncio.create_task(part.start())
    async with asyncio.timeout(5):
        while part.pid is None:  # noqa: ASYNC110 (a process)
            await asyncio.sleep(0.01)
    pid = part.pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert processes_of(pid) == []


async def test_start__cancelled_just_as_its_probe_answers__is_cancelled(tmp_path: Path) -> None:
    """`asyncio.wait_for` of Python 3.11 returns the answer then, and the cancellation is lost."""
    starting: asyncio.Task[None]

    async def not_yet() -> bool:
        asyncio.get_running_loop().call_soon(starting.cancel)
        return False

    child = spec(tmp_path, OBEDIENT)
    part = SupervisedProcess(child, not_yet, ready_within_s=0.5)
    starting = asyncio.create_task(part.start())
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert part.pid is None


async def test_death__of_a_supervised_process__starts_it_again(tmp_path: Path) -> None:
    async with supervised(tmp_path, OBEDIENT) as part:
        first = part.pid
        part.kill()
        await asyncio.wait_for(part.ready(), 10)
        assert part.pid is not None
        assert part.pid != first
        assert part.restarts == 1
        last = part.pid
    assert processes_of(last) == []


async def test_death__again_and_again__is_given_up_with_the_reason(tmp_path: Path) -> None:
    """It is ready the first time only, so that `start` succeeds and every later start does not."""
    marker = tmp_path / "ran"
    program = (
        f"import pathlib, signal, sys\nmarker = pathlib.Path({str(marker)!r})\n"
        "if marker.exists(): sys.exit('the disk is full')\n"
        "marker.touch(); print('ready', flush=True); signal.pause()"
    )
    child = spec(tmp_path, program)

    async def never_twice() -> bool:
        return marker.exists()

    policy = RestartPolicy(first_pause_s=0.01, longest_pause_s=0.02, most_in_a_row=3)
    part = SupervisedProcess(child, never_twice, restart=policy)
    async with part:
        part.kill()
        failure = await asyncio.wait_for(part.failed(), 20)
        assert "the disk is full" in str(failure)
        assert part.restarts == 3
        assert part.pid is None


async def test_death__with_a_policy_that_never_restarts__is_reported_at_once(tmp_path: Path) -> None:
    async with supervised(tmp_path, OBEDIENT, RestartPolicy(most_in_a_row=0)) as part:
        part.kill()
        failure = await asyncio.wait_for(part.failed(), 10)
        assert isinstance(failure, GaveUpError)
        assert "was ended by SIGKILL" in str(failure)


async def test_stack__with_a_part_that_fails__stops_the_others_and_raises_the_failure(tmp_path: Path) -> None:
    good = supervised(tmp_path, OBEDIENT)
    broken_spec = spec(tmp_path, "import sys; sys.exit('broken')", name="broken")
    broken = SupervisedProcess(broken_spec, says_ready(broken_spec.log_file))
    later = supervised(tmp_path, OBEDIENT)
    async with PartStack() as stack:
        await stack.start(good)
        pid = good.pid
        assert pid is not None
        with pytest.raises(ExitedTooEarlyError, match="broken"):
            await stack.start(broken, later)
        assert good.pid == pid
    assert good.pid is None
    assert later.pid is None
    await gone(pid)


async def test_stack__with_a_part_that_gives_up__tells_which(tmp_path: Path) -> None:
    fragile_spec = spec(tmp_path, OBEDIENT, name="fragile")
    fragile = SupervisedProcess(fragile_spec, says_ready(fragile_spec.log_file), restart=RestartPolicy(most_in_a_row=0))
    async with PartStack() as stack:
        await stack.start(supervised(tmp_path, OBEDIENT), fragile)
        waiting = asyncio.create_task(stack.failed())
        fragile.kill()
        assert (await asyncio.wait_for(waiting, 10)).name == "fragile"


async def test_stack__stopped__stops_in_the_reverse_order(tmp_path: Path) -> None:
    order: list[str] = []

    class Recorded(SupervisedProcess):
        async def stop(self) -> None:
            await super().stop()
            order.append(self.name)

    async with PartStack() as stack:
        for name in ("first", "second", "third"):
            child = spec(tmp_path, OBEDIENT, name=name)
            await stack.start(Recorded(child, says_ready(child.log_file)))
    assert order == ["third", "second", "first"]
