"""Clients that share nothing with us but the protos and the standards."""

import json
import subprocess
from pathlib import Path

from tests.fixtures.mesh import RunningMesh

REPOSITORY = Path(__file__).resolve().parents[2]
GRPCURL = REPOSITORY / ".venv" / "bin" / "grpcurl"
JAVASCRIPT = REPOSITORY / "tests" / "acceptance" / "js"


def test_grpc_js_client__order_signed_by_viem__is_watched_to_settlement(mesh: RunningMesh) -> None:
    run = _node("submit_and_watch.mjs", str(mesh.data_dir / "endpoints.json"))
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(run.stdout.splitlines()[-1])
    assert (result["status"], result["phase"]) == ("INTENT_STATUS_COMPLETED", "INTENT_PHASE_SETTLED")


def test_golden_vectors__viem__agrees_with_every_value() -> None:
    run = _node("golden.mjs")
    assert run.returncode == 0, run.stdout + run.stderr
    assert " 0 different" in run.stdout


def test_grpcurl__through_the_gateway__lists_and_describes_all_services(mesh: RunningMesh) -> None:
    listed = set(_grpcurl(mesh, "list").split())
    public = {"IntakeService", "SolverRegistryService", "ExecutorService", "StatusService"}
    assert {f"intentmesh.v1.{name}" for name in public} <= listed
    for name in public:
        assert "rpc " in _grpcurl(mesh, "describe", f"intentmesh.v1.{name}")


def test_grpcurl__get_intent_status__answers(mesh: RunningMesh) -> None:
    intent_id = mesh.cli("submit", "--sell", "USDC:20", "--buy", "WETH:0.0098").stdout.strip()
    answer = _grpcurl(
        mesh, "intentmesh.v1.StatusService/GetIntentStatus", data={"intent_id": intent_id, "min_sequence": "1"}
    )
    assert json.loads(answer)["intent_id"] == intent_id


def _grpcurl(mesh: RunningMesh, *words: str, data: dict[str, str] | None = None) -> str:
    options = ["-d", json.dumps(data)] if data is not None else []
    command = [str(GRPCURL), "-plaintext", *options, mesh.endpoints["gateway"], *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def _node(script: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["node", str(JAVASCRIPT / script), *arguments], capture_output=True, text=True, timeout=120, check=False
    )
