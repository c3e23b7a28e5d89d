"""`python -m tests.fuzz`: a mesh of its own, a campaign against it, a report. Exit code 1 when something was found."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.fixtures.mesh import RunningMesh
from tests.fuzz.campaign import Plan, replay, run_campaign
from tests.fuzz.inputs import read_inputs
from tests.fuzz.report import Report
from tests.fuzz.surface import SERVICES, Door

REPORTS = Path(__file__).resolve().parents[2] / "build" / "fuzz"
SETTINGS = {
    # Counted as ever, but not reached: behind a limit that is, nothing would be tried any more.
    "requests_per_minute": "10000000",
    "new_intents_per_15_minutes": "10000000",
    "user_intents_per_15_minutes": "10000000",
    "reads_per_minute": "10000000",
    "watches_per_minute": "10000000",
    "registrations_per_minute": "10000000",
    "heartbeats_per_minute": "10000000",
    "heartbeats_per_interval": "10000000",
    "quotes_per_minute": "10000000",
    # Registrations are signed before the campaign and sent in the course of it.
    "registration_window_seconds": "7200",
    # What is kept of the newest events is bounded; here it is full before growth is judged.
    "feed_events_kept": "1000",
    "idle_histories_kept": "50",
}
"""Of the mesh under attack."""


def main(arguments: list[str] | None = None) -> int:
    """Run as told by the command line."""
    options = _parse(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="intentmesh-fuzz-") as folder,
        RunningMesh(Path(folder) / "m", settings=SETTINGS) as mesh,
    ):
        report = asyncio.run(_run(mesh, options))
        if report.findings:
            _keep_logs(mesh, options.folder)
    file = report.write()
    _say("\n".join(report.lines()))
    _say(f"report: {file}")
    return 1 if report.findings else 0


async def _run(mesh: RunningMesh, options: argparse.Namespace) -> Report:
    processes = processes_of(mesh)
    if options.replay is not None:
        return await replay(mesh.data_dir, processes, read_inputs(options.replay), options.folder)
    now = options.now or int(time.time())
    plan = Plan(inputs=options.inputs, seconds=options.seconds, seed=options.seed, now=now)
    return await run_campaign(mesh.data_dir, processes, plan, options.folder, _say)


def processes_of(mesh: RunningMesh) -> dict[Door, psutil.Process]:
    """The process of each server; the gateway's memory is Envoy's own affair."""
    children = mesh.process.children(recursive=True)
    found: dict[Door, psutil.Process] = {}
    for child in children:
        command = child.cmdline()
        if command[-2:-1] != ["serve"]:
            continue
        if command[-1] == "attester":
            door = Door.ATTESTER_2 if Door.ATTESTER_1 in found else Door.ATTESTER_1
        else:
            door = Door(command[-1])
        found[door] = child
    missing = set(SERVICES) - set(found)
    if missing:
        raise LookupError(f"no process of {sorted(missing)}")
    return found


def _keep_logs(mesh: RunningMesh, folder: Path) -> None:
    logs = folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    for log in mesh.data_dir.rglob("*.log"):
        (logs / log.name).write_bytes(log.read_bytes())


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=200_000, help="at most this many (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1_800, help="at most this long (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="what the inputs are made from (default %(default)s)")
    parser.add_argument("--now", type=int, default=0, help="Unix seconds that are signed; 0 is now")
    parser.add_argument("--replay", type=Path, help="send the inputs of this finding instead")
    parser.add_argument("--folder", type=Path, default=REPORTS, help="for findings and the report")
    return parser.parse_args(arguments)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
