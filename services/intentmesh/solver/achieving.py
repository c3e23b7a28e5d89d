"""Bringing something about on chain exactly once, across crashes and reorganisations.

A step (such as "{intent}:open") is done when the chain shows what it is for, not when a transaction succeeded. Each try of
a step is one idempotency key of the transaction sender: whoever comes to the same try again, also after a crash, gets the
transaction that was sent then. Only proof that a try came to nothing starts the next one, under the next key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from intentmesh.domain.types import Address
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.outcomes import NotYet, TryFailed
from intentmesh.solver.sides import Side
from intentmesh.transactions.sender import TransactionRequest, TransactionResult

Found = TypeVar("Found")

UNKNOWN_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """A transaction to be sent. `deadline` in Unix seconds: not included by then, it must never be."""

    to: Address
    data: bytes
    value: int = 0
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Achieved[Found]:
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

        Raises TryFailed when the try came to nothing, NotYet when its outcome is not known, and whatever `look` and
        `call` raise.
        """
        found = await look()
        if found is not None:
            return Achieved(found, None)
        wanted = await call()
        number = await self._store.current_try(step)
        result = await side.sender.execute(
            TransactionRequest(
                key=step if number == 1 else f"{step}:{number}",
                to=wanted.to,
                data=wanted.data,
                value=wanted.value,
                deadline=wanted.deadline,
            )
        )
        if result.succeeded:
            found = await self._effect(side, look, result)
            if found is not None:
                return Achieved(found, result)
        elif not result.failed_for_certain:
            raise NotYet(f"the transaction of {step} has an unknown outcome", UNKNOWN_RETRY_SECONDS)
        await self._store.end_try(step, number)
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
