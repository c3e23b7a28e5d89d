"""How the gates' programs are run."""

from pathlib import Path

import pytest
from intentmesh.contract_pipeline.workspace import Workspace
from intentmesh.embedded.programs import REPOSITORY


def variables(tmp_path: Path, **environment: str) -> dict[str, str]:
    (tmp_path / "contracts").mkdir()
    workspace = Workspace(tmp_path, REPOSITORY)
    completed = workspace.run(Path("/usr/bin/env"), ("-0",), timeout_seconds=10, environment=environment)
    return dict(pair.split("=", 1) for pair in completed.output.split("\0") if pair)


def test_run__settings_of_the_callers_shell__do_not_reach_forge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOUNDRY_FUZZ_RUNS", "1")
    monkeypatch.setenv("FOUNDRY_PROFILE", "short")
    monkeypatch.setenv("DAPP_TEST_FUZZ_RUNS", "1")
    monkeypatch.setenv("KEPT", "as it is")
    seen = variables(tmp_path, FOUNDRY_PROFILE="audit")
    assert seen["FOUNDRY_PROFILE"] == "audit"
    assert seen["KEPT"] == "as it is"
    assert "FOUNDRY_FUZZ_RUNS" not in seen
    assert "DAPP_TEST_FUZZ_RUNS" not in seen


def test_sources__with_code__are_those_of_no_folder_of_declarations(tmp_path: Path) -> None:
    for name in ("A.sol", "libraries/B.sol", "types/C.sol", "interfaces/D.sol"):
        file = tmp_path / "contracts" / "src" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    assert Workspace.of(tmp_path).sources() == ["A.sol", "libraries/B.sol"]
