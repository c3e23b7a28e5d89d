"""Manifests and settings know each other's names: a typing mistake would only show in a cluster."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from intentmesh.attester.settings import AttesterSettings
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.intake.settings import IntakeSettings
from intentmesh.rpc.settings import ENV_PREFIX, ServiceSettings, load_settings
from intentmesh.solver.settings import SolverSettings
from intentmesh.solver_registry.settings import RegistrySettings
from intentmesh.status.settings import StatusSettings

BASE = Path(__file__).resolve().parents[3] / "deploy" / "kubernetes" / "base"
SECRET = "a-secret-of-the-cluster"
DEPLOYMENTS: dict[str, type[ServiceSettings]] = {
    "intake": IntakeSettings,
    "solver-registry": RegistrySettings,
    "status": StatusSettings,
    "executor": ExecutorSettings,
    "attester-1": AttesterSettings,
    "attester-2": AttesterSettings,
    "solver": SolverSettings,
}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_manifest__its_environment__is_what_the_service_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _own(name)
    if name != "solver":
        environment |= _environment(_documents("internal-token-patch.yaml")[0])
    kind = DEPLOYMENTS[name]
    assert environment.keys() <= _variables(kind), "a variable that the service does not know"
    for variable, value in (_shared() | environment).items():
        monkeypatch.setenv(variable, value)
    settings = load_settings(kind)
    assert settings.listen.endswith(":50051")
    assert settings.postgres_dsn == SECRET


def test_manifest__shared_environment__is_known_to_some_service() -> None:
    assert _shared().keys() <= {variable for kind in DEPLOYMENTS.values() for variable in _variables(kind)}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_manifest__whole_network_of_proxies__names_no_principals(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any pod of that network could call itself an operator."""
    for variable, value in (_shared() | _own(name)).items():
        monkeypatch.setenv(variable, value)
    settings = load_settings(DEPLOYMENTS[name])
    if settings.trust_proxy_principals:
        assert all(ip_network(network).num_addresses == 1 for network in settings.trusted_proxies)


def test_manifest__grace_of_the_service__ends_before_the_kubelet_kills() -> None:
    patch = _documents("common-patch.yaml")[0]
    kubelet = patch["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert float(_shared()["INTENTMESH_GRACE_SECONDS"]) + 10 <= kubelet


def _variables(kind: type[ServiceSettings]) -> set[str]:
    return {f"{ENV_PREFIX}{field}".upper() for field in kind.model_fields}


def _documents(file: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((BASE / file).read_text()))


def _shared() -> dict[str, str]:
    generators = _documents("kustomization.yaml")[0]["configMapGenerator"]
    literals = next(entry["literals"] for entry in generators if entry["name"] == "intentmesh-service")
    return dict(literal.split("=", 1) for literal in literals)


def _own(name: str) -> dict[str, str]:
    return _environment(next(one for one in _documents(f"{name}.yaml") if one["kind"] == "Deployment"))


def _environment(deployment: dict[str, Any]) -> dict[str, str]:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", SECRET) for container in containers for one in container["env"]}
