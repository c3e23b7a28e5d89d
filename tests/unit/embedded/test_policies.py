"""Decisions of the embedded parts that need no process: pauses, names, accounts, files between two runs."""

import json
import os
from pathlib import Path

import pytest
from intentmesh.embedded.account import GroupId, UserId, may_walk_to
from intentmesh.embedded.anvil import StateFile
from intentmesh.embedded.data_folder import DataFolder
from intentmesh.embedded.errors import DamagedStateError, DataFolderInUseError, PartFailedError, ProgramNotFoundError
from intentmesh.embedded.postgres import checked_name
from intentmesh.embedded.programs import anvil_program
from intentmesh.embedded.supervision import RestartPolicy

STRANGER = UserId(54321)


def test_pause__after_each_death__doubles_up_to_the_longest() -> None:
    policy = RestartPolicy(first_pause_s=0.1, longest_pause_s=1.0)
    assert [policy.pause_s(deaths) for deaths in range(1, 7)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    assert policy.pause_s(100_000) == 1.0


@pytest.mark.parametrize("name", ["intentmesh", "test_1_2", "_x", "a" * 63])
def test_database_name__that_needs_no_quoting__is_taken(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "a-b", "A", 'a"; DROP DATABASE b', "a" * 64, "a\n"])
def test_database_name__that_would_need_quoting__is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not a database name"):
        checked_name(name)


def test_walk__through_open_folders__is_for_everybody() -> None:
    assert may_walk_to(Path("/usr/bin/env"), STRANGER, GroupId(STRANGER))


def test_walk__through_a_closed_folder__is_for_its_owner_only(tmp_path: Path) -> None:
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.parent.chmod(0o700)
    tmp_path.parent.chmod(0o755)
    assert may_walk_to(inner, UserId(os.getuid()), GroupId(os.getgid()))
    assert not may_walk_to(inner, STRANGER, GroupId(STRANGER))


def test_walk__through_a_folder_of_its_group__follows_the_group_bits(tmp_path: Path) -> None:
    closed, inner = tmp_path, tmp_path / "inner"
    closed.chmod(0o701)
    # The group's bits decide for its members, even where others may do more.
    assert not may_walk_to(inner, STRANGER, GroupId(closed.stat().st_gid))


def test_state__that_is_whole__gets_a_spare(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json")
    state.mend()
    assert list(tmp_path.iterdir()) == []
    state.path.write_text(json.dumps({"block": 7}))
    state.mend()
    state.path.write_text('{"block": 8')
    state.mend()
    assert json.loads(state.path.read_text()) == {"block": 7}


def test_state__torn_without_a_spare__is_not_taken_for_an_empty_chain(tmp_path: Path) -> None:
    state = StateFile(tmp_path / "state.json")
    state.path.write_text('{"block": 8')
    with pytest.raises(DamagedStateError, match="torn"):
        state.mend()
    assert state.path.read_text() == '{"block": 8'


def test_data_folder__in_use__refuses_a_second_and_names_the_first(tmp_path: Path) -> None:
    with DataFolder(tmp_path / "mesh") as folder:
        with pytest.raises(DataFolderInUseError, match=f"process {os.getpid()}"), DataFolder(folder.path):
            pass
        assert folder.log_file("x").parent.is_dir()
    with DataFolder(folder.path):
        pass


def test_anvil__named_by_the_environment__is_that_program(tmp_path: Path) -> None:
    program = tmp_path / "my-anvil"
    program.touch(mode=0o755)
    assert anvil_program({"INTENTMESH_ANVIL": str(program)}, tmp_path) == program


def test_anvil__named_but_absent__is_not_replaced_by_another(tmp_path: Path) -> None:
    on_path = tmp_path / "anvil"
    on_path.touch(mode=0o755)
    with pytest.raises(ProgramNotFoundError, match="INTENTMESH_ANVIL"):
        anvil_program({"INTENTMESH_ANVIL": str(tmp_path / "gone"), "PATH": str(tmp_path)}, tmp_path)


def test_anvil__nowhere__tells_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match="make contracts"):
        anvil_program({"PATH": str(tmp_path)}, tmp_path)


def test_anvil__on_path__is_found(tmp_path: Path) -> None:
    program = tmp_path / "anvil"
    program.touch(mode=0o755)
    assert anvil_program({"PATH": str(tmp_path)}, tmp_path) == program


def test_failure__of_a_silent_part__says_so() -> None:
    assert "wrote nothing" in str(PartFailedError("postgres", "died", Path("postgres.log"), "\n"))
