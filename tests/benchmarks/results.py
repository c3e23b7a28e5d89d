"""Where results go: a line of JSON each, and a table for people."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "build" / "bench"


class Results:
    """The results of one benchmark; a new run replaces the file."""

    def __init__(self, name: str) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._file = FOLDER / f"{name}.jsonl"
        self._file.write_text("")

    def add(self, name: str, value: float, unit: str, **params: Any) -> None:
        """One figure; the load of the machine is noted beside it, since others may be working on it."""
        params |= {"load_1m": round(os.getloadavg()[0], 2), "cpus": os.cpu_count()}
        line = {"name": name, "value": round(value, 3), "unit": unit, "params": params}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")
        shown = ", ".join(f"{key} {shown}" for key, shown in params.items())
        print(f"  {name:36} {value:12,.2f} {unit:8} ({shown})", flush=True)  # noqa: T201 (what the program is for)


def pin(pid: int, cpus: set[int]) -> None:
    """Keeps every thread of a process, and what it starts from now on, on these CPUs."""
    subprocess.run(
        ["taskset", "--all-tasks", "--cpu-list", "--pid", ",".join(map(str, cpus)), str(pid)],
        check=True,
        capture_output=True,
    )
