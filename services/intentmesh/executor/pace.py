"""How long an intent may rest before the chains are looked at again. Pure; seconds."""

from intentmesh.domain.lifecycle import State

# The older the last event, the less is expected to happen soon.
_SHARE_OF_AGE = 1 / 8
# A live intent's user is waiting.
_LONGEST_LIVE_SECONDS = 5.0


def rest_seconds(state: State, age_seconds: float, poll_seconds: float, longest_seconds: float) -> float:
    """From the poll interval right after an event up to the longest between two looks."""
    cap = longest_seconds if state.is_terminal else min(longest_seconds, _LONGEST_LIVE_SECONDS)
    return max(poll_seconds, min(age_seconds * _SHARE_OF_AGE, cap))
