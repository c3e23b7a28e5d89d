"""What must have been asked: every `check_` and `invariant_` function that was compiled, and the promised ones by name.

A tool that ran fewer than there are says so by silence only, and nobody else misses one that is gone with its file.
"""

import json
import shutil
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intentmesh.contract_pipeline.errors import ToolFailedError
from intentmesh.contract_pipeline.workspace import Workspace

FILE = Path("test/promises.toml")

_Names = Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z0-9_]+$")], ...], Field(min_length=1)]


class Promises(BaseModel):
    """`test/promises.toml`: names of functions without their prefix."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    proofs: _Names
    invariants: _Names


def load_promises(workspace: Workspace) -> Promises:
    """Raises ToolFailedError."""
    file = workspace.contracts / FILE
    try:
        return Promises.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise ToolFailedError(f"{file} cannot be read: {error}") from error


def forget_compiled_tests(artifacts: Path) -> None:
    """To be called before tests are compiled: forge leaves artifacts of contracts that no source has any more, and
    halmos would go on proving them."""
    for folder in artifacts.glob("*.t.sol"):
        shutil.rmtree(folder)


def compiled_functions(artifacts: Path, prefix: str) -> set[str]:
    """`Contract.function` of the compiled tests, without abstract contracts, whose functions count where inherited.

    Raises ToolFailedError.
    """
    found = set()
    for file in artifacts.glob("*.t.sol/*.json"):
        try:
            content = json.loads(file.read_bytes())
            names = [entry["name"] for entry in content["abi"] if entry["type"] == "function"]
            abstract = content["bytecode"]["object"] == "0x"
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolFailedError(f"{file} is no artifact") from error
        if not abstract:
            found |= {f"{file.stem}.{name}" for name in names if name.startswith(prefix)}
    return found


def missing(ran: Collection[str], compiled: Collection[str], promised: Collection[str], prefix: str) -> Iterator[str]:
    """What did not run: `Contract.name` of compiled functions, `name` of promised ones. `ran` is as `compiled` is."""
    for name in sorted(set(compiled) - set(ran)):
        yield name.replace(f".{prefix}", ".")
    names = {name.rpartition(f".{prefix}")[2] for name in {*ran, *compiled}}
    yield from sorted(set(promised) - names)
