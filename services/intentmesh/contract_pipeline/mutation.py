"""Tests of the tests: contracts with one mistake each, every one of which some gate has to notice.

`contracts/test/mutants.toml` holds them, as the text that stands in a source and the text to put in its place:

    [[mutant]]
    name = "refund-early"
    breaks = "A refund waits for the order's expiry."
    file = "src/InputSettlerEscrow.sol"
    before = "block.timestamp > order.expires"
    after = "block.timestamp >= order.expires"
"""

import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from intentmesh.contract_pipeline.acceptances import Acceptances
from intentmesh.contract_pipeline.errors import InvalidMutantError, ToolFailedError
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.gates.formal import FormalGate
from intentmesh.contract_pipeline.gates.invariants import SHORT, InvariantGate
from intentmesh.contract_pipeline.gates.model_checking import ModelCheckingGate
from intentmesh.contract_pipeline.gates.static_analysis import StaticAnalysisGate
from intentmesh.contract_pipeline.gates.unit_tests import UnitTestGate
from intentmesh.contract_pipeline.workspace import Workspace

FILE = Path("contracts/test/mutants.toml")
BUILD_TIMEOUT_SECONDS = 300.0

_Text = Annotated[str, StringConstraints(min_length=1)]


class Mutant(BaseModel):
    """One mistake. `before` stands in `file` exactly once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
    breaks: _Text
    file: Annotated[str, StringConstraints(pattern=r"^src/[A-Za-z0-9/]+\.sol$")]
    before: _Text
    after: str


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    mutant: Annotated[tuple[Mutant, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one mutant: which of the gates that were asked noticed it, and by what."""

    mutant: Mutant
    asked: tuple[str, ...]
    # Gate and the first thing it found.
    caught_by: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def caught(self) -> bool:
        return bool(self.caught_by)


def load_mutants(repository: Path) -> tuple[Mutant, ...]:
    """Raises InvalidMutantError."""
    file = repository / FILE
    try:
        mutants = _File.model_validate(tomllib.loads(file.read_text(encoding="utf-8"))).mutant
    except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
        raise InvalidMutantError(f"{file} cannot be read: {error}") from error
    if len({mutant.name for mutant in mutants}) != len(mutants):
        raise InvalidMutantError(f"{file}: two mutants have one name")
    return mutants


def mutation_gates() -> tuple[Gate, ...]:
    """Those that look for mistakes, at the length of everyday runs, cheap ones first."""
    return (
        UnitTestGate(profile="default"),
        StaticAnalysisGate(),
        InvariantGate(SHORT),
        ModelCheckingGate(),
        FormalGate(),
    )


class MutationRun:
    """Tries mutants one after the other in one copy of the workspace, so that only what changed compiles again."""

    def __init__(self, workspace: Workspace, gates: Sequence[Gate], acceptances: Acceptances) -> None:
        self._workspace = workspace
        self._gates = gates
        self._acceptances = acceptances

    def run(self, mutants: Sequence[Mutant], *, every_gate: bool) -> Iterator[Trial]:
        """One trial per mutant; unless `every_gate`, the first gate that notices ends it.

        Raises InvalidMutantError, ToolMissingError.
        """
        with tempfile.TemporaryDirectory(prefix="intentmesh-mutants-") as folder:
            copy = self._workspace.copy(Path(folder) / "copy", with_build=True)
            for mutant in mutants:
                with _changed(copy, mutant):
                    yield self._try(copy, mutant, every_gate)

    def _try(self, workspace: Workspace, mutant: Mutant, every_gate: bool) -> Trial:
        began = time.monotonic()
        _require_compiles(workspace, mutant)
        asked: list[str] = []
        caught_by: list[tuple[str, str]] = []
        for gate in self._gates:
            asked.append(gate.name)
            noticed = self._noticed(gate, workspace)
            if noticed is not None:
                caught_by.append((gate.name, noticed))
                if not every_gate:
                    break
        _forget_failures(workspace)
        return Trial(mutant, tuple(asked), tuple(caught_by), time.monotonic() - began)

    def _noticed(self, gate: Gate, workspace: Workspace) -> str | None:
        """What the gate holds against these sources, None when nothing."""
        try:
            report = self._acceptances.apply(gate.run(workspace))
        except ToolFailedError as error:
            # A mutant that makes a set-up fail tells no test by name, and is noticed all the same.
            return str(error).partition("\n")[0]
        return report.findings[0].sentence() if report.findings else None


@contextmanager
def _changed(workspace: Workspace, mutant: Mutant) -> Iterator[None]:
    file = workspace.contracts / mutant.file
    original = file.read_text(encoding="utf-8") if file.exists() else ""
    times = original.count(mutant.before)
    if times != 1:
        fault = f"its text stands {times} times in {mutant.file}, not once: adapt {FILE}"
        raise InvalidMutantError(f"mutant {mutant.name}: {fault}")
    file.write_text(original.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(original, encoding="utf-8")


def _require_compiles(workspace: Workspace, mutant: Mutant) -> None:
    completed = workspace.run(workspace.forge(), ("build", "--skip", "test"), timeout_seconds=BUILD_TIMEOUT_SECONDS)
    if completed.status != 0:
        raise InvalidMutantError(f"mutant {mutant.name} does not compile, so it tests nothing:\n{completed.tail}")


def _forget_failures(workspace: Workspace) -> None:
    """Forge tries failures of earlier runs first, and those of one mutant say nothing of the next."""
    for folder in ("fuzz", "invariant"):
        shutil.rmtree(workspace.root / "build" / "forge-cache" / folder, ignore_errors=True)
