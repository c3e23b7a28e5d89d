"""Series of the intake alone; those with the product's names stand in rpc/metrics.py."""

from prometheus_client import Counter

RATE_LIMITER_FALLBACKS = Counter(
    "intake_rate_limiter_fallback_total", "Requests counted by the limiter of this process because Valkey was away"
)
