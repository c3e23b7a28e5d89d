"""A short run of the fuzzer against a mesh of its own: it pauses, disables and floods what other tests rely on."""

import asyncio
import time
from pathlib import Path

import psutil

from tests.fixtures.mesh import RunningMesh
from tests.fuzz.__main__ import SETTINGS, processes_of
from tests.fuzz.campaign import Plan, run_campaign
from tests.fuzz.surface import all_rpcs

INPUTS = 2_500
LIMIT_S = 20.0
SEED = 20


def test_fuzz__hostile_calls_to_every_rpc__break_no_rule(tmp_path: Path) -> None:
    with RunningMesh(tmp_path / "m", settings=SETTINGS) as mesh:
        processes = processes_of(mesh)
        plan = Plan(INPUTS, LIMIT_S, SEED, now=int(time.time()), check_every=1_000)
        report = asyncio.run(run_campaign(mesh.data_dir, processes, plan, tmp_path / "fuzz"))
        assert all(psutil.pid_exists(process.pid) for process in processes.values())
    assert report.findings == {}, "\n".join(report.lines())
    if report.inputs == INPUTS:
        reached = {name for name, _ in report.counts}
        assert {rpc.name for rpc in all_rpcs()} <= reached
    assert report.inputs > INPUTS / 10
