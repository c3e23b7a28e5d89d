"""What counts as noticed: a gate that passes the sources as they are, and holds something against the changed ones."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pytest
from intentmesh.contract_pipeline.acceptances import Acceptance, Acceptances
from intentmesh.contract_pipeline.errors import (
    InvalidMutantError,
    ToolFailedError,
    ToolTimedOutError,
    UnsoundBaselineError,
)
from intentmesh.contract_pipeline.mutation import Mutant, MutationRun, Trial
from intentmesh.contract_pipeline.reports import Finding, GateReport
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY

SOURCE = "pragma solidity ^0.8.0;\ncontract A { function one() external pure returns (uint256) { return 1; } }\n"
MUTANT = Mutant(name="one-is-two", breaks="One is one.", file="src/A.sol", before="return 1;", after="return 2;")
FAULT = Finding("reading", "constant", "A.one", "is not one")


def is_changed(workspace: Workspace) -> bool:
    return (workspace.contracts / MUTANT.file).read_text() != SOURCE


def finds_the_change(workspace: Workspace) -> tuple[Finding, ...]:
    return (FAULT,) if is_changed(workspace) else ()


def finds_always(_: Workspace) -> tuple[Finding, ...]:
    return (FAULT,)


def finds_nothing(_: Workspace) -> tuple[Finding, ...]:
    return ()


def has_no_time_for_the_change(workspace: Workspace) -> tuple[Finding, ...]:
    return (Finding("reading", "time", "A", "was killed", conclusive=False),) if is_changed(workspace) else ()


def times_out_on_the_change(workspace: Workspace) -> tuple[Finding, ...]:
    if is_changed(workspace):
        raise ToolTimedOutError("forge did not end within 900 s")
    return ()


def fails_on_the_change(workspace: Workspace) -> tuple[Finding, ...]:
    if is_changed(workspace):
        raise ToolFailedError("forge test told no results:\nNo space left on device")
    return ()


def fails_always(_: Workspace) -> tuple[Finding, ...]:
    raise ToolFailedError("forge test told no results:\nNo space left on device")


@dataclass(frozen=True)
class ReadingGate:
    """Reads the source instead of asking a tool."""

    look: Callable[[Workspace], tuple[Finding, ...]]
    name: str = "reading"

    def run(self, workspace: Workspace) -> GateReport:
        return GateReport(self.name, self.look(workspace), "read")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """One contract, which compiles in no time."""
    small = Workspace.of(REPOSITORY).copy(tmp_path / "small")
    for file in (*(small.contracts / "src").rglob("*.sol"), *(small.contracts / "test").rglob("*.sol")):
        file.unlink()
    (small.contracts / MUTANT.file).write_text(SOURCE)
    return small


def try_one(
    workspace: Workspace, *looks: Callable[[Workspace], tuple[Finding, ...]], accepted: Acceptances | None = None
) -> Trial:
    gates = [ReadingGate(look) for look in looks]
    run = MutationRun(workspace, gates, accepted or Acceptances((), date(2026, 1, 1)))
    (trial,) = run.run([MUTANT], every_gate=True)
    return trial


def test_mutant__something_is_held_against_it__is_noticed(workspace: Workspace) -> None:
    trial = try_one(workspace, finds_nothing, finds_the_change)
    assert trial.caught_by == (("reading", FAULT.sentence()),)
    assert trial.failed == ()


@pytest.mark.parametrize(
    ("look", "says"), [(times_out_on_the_change, "did not end"), (fails_on_the_change, "told no results")]
)
def test_mutant__the_tool_fails__is_not_noticed_and_the_failure_is_told(
    workspace: Workspace, look: Callable[[Workspace], tuple[Finding, ...]], says: str
) -> None:
    trial = try_one(workspace, look)
    assert not trial.caught
    ((gate, failure),) = trial.failed
    assert gate == "reading"
    assert says in failure


def test_mutant__the_tool_fails_and_the_next_finds_it__is_noticed(workspace: Workspace) -> None:
    assert try_one(workspace, times_out_on_the_change, finds_the_change).caught


def test_mutant__only_time_ran_out__is_not_noticed(workspace: Workspace) -> None:
    trial = try_one(workspace, has_no_time_for_the_change)
    assert not trial.caught
    assert trial.failed == (("reading", "time at A: was killed"),)


def test_sources_as_they_are__with_a_finding__no_mutant_is_tried(workspace: Workspace) -> None:
    with pytest.raises(UnsoundBaselineError, match=r"constant at A\.one"):
        try_one(workspace, finds_always)


def test_sources_as_they_are__finding_is_accepted__are_sound_until_that_expires(workspace: Workspace) -> None:
    entry = Acceptance(
        gate="reading", check="constant", where="A.one", reason="It is one in the end.", expires=date(2026, 1, 1)
    )
    assert not try_one(workspace, finds_always, accepted=Acceptances([entry], date(2026, 1, 1))).caught
    with pytest.raises(UnsoundBaselineError, match="expired"):
        try_one(workspace, finds_always, accepted=Acceptances([entry], date(2026, 1, 2)))


def test_sources_as_they_are__tool_fails__is_told_as_what_it_is(workspace: Workspace) -> None:
    with pytest.raises(ToolFailedError, match="No space left"):
        try_one(workspace, fails_always)


def test_mutant__that_does_not_compile__is_refused(workspace: Workspace) -> None:
    broken = MUTANT.model_copy(update={"after": "return nothing;"})
    run = MutationRun(workspace, [ReadingGate(finds_the_change)], Acceptances((), date(2026, 1, 1)))
    with pytest.raises(InvalidMutantError, match="does not compile"):
        list(run.run([broken], every_gate=False))
