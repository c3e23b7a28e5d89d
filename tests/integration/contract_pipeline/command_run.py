"""`intentmesh contracts` with one gate that costs nothing: `command_run.py LOG ARGUMENT…`, as a module.

Everything else is what people run: the networks of the project, chains that are started and kept, real intents.
"""

import sys
from pathlib import Path

from intentmesh.cli.contracts import command

from tests.integration.contract_pipeline.killed_run import LoggedGate

if __name__ == "__main__":
    log, *arguments = sys.argv[1:]
    command.main(arguments, obj=(LoggedGate("looked at", Path(log)),))
