"""The command's root. Subcommands are imported when they are called: a service's image holds only what its service
needs, and `intentmesh --help` must not wait for web3."""

import importlib
import sys

import click
import structlog

# name: (module, what `--help` lists)
COMMANDS = {
    "up": ("intentmesh.cli.up", "run the whole mesh on this machine"),
    "demo": ("intentmesh.cli.demo", "run a mesh, drive three signed intents to settlement, show what happened"),
    "serve": ("intentmesh.cli.serve", "run one service, configured by environment and file"),
    "order": ("intentmesh.cli.order", "make, sign and inspect orders"),
    "submit": ("intentmesh.cli.submit", "submit a signed order"),
    "watch": ("intentmesh.cli.watch", "follow intents to their end"),
    "status": ("intentmesh.cli.status", "show where an intent stands"),
    "list": ("intentmesh.cli.list", "list intents"),
    "solvers": ("intentmesh.cli.solvers", "list solvers and how they do"),
    "balances": ("intentmesh.cli.balances", "show who holds what on which chain"),
    "contracts": ("intentmesh.cli.contracts", "prove, deploy and verify the contracts"),
}


class _LazyGroup(click.Group):
    """A group whose commands are modules that define `command`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        try:
            command = importlib.import_module(module).command
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("intentmesh"):
                raise
            raise click.ClickException(
                f"`intentmesh {cmd_name}` needs the package {error.name!r}: install intentmesh[cli,embedded]"
            ) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.command is not a command")
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="intentmesh")
def main() -> None:
    """Intent Mesh: signed intents in, settled transactions out, every change streamed."""
    # Standard output is for answers, with --json for programs; a service sets up logs of its own.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


if __name__ == "__main__":
    sys.exit(main())
