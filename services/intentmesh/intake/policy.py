"""What an operator decides: limits, margins, lists, the switch. Durations in seconds."""

from dataclasses import dataclass

from intentmesh.domain.types import Address

HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS


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
