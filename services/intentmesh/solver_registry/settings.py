"""What the registry can be told."""

from pathlib import Path

from pydantic import Field, field_validator

from intentmesh.rpc.leases import Limit
from intentmesh.rpc.settings import CommaSeparated, ServiceSettings
from intentmesh.solver_registry.budgets import Limits

ANYBODY = "*"
_LIMITS = Limits()


class RegistrySettings(ServiceSettings):
    """Environment: INTENTMESH_APPROVED_SOLVERS and so on."""

    approved_solvers: CommaSeparated = ()
    """Owners (solver addresses) that need no operator's approval; "*" admits anybody and is for development only."""
    heartbeat_interval_seconds: int = Field(10, gt=0)
    heartbeats_missed: int = Field(3, gt=0)
    """A solver that missed so many is passed over."""
    quote_timeout_seconds: float = Field(0.5, gt=0)
    auction_timeout_seconds: float = Field(2.0, gt=0)
    longest_fill_seconds: int = Field(900, gt=0)
    """How far ahead a solver may promise its fill: should it fall silent, nobody else gets the order until then. Enough
    where an opening is waited for until two epochs of 32 blocks of 12 s are over."""
    registration_window_seconds: int = Field(300, gt=0)
    """How far a signed time may lie from now."""
    refresh_seconds: float = Field(30.0, gt=0)
    """How often capabilities are read again and the gauges set."""

    registrations_per_minute: int = Field(_LIMITS.registrations.amount, ge=1)
    """Of one caller, as all that follow. Leaving counts as entering does."""
    heartbeats_per_minute: int = Field(_LIMITS.heartbeats.amount, ge=1)
    """Of all solvers that come from one address; each sends some twelve."""
    heartbeats_per_interval: int = Field(10, ge=2)
    """Of one solver, wherever it comes from."""
    quotes_per_minute: int = Field(_LIMITS.quotes.amount, ge=1)
    reads_per_minute: int = Field(_LIMITS.reads.amount, ge=1)
    # Principals of class `service`.
    service_quotes_per_minute: int = Field(60_000, ge=1)
    service_reads_per_minute: int = Field(7_200_000, ge=1)

    unapproved_kept: int = Field(1_000, gt=0)
    """Registrations that nobody has approved: of more, those stay that were heard of last."""
    unapproved_kept_seconds: float = Field(86_400.0, gt=0)
    """Of these, one that was silent for so long is forgotten."""

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

    def limits(self) -> Limits:
        return self._limits(self.quotes_per_minute, self.reads_per_minute)

    def service_limits(self) -> Limits:
        """They bring the drafts of many; they are no solvers."""
        return self._limits(self.service_quotes_per_minute, self.service_reads_per_minute)

    def solver_heartbeats(self) -> Limit:
        return Limit(self.heartbeats_per_interval, self.heartbeat_interval_seconds)

    def _limits(self, quotes: int, reads: int) -> Limits:
        return Limits(
            registrations=Limit(self.registrations_per_minute, 60),
            heartbeats=Limit(self.heartbeats_per_minute, 60),
            quotes=Limit(quotes, 60),
            reads=Limit(reads, 60),
        )
