"""What the worker does when its process ends."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from intentmesh.domain.types import IntentId
from intentmesh.executor.machine import Signals
from intentmesh.executor.slots import SlotLimits
from intentmesh.executor.worker import Worker, WorkerLimits
from intentmesh.store.executions import Claim

CLAIM = Claim(IntentId(bytes(32)), 1, "one")


class SlowStore:
    """Claims whose answer is long in coming; the claim stands meanwhile."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()

    async def claim_due(self, _limit: int, _lease_seconds: float) -> list[Claim]:
        self.asked.set()
        await self.answers.wait()
        return [CLAIM]


class Diligent:
    """A machine that gives back at its first turn what is to be given back."""

    def __init__(self) -> None:
        self.given_back: list[Claim] = []

    async def run(self, claim: Claim, signals: Signals) -> None:
        await signals.leave.wait()
        await asyncio.sleep(0)
        self.given_back.append(claim)


async def no_hints() -> AsyncIterator[bytes | None]:
    for hint in ():
        yield hint


async def test_drain__claims_are_on_their_way__gives_them_back_too() -> None:
    store, machine = SlowStore(), Diligent()
    claims: Any = store
    run: Any = machine
    worker = Worker(claims, run, WorkerLimits(SlotLimits(4, 4), 4, 60.0, 60.0), no_hints)
    claiming = asyncio.create_task(worker.claim_forever())
    await store.asked.wait()
    drain = asyncio.create_task(worker.drain())
    await asyncio.wait([drain], timeout=0.05)
    store.answers.set()
    await drain
    assert machine.given_back == [CLAIM]
    await claiming
