"""A store that cannot be reached is told as such; the errors of asyncpg itself are known to `rpc/errors.py`."""

from collections.abc import Iterator
from contextlib import contextmanager

from intentmesh.domain.errors import Unavailable
from intentmesh.v1.error_pb2 import ErrorReason

_RETRY_SECONDS = 1.0


@contextmanager
def reaching_the_store() -> Iterator[None]:
    """Raises Unavailable STORE_UNAVAILABLE where no connection is to be had."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise store_unavailable("the store did not answer in time; try again") from error


def store_unavailable(message: str) -> Unavailable:
    """STORE_UNAVAILABLE, with the time after which to try again."""
    return Unavailable(message, reason=ErrorReason.ERROR_REASON_STORE_UNAVAILABLE, retry_after=_RETRY_SECONDS)
