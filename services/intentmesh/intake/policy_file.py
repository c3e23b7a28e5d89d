"""The policy as a file that may change while the intake runs. Each change leaves a line in the log; a file that cannot
be used changes nothing, and says so.

    changed_by = "alice, ticket 12"   # for the audit line
    intake_enabled = true
    banned_users = ["0x…"]
    maximum_open_intents_per_user = 1000
    minimum_value = "1"
    smallest_return = "0.5"
    [prices]                          # of a whole token, by its symbol in the network file
    USDC = "1"
    [gas_prices]                      # of a million units of gas, by the chain's name
    alpha = "2.5"
    [delegations]                     # who may act for which users; "*" for all of them
    "service:shop" = ["0x…"]
    [limits]
    requests_per_minute = 1000
    new_intents_per_15_minutes = 100
    user_intents_per_15_minutes = 100
    user_intents_per_10_seconds = 50
    reads_per_minute = 12000
    [service_limits]
    requests_per_minute = 600000

What the file does not name is as the settings say. So an empty file would open what the operator has closed, and so
might one that is read while it is written: the first is refused, and a change counts once two looks in a row find the
same. Who writes a new file beside it and renames that leaves nothing to chance.
"""

import asyncio
import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from intentmesh.chain.config import ConfiguredAddress, NetworkConfig
from intentmesh.domain.types import Address, ChainId, format_address
from intentmesh.intake.metrics import POLICY_CHANGES
from intentmesh.intake.policy import MAX_COUNT, MAX_SECONDS, Policy, Prices, Terms
from intentmesh.intake.rate_limits import BURST_SECONDS, Limits
from intentmesh.rpc.access import Delegations, delegations_of
from intentmesh.rpc.leases import Limit

log = structlog.get_logger()

POLL_SECONDS = 0.5
_MAX_SHOWN = 20

Seconds = Annotated[int | None, Field(ge=0, le=MAX_SECONDS)]
PositiveSeconds = Annotated[int | None, Field(gt=0, le=MAX_SECONDS)]
Count = Annotated[int | None, Field(ge=1, le=MAX_COUNT)]
# Beyond any price, and small enough to be multiplied with any amount.
_MOST = Decimal(10**30)
Value = Annotated[Decimal | None, Field(ge=0, le=_MOST)]
Price = Annotated[Decimal, Field(ge=0, le=_MOST)]
_MILLION = Decimal(1_000_000)


class InvalidPolicyError(ValueError):
    """The file cannot be used; the message says where it is wrong."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LimitsModel(_Model):
    """Limits of one class of callers."""

    requests_per_minute: Count = None
    new_intents_per_15_minutes: Count = None
    user_intents_per_15_minutes: Count = None
    user_intents_per_10_seconds: Count = None
    reads_per_minute: Count = None

    def over(self, limits: Limits) -> Limits:
        """Those limits, with what is named here instead."""
        return Limits(
            requests=Limit(self.requests_per_minute or limits.requests.amount, limits.requests.seconds),
            new_intents=Limit(self.new_intents_per_15_minutes or limits.new_intents.amount, limits.new_intents.seconds),
            user_intents=Limit(
                self.user_intents_per_15_minutes or limits.user_intents.amount, limits.user_intents.seconds
            ),
            user_burst=(
                Limit(self.user_intents_per_10_seconds, BURST_SECONDS)
                if self.user_intents_per_10_seconds
                else limits.user_burst
            ),
            reads=Limit(self.reads_per_minute or limits.reads.amount, limits.reads.seconds),
        )


class PolicyModel(_Model):
    """The file."""

    changed_by: Annotated[str, Field(max_length=128)] = ""
    intake_enabled: bool | None = None
    minimum_fill_seconds: Seconds = None
    maximum_fill_seconds: PositiveSeconds = None
    maximum_lock_seconds: PositiveSeconds = None
    attestation_margin_seconds: Seconds = None
    finalise_margin_seconds: Seconds = None
    maximum_open_intents_per_user: Count = None
    callbacks_allowed: bool | None = None
    banned_users: frozenset[ConfiguredAddress] | None = None
    banned_recipients: frozenset[ConfiguredAddress] | None = None
    banned_tokens: frozenset[ConfiguredAddress] | None = None
    minimum_value: Value = None
    maximum_value: Value = None
    minimum_margin: Annotated[Decimal | None, Field(ge=-_MOST, le=_MOST)] = None
    smallest_return: Annotated[Decimal | None, Field(ge=0, le=1)] = None
    largest_return: Annotated[Decimal | None, Field(ge=1, le=_MOST)] = None
    prices: Mapping[str, Price] | None = None
    gas_prices: Mapping[str, Price] | None = None
    delegations: Mapping[str, tuple[str, ...]] | None = None
    limits: LimitsModel = LimitsModel()
    service_limits: LimitsModel = LimitsModel()


class PolicyFile:
    """Holds the terms as of now; `apply` is told of each change, the first terms included."""

    def __init__(
        self, base: Terms, network: NetworkConfig, path: Path | None, apply: Callable[[Terms], None] = lambda _: None
    ) -> None:
        self._base = base
        self._network = network
        self._path = path
        self._apply = apply
        self._version: str | None = None
        self._refused: str | None = None
        self._seen: str | None = None
        self.terms = base
        if path is not None:
            content = _content(path)
            model, self.terms = _read(content, base, network)
            self._version = _version(content)
            # What changed while nobody looked is told as well, against the settings.
            self._tell("policy_read", path, model, base)
        apply(self.terms)

    def policy(self) -> Policy:
        """As of now."""
        return self.terms.policy

    async def watch(self) -> None:
        """Takes changes over within about a second, for ever."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            self.look()

    def look(self) -> None:
        """Takes the file over if it has changed, can be used, and is as the last look found it."""
        if self._path is None:
            return
        try:
            content = _content(self._path)
        except InvalidPolicyError as error:
            self._refuse("", error)
            return
        version = _version(content)
        settled, self._seen = version == self._seen, version
        if not settled or version in (self._version, self._refused):
            return
        try:
            model, terms = _read(content, self._base, self._network)
        except InvalidPolicyError as error:
            self._refuse(version, error)
            return
        before, self.terms = self.terms, terms
        self._version, self._refused = version, None
        self._apply(terms)
        POLICY_CHANGES.labels("applied").inc()
        self._tell("policy_changed", self._path, model, before)

    def _tell(self, event: str, path: Path, model: PolicyModel, before: Terms) -> None:
        log.warning(
            event,
            file=str(path),
            file_owner=_owner(path),
            changed_by=model.changed_by,
            sha256=self._version,
            changes=changes(before, self.terms),
        )

    def _refuse(self, version: str, error: InvalidPolicyError) -> None:
        if version == self._refused:
            return
        self._refused = version
        POLICY_CHANGES.labels("refused").inc()
        log.error("policy_refused", file=str(self._path), sha256=version, error=str(error))


def read_terms(content: bytes, base: Terms, network: NetworkConfig) -> Terms:
    """The terms that the file's content makes of `base`. Raises InvalidPolicyError."""
    return _read(content, base, network)[1]


def _read(content: bytes, base: Terms, network: NetworkConfig) -> tuple[PolicyModel, Terms]:
    if not content.strip():
        raise InvalidPolicyError("is empty; a comment will do where the settings shall hold")
    try:
        model = PolicyModel.model_validate(tomllib.loads(content.decode()))
        named = {
            field.name: getattr(model, field.name)
            for field in fields(Policy)
            if field.name not in ("prices", "gas_prices", "delegations") and getattr(model, field.name) is not None
        }
        policy = replace(base.policy, **named)
        if model.prices is not None:
            policy = replace(policy, prices=_prices(model.prices, network))
        if model.gas_prices is not None:
            policy = replace(policy, gas_prices=_gas_prices(model.gas_prices, network))
        if model.delegations is not None:
            policy = replace(policy, delegations=_delegations(model.delegations))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        raise InvalidPolicyError(f"{place}: {fault['msg']}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPolicyError(f"is not TOML: {error}") from error
    return model, Terms(policy, model.limits.over(base.limits), model.service_limits.over(base.service_limits))


def changes(before: Terms, after: Terms) -> dict[str, Any]:
    """What differs, for people: by field, what was and what is; of sets, what came and what went; of maps, by key."""
    found: dict[str, Any] = {}
    pairs: list[tuple[str, Any, Any]] = [
        (field.name, getattr(before.policy, field.name), getattr(after.policy, field.name)) for field in fields(Policy)
    ]
    pairs += [("limits", before.limits, after.limits), ("service_limits", before.service_limits, after.service_limits)]
    for name, old, new in pairs:
        if old == new:
            continue
        if isinstance(old, frozenset) and isinstance(new, frozenset):
            found[name] = {"added": _shown(new - old), "removed": _shown(old - new)}
        elif isinstance(old, Mapping) and isinstance(new, Mapping):
            found[name] = _changed_entries(old, new)
        else:
            found[name] = {"before": str(old), "after": str(new)}
    return found


def _changed_entries(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[str, Any]:
    changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    found: dict[str, Any] = {
        _entry(key): {"before": _entry(old.get(key)), "after": _entry(new.get(key))} for key in changed[:_MAX_SHOWN]
    }
    if len(changed) > _MAX_SHOWN:
        found["and more"] = len(changed) - _MAX_SHOWN
    return found


def _entry(value: Any) -> str:
    """A key or a value of a map: a token on a chain, users, a price."""
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"{value[0]}/{format_address(value[1])}"
    if isinstance(value, frozenset):
        users = sorted(value)
        more = f" and {len(users) - _MAX_SHOWN} more" if len(users) > _MAX_SHOWN else ""
        return " ".join(users[:_MAX_SHOWN]) + more
    return str(value)


def _shown(addresses: frozenset[Address]) -> list[str]:
    texts = sorted(format_address(address) for address in addresses)
    return texts if len(texts) <= _MAX_SHOWN else [*texts[:_MAX_SHOWN], f"and {len(texts) - _MAX_SHOWN} more"]


def _prices(prices: Mapping[str, Decimal], network: NetworkConfig) -> Prices:
    known = {symbol for chain in network.chains for symbol in chain.tokens}
    for symbol in prices:
        if symbol not in known:
            raise InvalidPolicyError(f"prices.{symbol}: no chain has a token of this symbol")
    return {
        (ChainId(chain.chain_id), token.address): prices[symbol] / Decimal(10) ** token.decimals
        for chain in network.chains
        for symbol, token in chain.tokens.items()
        if symbol in prices
    }


def _gas_prices(prices: Mapping[str, Decimal], network: NetworkConfig) -> Mapping[ChainId, Decimal]:
    chains = {chain.name: chain.chain_id for chain in network.chains}
    for name in prices:
        if name not in chains:
            raise InvalidPolicyError(f"gas_prices.{name}: no chain has this name")
    return {chains[name]: price / _MILLION for name, price in prices.items()}


def _delegations(listed: Mapping[str, tuple[str, ...]]) -> Delegations:
    try:
        return delegations_of(listed)
    except ValueError as error:
        raise InvalidPolicyError(f"delegations: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidPolicyError(f"{path}: {error.strerror or error}") from error


def _owner(path: Path) -> str:
    """Who the file belongs to; whoever may write it stands behind its changes."""
    try:
        return path.owner()
    except (KeyError, OSError):
        return ""


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
