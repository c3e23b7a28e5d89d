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
from intentmesh.contract_pipeline.errors import InvalidMutantError, ToolFailedError, UnsoundBaselineError
from intentmesh.contract_pipeline.gates import Gate
from intentmesh.contract_pipeline.gates.formal import FormalGate
from intentmesh.contract_pipeline.gates.invariants import SHORT, InvariantGate
from intentmesh.contract_pipeline.gates.model_checking import ModelCheckingGate
from intentmesh.contract_pipeline.gates.static_analysis import StaticAnalysisGate
from intentmesh.contract_pipeline.gates.unit_tests import SHORT_FUZZING, UnitTestGate
from intentmesh.contract_pipeline.reports import Finding
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
    # Gate and why it came to no conclusion. That may be the mutant's doing or the machine's, so it does not count.
    failed: tuple[tuple[str, str], ...]
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
        UnitTestGate(SHORT_FUZZING),
        StaticAnalysisGate(),
        InvariantGate(SHORT),
        ModelCheckingGate(),
        FormalGate(),
    )


class MutationRun:
    """Tries mutants one after the other in one copy of the workspace, so that only what changed compiles again.

    A gate is asked about the sources as they are before it is asked about its first mutant.
    """

    def __init__(self, workspace: Workspace, gates: Sequence[Gate], acceptances: Acceptances) -> None:
        self._workspace = workspace
        self._gates = gates
        self._acceptances = acceptances
        self._sound: set[int] = set()

    def run(self, mutants: Sequence[Mutant], *, every_gate: bool) -> Iterator[Trial]:
        """One trial per mutant; unless `every_gate`, the first gate that notices ends it.

        Raises InvalidMutantError, UnsoundBaselineError, ToolMissingError; ToolFailedError when a gate cannot even
        judge the sources as they are.
        """
        with tempfile.TemporaryDirectory(prefix="intentmesh-mutants-") as folder:
            copy = self._workspace.copy(Path(folder) / "copy", with_build=True)
            for mutant in mutants:
                yield self._try(copy, mutant, every_gate)

    def _try(self, workspace: Workspace, mutant: Mutant, every_gate: bool) -> Trial:
        _require_fits(workspace, mutant)
        compiles = False
        asked: list[str] = []
        caught_by: list[tuple[str, str]] = []
        failed: list[tuple[str, str]] = []
        seconds = 0.0
        for gate in self._gates:
            self._require_sound(gate, workspace)
            asked.append(gate.name)
            with _changed(workspace, mutant):
                # Not taken back before a gate is asked: what is compiled here need not be compiled again for it.
                if not compiles:
                    _require_compiles(workspace, mutant)
                    compiles = True
                began = time.monotonic()
                noticed, failure = self._ask(gate, workspace)
            _forget_failures(workspace)
            seconds += time.monotonic() - began
            if noticed is not None:
                caught_by.append((gate.name, noticed))
            elif failure is not None:
                failed.append((gate.name, failure))
            if caught_by and not every_gate:
                break
        return Trial(mutant, tuple(asked), tuple(caught_by), tuple(failed), seconds)

    def _require_sound(self, gate: Gate, workspace: Workspace) -> None:
        if id(gate) in self._sound:
            return
        findings = self._findings(gate, workspace)
        if findings:
            fault = f"{gate.name} finds something in the sources without any mutant: {findings[0].sentence()}"
            raise UnsoundBaselineError(f"{fault}; run `intentmesh contracts audit` first")
        self._sound.add(id(gate))

    def _ask(self, gate: Gate, workspace: Workspace) -> tuple[str | None, str | None]:
        """What the gate holds against these sources, and why it could not say all it should."""
        try:
            findings = self._findings(gate, workspace)
        except ToolFailedError as error:
            return None, str(error).partition("\n")[0]
        held = next((finding.sentence() for finding in findings if finding.conclusive), None)
        unclear = next((finding.sentence() for finding in findings if not finding.conclusive), None)
        return held, unclear

    def _findings(self, gate: Gate, workspace: Workspace) -> tuple[Finding, ...]:
        return self._acceptances.apply(gate.run(workspace)).findings


@contextmanager
def _changed(workspace: Workspace, mutant: Mutant) -> Iterator[None]:
    file = workspace.contracts / mutant.file
    original = file.read_text(encoding="utf-8")
    file.write_text(original.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(original, encoding="utf-8")


def _require_fits(workspace: Workspace, mutant: Mutant) -> None:
    file = workspace.contracts / mutant.file
    times = file.read_text(encoding="utf-8").count(mutant.before) if file.exists() else 0
    if times != 1:
        fault = f"its text stands {times} times in {mutant.file}, not once: adapt {FILE}"
        raise InvalidMutantError(f"mutant {mutant.name}: {fault}")


def _require_compiles(workspace: Workspace, mutant: Mutant) -> None:
    # With the tests first: gates run them, and both at once take the compiler less than one after the other. A mutant
    # that only the tests do not fit is valid, and for the gates to judge.
    for scope in ((), ("--skip", "test")):
        completed = workspace.run(workspace.forge(), ("build", *scope), timeout_seconds=BUILD_TIMEOUT_SECONDS)
        if completed.status == 0:
            return
    raise InvalidMutantError(f"mutant {mutant.name} does not compile, so it tests nothing:\n{completed.tail}")


def _forget_failures(workspace: Workspace) -> None:
    """Forge tries failures of earlier runs first, and those of one mutant say nothing of the next."""
    for folder in ("fuzz", "invariant"):
        shutil.rmtree(workspace.root / "build" / "forge-cache" / folder, ignore_errors=True)
