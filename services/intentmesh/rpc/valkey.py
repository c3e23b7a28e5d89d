"""Opening Valkey, which holds only what may be lost."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

TIMEOUT_SECONDS = 1.0
"""Callers have a way to go on without Valkey; waiting longer than this is worse than taking it."""


def open_valkey(url: str) -> Redis:
    """A client that connects on first use (`redis://host:port/db`). The caller closes it with `aclose()`.

    Commands raise `redis.exceptions.ConnectionError` or `TimeoutError` within about two seconds when Valkey is away.
    """
    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        health_check_interval=15,
        # One retry: an idle connection may have been closed by the other side, more would only delay the fallback.
        retry=Retry(NoBackoff(), 1),
    )
