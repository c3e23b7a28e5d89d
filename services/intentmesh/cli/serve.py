"""`intentmesh serve SERVICE`: one service, as a container runs it."""

import importlib

import click

# Each has a module `intentmesh.<name>.bootstrap` with `main()`. Named here, not imported: an image holds one of them.
SERVICES = ("intake", "solver_registry", "executor", "status", "attester", "solver")


@click.command(name="serve")
@click.argument("service", type=click.Choice(SERVICES))
def command(service: str) -> None:
    """Run SERVICE until SIGTERM, then drain.

    Configured by INTENTMESH_… variables and by the TOML file that INTENTMESH_CONFIG_FILE names; a wrong setting ends
    the command with exit code 78 and one line that says which.
    """
    importlib.import_module(f"intentmesh.{service}.bootstrap").main()
