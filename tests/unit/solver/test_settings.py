"""The solver is configured by its environment alone."""

from decimal import Decimal

import pytest
from intentmesh.rpc.settings import SettingsError, load_settings
from intentmesh.solver.settings import SolverSettings

NEEDED = {
    "NETWORK_FILE": "network.toml",
    "SOLVER_KEY": "env:KEY",
    "EXECUTOR_TARGET": "executor:50051",
    "REGISTRY_TARGET": "registry:50051",
    "ADVERTISED_ENDPOINT": "dns:///solver:50051",
    "POSTGRES_DSN": "postgresql://somewhere/solver",
    "PRICES": "USDC=1, WETH=2000.5",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in NEEDED.items():
        monkeypatch.setenv(f"INTENTMESH_{name}", value)
    return monkeypatch


@pytest.mark.usefixtures("environment")
def test_settings__environment__gives_every_field() -> None:
    settings = load_settings(SolverSettings)
    assert settings.prices == {"USDC": Decimal(1), "WETH": Decimal("2000.5")}
    assert settings.executor_target == "executor:50051"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PRICES", "USDC"),
        ("PRICES", "USDC=0"),
        ("PRICES", "USDC=-1"),
        ("PRICES", "USDC=NaN"),
        ("PRICES", ""),
        ("POSTGRES_DSN", ""),
        ("MARKUP_BPS", "10001"),
        ("ADVERTISED_ENDPOINT", ""),
    ],
)
def test_settings__impossible_value__is_refused(environment: pytest.MonkeyPatch, name: str, value: str) -> None:
    environment.setenv(f"INTENTMESH_{name}", value)
    with pytest.raises(SettingsError, match=name.lower()):
        load_settings(SolverSettings)
