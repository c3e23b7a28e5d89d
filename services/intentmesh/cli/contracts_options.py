"""What the commands under `intentmesh contracts` share."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from intentmesh.contract_pipeline.acceptances import Acceptances, load_acceptances
from intentmesh.contract_pipeline.errors import PipelineError
from intentmesh.embedded.programs import REPOSITORY

ACCEPTANCES_FILE = Path("contracts/accepted-findings.toml")

R = TypeVar("R")

repository_option = click.option(
    "--repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=REPOSITORY,
    help="Folder that holds contracts/ and build/; default: the one this command is installed from.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


def acceptances_of(repository: Path) -> Acceptances:
    """The project's accepted findings as of today. Raises InvalidAcceptancesError."""
    return load_acceptances(repository / ACCEPTANCES_FILE, datetime.now(UTC).date())


def told(action: Callable[[], R]) -> R:
    """What the pipeline cannot do becomes one clear message and exit code 1."""
    try:
        return action()
    except PipelineError as error:
        raise click.ClickException(str(error)) from None
