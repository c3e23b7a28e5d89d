"""`intentmesh up` and the commands beside it, as people and scripts use them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tests.fixtures.mesh import RunningMesh, command_line, intentmesh


def test_submit_pipe_watch__a_swap__is_followed_to_settlement(mesh: RunningMesh) -> None:
    submit = subprocess.Popen(
        command_line("submit", "--sell", "USDC:100", "--buy", "WETH:0.0498", "--data-dir", str(mesh.data_dir)),
        stdout=subprocess.PIPE,
    )
    watch = subprocess.run(
        command_line("watch", "--json", "--data-dir", str(mesh.data_dir)),
        stdin=submit.stdout,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert submit.stdout is not None
    submit.stdout.close()
    assert submit.wait() == 0
    assert watch.returncode == 0, watch.stderr
    events = [json.loads(line) for line in watch.stdout.splitlines()]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    phases = [event["phase"] for event in events]
    assert phases[0] == "INTENT_PHASE_ACCEPTED"
    assert phases[-1] == "INTENT_PHASE_SETTLED"


def test_order_new_submit_status_list__bridge_by_erc3009__shows_solver_transactions_and_gas(mesh: RunningMesh) -> None:
    made = mesh.cli(
        "order", "new", "--sell", "USDC:50", "--buy", "USDC:49.5", "--to", "beta", "--scheme", "erc3009", "--json"
    )
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    submitted = mesh.cli("submit", "-", "--json", stdin=made.stdout)
    answer = json.loads(submitted.stdout)
    assert answer["intent_id"] == document["intent_id"]
    again = json.loads(mesh.cli("submit", "-", "--json", stdin=made.stdout).stdout)
    assert (again["intent_id"], again["created"]) == (answer["intent_id"], False)

    assert mesh.cli("watch", answer["intent_id"]).returncode == 0
    intent = json.loads(mesh.cli("status", answer["intent_id"], "--json").stdout)
    assert intent["status"] == "INTENT_STATUS_COMPLETED"
    kinds = {transaction["kind"] for transaction in intent["execution"]["transactions"]}
    assert {"TRANSACTION_KIND_OPEN", "TRANSACTION_KIND_FILL", "TRANSACTION_KIND_FINALISE"} <= kinds
    chains = {transaction["chain_id"] for transaction in intent["execution"]["transactions"]}
    assert chains == {"31337", "31338"}
    assert int(intent["execution"]["gas_used"]) > 100_000
    listed = [json.loads(line)["intent_id"] for line in mesh.cli("list", "--json").stdout.splitlines()]
    assert answer["intent_id"] in listed
    for transaction in intent["execution"]["transactions"]:
        served = mesh.cli("list", "--transaction", transaction["hash"], "--json").stdout.splitlines()
        assert [json.loads(line)["intent_id"] for line in served] == [answer["intent_id"]]


def test_solvers_and_balances__running_mesh__are_shown(mesh: RunningMesh) -> None:
    solvers = [json.loads(line) for line in mesh.cli("solvers", "--json").stdout.splitlines()]
    assert [solver["state"] for solver in solvers] == ["SOLVER_STATE_ACTIVE"]
    balances = [json.loads(line) for line in mesh.cli("balances", "--json").stdout.splitlines()]
    assert {(one["chain"], one["token"]) for one in balances} == {
        (chain, token) for chain in ("alpha", "beta") for token in ("USDC", "WETH", "ETH")
    }
    plain = mesh.cli("solvers").stdout
    assert "ACTIVE" in plain
    assert "\x1b" not in plain, "no colours where there is no terminal"


def test_submit__what_cannot_be_served__is_refused_with_reason_and_exit_code_1(mesh: RunningMesh) -> None:
    swap_for_itself = mesh.cli("submit", "--sell", "USDC:100", "--buy", "USDC:99", "--fill-window", "-10")
    assert swap_for_itself.returncode == 1
    assert "INSUFFICIENT_VALID_TO" in swap_for_itself.stderr
    assert "Traceback" not in swap_for_itself.stderr


def test_commands__no_mesh__say_how_to_start_one(tmp_path: Path) -> None:
    refused = intentmesh("list", "--data-dir", str(tmp_path))
    assert refused.returncode == 1
    assert "intentmesh up" in refused.stderr


def test_second_start__same_folder__continues_where_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "mesh"
    with RunningMesh(folder) as first:
        intent_id = first.cli("submit", "--sell", "USDC:100", "--buy", "WETH:0.0498").stdout.strip()
        assert first.cli("watch", intent_id).returncode == 0
        before = _balances(first)
        contracts = [chain["contracts"] for chain in first.endpoints["chains"]]
        ports = _listening(first.process)
        assert ports
    assert not (folder / "endpoints.json").exists()
    assert _listening_anywhere() & ports == set()
    with RunningMesh(folder) as second:
        status = json.loads(second.cli("status", intent_id, "--json").stdout)
        assert status["status"] == "INTENT_STATUS_COMPLETED"
        assert [chain["contracts"] for chain in second.endpoints["chains"]] == contracts
        assert _balances(second) == before
        later = second.cli("submit", "--sell", "USDC:10", "--buy", "USDC:9.8", "--to", "beta").stdout.strip()
        assert second.cli("watch", later).returncode == 0


def _balances(mesh: RunningMesh) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in mesh.cli("balances", "--json").stdout.splitlines()]
    return [record for record in records if record["token"] != "ETH"]


def _listening(process: psutil.Process) -> set[int]:
    processes = [process, *process.children(recursive=True)]
    return {
        connection.laddr.port
        for one in processes
        for connection in one.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }


def _listening_anywhere() -> set[int]:
    return {c.laddr.port for c in psutil.net_connections(kind="tcp") if c.status == psutil.CONN_LISTEN}
