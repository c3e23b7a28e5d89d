"""The demo, with one service killed at one moment of it: it ends well all the same, and every balance is exact.

Run by `make faults`; `make test` has the shorter form in tests/acceptance/test_kills.py.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from tests.fixtures.mesh import command_line

SERVICES = ("intake", "solver_registry", "executor", "status", "attester", "solver")
MOMENTS = ("ACCEPTED", "AUCTION", "AWARDED", "OPENED", "FILLED", "CONFIRMED")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("service", SERVICES)
def test_demo__service_is_killed_at_a_moment__ends_well(service: str, moment: str, tmp_path: Path) -> None:
    killed: int | None = None
    last: dict[str, object] = {}
    errors = tmp_path / "errors"
    with errors.open("w") as file, _demo(file) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            last = json.loads(line)
            if killed is None and last["event"] == "status" and last["phase"] == f"INTENT_PHASE_{moment}":
                killed = _kill(demo.pid, service)
        demo.wait(timeout=60)

    assert killed is not None
    assert demo.returncode == 0, errors.read_text()
    assert last["ok"] is True


@contextmanager
def _demo(errors: IO[str]) -> Iterator["subprocess.Popen[str]"]:
    """One that does not outlive the test, whatever becomes of it."""
    demo = subprocess.Popen(command_line("demo", "--json"), stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield demo
    finally:
        if demo.poll() is None:
            demo.terminate()
            demo.wait(timeout=60)
        if demo.stdout is not None:
            demo.stdout.close()


def _kill(demo_pid: int, service: str) -> int:
    children = psutil.Process(demo_pid).children(recursive=True)
    victim = next(child for child in children if child.cmdline()[-2:] == ["serve", service])
    victim.kill()
    return victim.pid
