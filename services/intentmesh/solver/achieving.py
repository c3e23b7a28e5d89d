"""Bringing something about on chain exactly once, across crashes and reorganisations.

A step (such as "{intent}:open") is done when the chain shows what it is for, not when a transaction succeeded. Each
try of a step is one idempotency key of the transaction sender: whoever comes to the same try again, also after a crash,
gets the transaction that was sent then. Only proof that a try came to nothing starts the next, under the next key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from intentmesh.solver.calls import Call, Try
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.outcomes import TryFailed
from intentmesh.solver.sides import Side
from intentmesh.transactions.model import TransactionRequest, TransactionResult

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Achieved(Generic[Found]):
    """What the chain shows, and the transaction of ours that did it, where it did."""

    found: Found
    result: TransactionResult | None


class Achiever:
    """Sends the transactions of jobs."""

    def __init__(self, store: JobStore) -> None:
        self._store = store

    async def achieve(
        self,
        step: str,
        side: Side,
        look: Callable[[], Awaitable[Found | None]],
        call: Callable[[], Awaitable[Call]],
    ) -> Achieved[Found]:
        """Return what `look` finds, sending what `call` makes where it finds nothing.

        A try that was begun before goes on with the call it was begun with: that may be on its way. Raises TryFailed
        when the try came to nothing for certain, MeshError when its outcome is not known, and whatever `look` and
        `call` raise.
        """
        found = await look()
        if found is not None:
            return Achieved(found, None)
        current = await self._store.current_try(step) or await self._store.begin_try(step, await call())
        result = await side.sender.execute(_request(step, current))
        if result.succeeded:
            found = await self._effect(side, look, result)
            if found is not None:
                return Achieved(found, result)
        await self._store.end_try(step, current.number)
        raise TryFailed(step.rpartition(":")[2], result.revert or "")

    async def _effect(
        self, side: Side, look: Callable[[], Awaitable[Found | None]], result: TransactionResult
    ) -> Found | None:
        """What the included transaction brought about; None once it is too deep for endpoints to be behind."""
        depth = side.config.final_depth
        while True:
            # The head first: what is not found afterwards was not there at that height.
            head = await side.client.head()
            found = await look()
            if found is not None:
                return found
            if result.receipt is None or head.number - result.receipt.block_number >= depth:
                return None
            await asyncio.sleep(side.poll_seconds)


def _request(step: str, current: Try) -> TransactionRequest:
    call = current.call
    return TransactionRequest(
        key=step if current.number == 1 else f"{step}:{current.number}",
        to=call.to,
        data=call.data,
        value=call.value,
        deadline=call.deadline,
    )
