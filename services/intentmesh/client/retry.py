"""When a call is tried again: only where the mesh is away or busy, and only calls whose repetition has one effect."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeVar

import grpc

from intentmesh.domain.backoff import full_jitter
from intentmesh.domain.errors import MeshError, Unavailable
from intentmesh.rpc.errors import mesh_error_from_rpc

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Attempts within one deadline. Times in seconds."""

    attempts: int = 4
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    random: Random = field(default_factory=Random)

    def pause(self, attempt: int, error: MeshError) -> float:
        """Before attempt `attempt + 1`; never less than the server asked for."""
        jitter = full_jitter(attempt, self.base_seconds, self.cap_seconds, self.random)
        return (error.retry_after or 0.0) + jitter


async def call_with_retry(
    policy: RetryPolicy, timeout_seconds: float, attempt_call: Callable[[float], Awaitable[T]]
) -> T:
    """The result of `attempt_call(seconds left)`. Raises MeshError: the last one, when time or attempts are used up."""
    deadline = time.monotonic() + timeout_seconds
    attempt = 1
    while True:
        try:
            return await attempt_call(max(0.001, deadline - time.monotonic()))
        except grpc.aio.AioRpcError as rpc_error:
            error = mesh_error_from_rpc(rpc_error)
            pause = policy.pause(attempt, error)
            last = attempt >= policy.attempts or time.monotonic() + pause >= deadline
            if last or not isinstance(error, Unavailable):
                raise error from rpc_error
        attempt += 1
        await asyncio.sleep(pause)
