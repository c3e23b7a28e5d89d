"""Waiting before another attempt."""

from random import Random

# Beyond this many doublings every cap in use has long been reached.
_MAX_DOUBLINGS = 32


def full_jitter(attempt: int, base: float, cap: float, random: Random) -> float:
    """Seconds to wait after failed attempt `attempt` (from 1): uniform in 0 … min(cap, base · 2^(attempt - 1))."""
    doublings = min(max(attempt - 1, 0), _MAX_DOUBLINGS)
    return random.uniform(0.0, min(cap, base * 2.0**doublings))
