"""Any one service dies while intents are on their way; the mesh starts it again and nothing is lost or done twice."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.fixtures.mesh import RunningMesh, command_line

SERVICES = ("intake", "solver_registry", "executor", "status", "attester", "solver")


@pytest.fixture(scope="module")
def victim() -> Iterator[RunningMesh]:
    """A mesh that may be hurt."""
    with tempfile.TemporaryDirectory(prefix="intentmesh-kills-") as folder, RunningMesh(Path(folder) / "m") as mesh:
        yield mesh


@pytest.mark.parametrize("service", SERVICES)
def test_sigkill__service_dies_while_an_intent_is_executed__intent_settles_all_the_same(
    victim: RunningMesh, service: str
) -> None:
    before = _user_usdc(victim)
    intent_id = victim.cli(
        *("submit", "--sell", "USDC:40", "--buy", "USDC:39.5", "--to", "beta", "--scheme", "erc3009")
    ).stdout.strip()
    watch = subprocess.Popen(
        command_line("watch", intent_id, "--json", "--data-dir", str(victim.data_dir)),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watch.stdout is not None
    dead: psutil.Process | None = None
    sequences = []
    for line in watch.stdout:
        event = json.loads(line)
        sequences.append(int(event["sequence"]))
        if dead is None and event["phase"] in ("INTENT_PHASE_AWARDED", "INTENT_PHASE_OPENED"):
            dead = victim.service(service)
            dead.kill()
    watch.stdout.close()

    assert watch.wait() == 0
    assert dead is not None
    assert sequences == list(range(1, len(sequences) + 1)), "a watcher sees every event once, whatever dies"
    assert before - _user_usdc(victim) == 40_000_000, "the user paid once"
    assert victim.service(service).pid != dead.pid


def _user_usdc(mesh: RunningMesh) -> int:
    records = [json.loads(line) for line in mesh.cli("balances", "--json").stdout.splitlines()]
    return next(int(r["amount"]) for r in records if (r["who"], r["chain"], r["token"]) == ("user", "alpha", "USDC"))
