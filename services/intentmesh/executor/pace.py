"""How long an intent may rest before the chains are looked at again. Pure; seconds."""

from collections.abc import Iterable

from intentmesh.domain.lifecycle import State

# The older the last event, the less is expected to happen soon.
_SHARE_OF_AGE = 1 / 8
# A live intent's user is waiting.
_LONGEST_LIVE_SECONDS = 5.0
# The clock of the wait and the one of the moment differ a little.
_AFTERWARDS_SECONDS = 0.05


def rest_seconds(state: State, age_seconds: float, poll_seconds: float, longest_seconds: float) -> float:
    """From the poll interval right after an event up to the longest between two looks."""
    cap = longest_seconds if state.is_terminal else min(longest_seconds, _LONGEST_LIVE_SECONDS)
    return max(poll_seconds, min(age_seconds * _SHARE_OF_AGE, cap))


def displaced_seconds(age_seconds: float, poll_seconds: float, longest_seconds: float) -> float:
    """The rest of an intent whose place others needed: where it came back at once, they would not have it for long."""
    return max(poll_seconds, min(max(age_seconds * _SHARE_OF_AGE, _LONGEST_LIVE_SECONDS), longest_seconds))


def auction_cap_seconds(age_seconds: float, cap_seconds: float, longest_seconds: float) -> float:
    """How long an order that nobody wanted so far waits for its next auction at most; `age_seconds`: since its accept.

    Orders that stand for hours without a taker would otherwise keep the executor and all solvers as busy as new ones.
    """
    return max(cap_seconds, min(age_seconds * _SHARE_OF_AGE, longest_seconds))


def until_next(seconds: float, now: float, moments: Iterable[float]) -> float:
    """So many seconds, or less where one of the moments (Unix seconds) lies before their end: something is due then."""
    return min([seconds, *(moment - now + _AFTERWARDS_SECONDS for moment in moments if moment > now)])
