"""What an operator decides: limits, margins, lists, the switch. Seconds; values in the reference currency."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from intentmesh.domain.types import Address, ChainId
from intentmesh.intake.rate_limits import Limits
from intentmesh.rpc.access import Delegations

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS
# Of what is counted and of durations, which others calculate with: beyond any use, within what they can hold.
MAX_COUNT = 10**12
MAX_SECONDS = 10**9

# Per smallest unit of a token.
Prices = Mapping[tuple[ChainId, Address], Decimal]


@dataclass(frozen=True, slots=True)
class Policy:
    """Defaults suit a public mesh."""

    intake_enabled: bool = True
    # The fill deadline lies between these from now.
    minimum_fill_seconds: int = 5
    maximum_fill_seconds: int = DAY_SECONDS
    # `expires` lies at most this after now: an order opened and never filled locks the user's funds until then.
    maximum_lock_seconds: int = 7 * DAY_SECONDS
    # After the last possible fill: time for the attesters, and for the transaction that finalises.
    attestation_margin_seconds: int = 30
    finalise_margin_seconds: int = 60
    maximum_open_intents_per_user: int = 1000
    callbacks_allowed: bool = False
    banned_users: frozenset[Address] = frozenset()
    banned_recipients: frozenset[Address] = frozenset()
    banned_tokens: frozenset[Address] = frozenset()
    # Who may act for which users.
    delegations: Delegations = field(default_factory=dict)
    # Orders in tokens without a price have no value, and none of the following applies to them.
    prices: Prices = field(default_factory=dict)
    minimum_value: Decimal | None = None
    maximum_value: Decimal | None = None
    # Of one unit of gas, by chain; a chain without one costs nothing.
    gas_prices: Mapping[ChainId, Decimal] = field(default_factory=dict)
    # What the order leaves to the solver after the gas of its transactions.
    minimum_margin: Decimal | None = None
    # An order that asks for less, or for more, than such a share of what it gives is taken for a mistake.
    smallest_return: Decimal | None = None
    largest_return: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything that can change while the intake runs."""

    policy: Policy = field(default_factory=Policy)
    limits: Limits = field(default_factory=Limits)
    service_limits: Limits = field(default_factory=Limits)
