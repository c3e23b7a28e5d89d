"""What the registry can be told."""

from pathlib import Path

from pydantic import Field, field_validator

from intentmesh.rpc.settings import CommaSeparated, ServiceSettings

ANYBODY = "*"


class RegistrySettings(ServiceSettings):
    """Environment: INTENTMESH_APPROVED_SOLVERS and so on."""

    approved_solvers: CommaSeparated = ()
    """Owners (solver addresses) that need no operator's approval; "*" admits anybody and is for development only."""
    heartbeat_interval_seconds: int = Field(10, gt=0)
    heartbeats_missed: int = Field(3, gt=0)
    """A solver that missed so many is passed over."""
    quote_timeout_seconds: float = Field(0.5, gt=0)
    auction_timeout_seconds: float = Field(2.0, gt=0)
    registration_window_seconds: int = Field(300, gt=0)
    """How far a signed time may lie from now."""
    refresh_seconds: float = Field(30.0, gt=0)
    """How often capabilities are read again and the gauges set."""
    network_file: Path | None = None
    """Tells which chains' output settlers pay what is offered above the order's amount; without it, all do."""

    @field_validator("approved_solvers")
    @classmethod
    def _lower_case(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(entry.lower() for entry in value)

    @property
    def heartbeat_window_seconds(self) -> float:
        """Silence after which a solver is passed over."""
        return float(self.heartbeat_interval_seconds * self.heartbeats_missed)
