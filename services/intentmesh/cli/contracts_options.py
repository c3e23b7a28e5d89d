"""What the commands under `intentmesh contracts` share."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from intentmesh.contract_pipeline.acceptances import Acceptances, load_acceptances
from intentmesh.contract_pipeline.errors import InvalidNetworksError, PipelineError
from intentmesh.contract_pipeline.networks import NetworkTarget, load_networks
from intentmesh.embedded.programs import REPOSITORY

ACCEPTANCES_FILE = Path("contracts/accepted-findings.toml")
NETWORKS_FILE = Path("contracts/networks.toml")
DEFAULT_DATA_DIR = Path("build/deployments")

R = TypeVar("R")

repository_option = click.option(
    "--repository",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=REPOSITORY,
    help="Folder that holds contracts/ and build/; default: the one this command is installed from.",
)
network_option = click.option("--network", "name", required=True, help="A network of the file, such as testnet.")
networks_option = click.option(
    "--networks",
    "networks_file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="TOML file of networks; default: contracts/networks.toml of the repository.",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    help="Where records, bundles and the state of local chains are kept.",
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


def followers_of(repository: Path, networks_file: Path | None, name: str) -> tuple[str, ...]:
    """The networks of the file that come after this one. Raises InvalidNetworksError."""
    networks = load_networks(networks_file or repository / NETWORKS_FILE)
    return tuple(other for other, target in networks.items() if target.after == name)


def target_of(repository: Path, networks_file: Path | None, name: str) -> NetworkTarget:
    """One network of the file. Raises InvalidNetworksError."""
    file = networks_file or repository / NETWORKS_FILE
    networks = load_networks(file)
    if name not in networks:
        raise InvalidNetworksError(f"{file} has no network {name!r}; it has {', '.join(networks)}")
    return networks[name]
