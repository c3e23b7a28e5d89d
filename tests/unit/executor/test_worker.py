"""What the worker does with what it holds: when its process ends, and when leases are renewed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


class Forgetful:
    """A store in which no claim is held any more, be it lost or given back."""

    def __init__(self) -> None:
        self.renewals = 0
        self.renewed_twice = asyncio.Event()

    async def claim_due(self, _limit: int, _lease_seconds: float) -> list[Claim]:
        return [] if self.renewals else [CLAIM]

    async def renew(self, _claims: object, _lease_seconds: float) -> frozenset[IntentId]:
        self.renewals += 1
        if self.renewals == 2:
            self.renewed_twice.set()
        return frozenset()


class Holder:
    """A machine that is at its intent, or at giving it back, until it is told to end."""

    def __init__(self, *, gives_back: bool) -> None:
        self.gives_back = gives_back
        self.begun, self.end, self.ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.cancelled = False

    async def run(self, _claim: Claim, signals: Signals) -> None:
        signals.gives_back = self.gives_back
        self.begun.set()
        try:
            await self.end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            self.ended.set()


@asynccontextmanager
async def renewing(store: Forgetful, machine: Holder) -> AsyncIterator[None]:
    """The machine has begun, and the leases are renewed again and again; ends in time."""
    claims: Any = store
    run: Any = machine
    worker = Worker(claims, run, WorkerLimits(SlotLimits(4, 4), 4, 0.03, 60.0), no_hints)
    async with asyncio.timeout(30):
        tasks = [asyncio.create_task(worker.claim_forever())]
        await machine.begun.wait()
        tasks.append(asyncio.create_task(worker.renew_forever()))
        yield
    for task in tasks:
        task.cancel()
    await worker.close()


async def test_renew__claim_is_gone__its_work_is_stopped() -> None:
    machine = Holder(gives_back=False)
    async with renewing(Forgetful(), machine):
        await machine.ended.wait()
    assert machine.cancelled


async def test_renew__claim_is_being_given_back__is_no_loss() -> None:
    store, machine = Forgetful(), Holder(gives_back=True)
    async with renewing(store, machine):
        await store.renewed_twice.wait()
        machine.end.set()
        await machine.ended.wait()
    assert not machine.cancelled
