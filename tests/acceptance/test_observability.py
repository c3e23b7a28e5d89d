"""What operators see of an intent: the product's metrics by their names, and one log line for every transition."""

import json
import urllib.request
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from tests.fixtures.mesh import RunningMesh


def test_metrics_and_logs__one_settled_bridge__is_counted_and_every_transition_is_logged(mesh: RunningMesh) -> None:
    submitted = _value(mesh, "intake", "intents_submitted_total", type="BRIDGE", status="accepted")
    resolved = _value(mesh, "executor", "intent_resolution_time_seconds_count", type="BRIDGE")
    intent_id = mesh.cli("submit", "--sell", "USDC:30", "--buy", "USDC:29.5", "--to", "beta").stdout.strip()
    watch = mesh.cli("watch", intent_id, "--json")
    assert watch.returncode == 0
    events = [json.loads(line) for line in watch.stdout.splitlines()]

    assert _value(mesh, "intake", "intents_submitted_total", type="BRIDGE", status="accepted") == submitted + 1
    assert _value(mesh, "executor", "intent_resolution_time_seconds_count", type="BRIDGE") == resolved + 1
    buckets = {labels["le"] for name, labels, _ in _samples(mesh, "executor") if _is_bucket(name, "resolution_time")}
    assert buckets == {"1.0", "5.0", "10.0", "30.0", "60.0", "300.0", "600.0", "1800.0", "+Inf"}
    for chain in ("31337", "31338"):
        assert _value(mesh, "executor", "intent_gas_used_count", type="BRIDGE", chain=chain) >= 1
    assert mesh.cli("submit", "--sell", "USDC:30", "--buy", "USDC:29", "--fill-window", "-60").returncode == 1
    assert _value(mesh, "intake", "intent_errors_total", type="TRANSFER", error_code="INSUFFICIENT_VALID_TO") >= 1
    assert 0 < _only(mesh, "solver_registry", "solver_performance_score") <= 100
    assert 0 < _only(mesh, "solver_registry", "solver_success_rate") <= 1

    logged = [
        line
        for service in ("intake", "executor")
        for line in _log(mesh, service)
        if line.get("event") == "intent_status_update" and line.get("intent_id") == intent_id
    ]
    transitions = [event for event in events if event["type"] == "INTENT_EVENT_TYPE_TRANSITION"]
    assert len(logged) >= len(transitions)
    assert all(len(line["trace_id"]) == 32 for line in logged)


def _samples(mesh: RunningMesh, service: str) -> list[tuple[str, dict[str, str], float]]:
    with urllib.request.urlopen(mesh.endpoints["metrics"][service], timeout=10) as answer:  # noqa: S310 (loopback)
        text = answer.read().decode()
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]


def _value(mesh: RunningMesh, service: str, name: str, **labels: str) -> float:
    """The sample with these labels, whatever others it has; series are present at zero before anything happens."""
    found = [v for n, present, v in _samples(mesh, service) if n == name and labels.items() <= present.items()]
    assert len(found) == 1, f"{name} {labels}: {found}"
    return found[0]


def _only(mesh: RunningMesh, service: str, name: str) -> float:
    (value,) = [value for present, _, value in _samples(mesh, service) if present == name]
    return value


def _is_bucket(name: str, part: str) -> bool:
    return name.endswith("_bucket") and part in name


def _log(mesh: RunningMesh, service: str) -> Iterator[dict[str, str]]:
    for line in (mesh.data_dir / "logs" / f"{service}.log").read_text().splitlines():
        if line.startswith("{"):
            yield json.loads(line)
