"""Settings of the intake service. Durations in seconds; lists in the environment are `a,b,c`."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from intentmesh.domain.types import Address, parse_address
from intentmesh.intake.checks.chain import ChainCheckSettings
from intentmesh.intake.policy import MAX_COUNT, MAX_SECONDS, Policy, Terms
from intentmesh.intake.rate_limits import BURST_SECONDS, Limits
from intentmesh.intake.retention import DAY_SECONDS, RetentionSettings
from intentmesh.rpc.access import KnownDelegations, delegations_of
from intentmesh.rpc.leases import Limit
from intentmesh.rpc.settings import CommaSeparated, ServiceSettings

_POLICY = Policy()
_CHAIN = ChainCheckSettings()
_LIMITS = Limits()


def _addresses(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        parse_address(value)
    return values


Addresses = Annotated[CommaSeparated, AfterValidator(_addresses)]


class IntakeSettings(ServiceSettings):
    """What the intake can be told."""

    postgres_dsn: str = Field(repr=False, min_length=1)
    valkey_url: str = Field(repr=False, min_length=1)
    network_file: Path
    postgres_pool_size: int = Field(10, ge=1)
    list_pool_size: int = Field(2, ge=1)
    """Connections for ListIntents alone, so that slow lists hold up nothing but lists."""
    list_timeout_seconds: float = Field(2.0, gt=0)
    """What takes longer has to be narrowed; a page that an index serves takes milliseconds."""

    intake_enabled: bool = True
    minimum_fill_seconds: int = Field(_POLICY.minimum_fill_seconds, ge=0, le=MAX_SECONDS)
    maximum_fill_seconds: int = Field(_POLICY.maximum_fill_seconds, gt=0, le=MAX_SECONDS)
    maximum_lock_seconds: int = Field(_POLICY.maximum_lock_seconds, gt=0, le=MAX_SECONDS)
    attestation_margin_seconds: int = Field(_POLICY.attestation_margin_seconds, ge=0, le=MAX_SECONDS)
    finalise_margin_seconds: int = Field(_POLICY.finalise_margin_seconds, ge=0, le=MAX_SECONDS)
    maximum_open_intents_per_user: int = Field(_POLICY.maximum_open_intents_per_user, ge=1, le=MAX_COUNT)
    callbacks_allowed: bool = _POLICY.callbacks_allowed
    banned_users: Addresses = ()
    banned_recipients: Addresses = ()
    banned_tokens: Addresses = ()

    chain_check_timeout_seconds: float = Field(_CHAIN.timeout, gt=0)
    funds_cache_seconds: float = Field(_CHAIN.funds_cache, ge=0)
    code_cache_seconds: float = Field(_CHAIN.code_cache, ge=0)

    requests_per_minute: int = Field(_LIMITS.requests.amount, ge=1, le=MAX_COUNT)
    new_intents_per_15_minutes: int = Field(_LIMITS.new_intents.amount, ge=1, le=MAX_COUNT)
    user_intents_per_15_minutes: int = Field(_LIMITS.user_intents.amount, ge=1, le=MAX_COUNT)
    user_intents_per_10_seconds: int | None = Field(50, ge=1, le=MAX_COUNT)
    """More of one user is a burst, which is suspicious. None: bursts are nothing unusual."""
    reads_per_minute: int = Field(_LIMITS.reads.amount, ge=1, le=MAX_COUNT)
    # Principals of class `service`.
    service_requests_per_minute: int = Field(600_000, ge=1, le=MAX_COUNT)
    service_new_intents_per_15_minutes: int = Field(18_000_000, ge=1, le=MAX_COUNT)
    service_user_intents_per_15_minutes: int = Field(90_000, ge=1, le=MAX_COUNT)
    service_user_intents_per_10_seconds: int | None = Field(None, ge=1, le=MAX_COUNT)
    service_reads_per_minute: int = Field(7_200_000, ge=1, le=MAX_COUNT)

    policy_file: Path | None = None
    """Read again whenever it changes; what it names takes precedence over the settings here."""
    delegations: KnownDelegations = Field(default_factory=dict)
    """Who may act for which users; in the environment as JSON: {"service:shop": ["0x…"]}."""
    open_orders_cache_seconds: float = Field(30.0, ge=0)
    """How late this replica learns of a user's intents that others have accepted, while the user is far from limits;
    near one, within a quarter of a second."""

    retention_days: float = Field(30.0, ge=0)
    """Intents that are over, and whose deadline and last change are older, are removed. 0: they stay for ever."""
    retention_interval_seconds: float = Field(60.0, gt=0)
    retention_batch: int = Field(500, ge=1, le=10_000)
    retention_export_folder: Path | None = None
    """Where removed intents are written to first, as gzipped lines of JSON."""

    anonymous_lists: bool = False
    """Anyone may list intents. For a mesh on one machine, where there is nobody to hide them from."""

    def policy(self) -> Policy:
        return Policy(
            intake_enabled=self.intake_enabled,
            minimum_fill_seconds=self.minimum_fill_seconds,
            maximum_fill_seconds=self.maximum_fill_seconds,
            maximum_lock_seconds=self.maximum_lock_seconds,
            attestation_margin_seconds=self.attestation_margin_seconds,
            finalise_margin_seconds=self.finalise_margin_seconds,
            maximum_open_intents_per_user=self.maximum_open_intents_per_user,
            callbacks_allowed=self.callbacks_allowed,
            banned_users=_address_set(self.banned_users),
            banned_recipients=_address_set(self.banned_recipients),
            banned_tokens=_address_set(self.banned_tokens),
            delegations=delegations_of(self.delegations),
        )

    def terms(self) -> Terms:
        """What the policy file goes out from."""
        return Terms(
            self.policy(),
            _limits(
                self.requests_per_minute,
                self.new_intents_per_15_minutes,
                self.user_intents_per_15_minutes,
                self.user_intents_per_10_seconds,
                self.reads_per_minute,
            ),
            _limits(
                self.service_requests_per_minute,
                self.service_new_intents_per_15_minutes,
                self.service_user_intents_per_15_minutes,
                self.service_user_intents_per_10_seconds,
                self.service_reads_per_minute,
            ),
        )

    def retention(self) -> RetentionSettings:
        return RetentionSettings(
            keep=self.retention_days * DAY_SECONDS,
            # As long as the order may be alive, another one under its request id is a mistake.
            keep_request_ids=max(self.retention_days * DAY_SECONDS, self.maximum_lock_seconds),
            interval=self.retention_interval_seconds,
            batch=self.retention_batch,
            export_folder=self.retention_export_folder,
        )

    def chain_checks(self) -> ChainCheckSettings:
        return ChainCheckSettings(
            timeout=self.chain_check_timeout_seconds,
            funds_cache=self.funds_cache_seconds,
            code_cache=self.code_cache_seconds,
        )


def _address_set(values: tuple[str, ...]) -> frozenset[Address]:
    return frozenset(parse_address(value) for value in values)


def _limits(requests: int, new_intents: int, user_intents: int, user_burst: int | None, reads: int) -> Limits:
    return Limits(
        requests=Limit(requests, 60),
        new_intents=Limit(new_intents, 15 * 60),
        user_intents=Limit(user_intents, 15 * 60),
        user_burst=None if user_burst is None else Limit(user_burst, BURST_SECONDS),
        reads=Limit(reads, 60),
    )
