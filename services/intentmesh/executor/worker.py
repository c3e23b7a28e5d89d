"""The worker: claims due intents in batches, keeps their leases, and gives back what it holds when the process ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import asyncpg
import structlog
from google.protobuf.message import DecodeError

from intentmesh.domain.types import IntentId, format_intent_id, parse_intent_id
from intentmesh.executor.claims import Claims
from intentmesh.executor.machine import Machine, Signals
from intentmesh.executor.slots import SlotLimits, Slots
from intentmesh.rpc.tracing import start_trace
from intentmesh.store.executions import Claim, ClaimLost
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intent_pb2 import IntentPhase

log = structlog.get_logger(__name__)

# After a bug: long enough not to spin, short enough to be seen.
_AFTER_FAILURE_SECONDS = 10.0
_RENEWALS_PER_LEASE = 3
# Reached by what other services write; all else is our own doing, and no news to us.
_OTHERS_PHASES = frozenset({IntentPhase.INTENT_PHASE_ACCEPTED, IntentPhase.INTENT_PHASE_CANCELLATION_REQUESTED})


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """How much at once, and how often. Seconds."""

    slots: SlotLimits
    batch: int
    lease_seconds: float
    poll_seconds: float


@dataclass(slots=True)
class _Running:
    claim: Claim
    signals: Signals
    task: asyncio.Task[None]


class Worker:
    """One per process. `claim_forever`, `renew_forever` and `listen_forever` are its background tasks."""

    def __init__(
        self, claims: Claims, machine: Machine, limits: WorkerLimits, hints: Callable[[], AsyncIterator[bytes | None]]
    ) -> None:
        self._claims = claims
        self._machine = machine
        self._limits = limits
        self._hints = hints
        self._running: dict[IntentId, _Running] = {}
        self._wake = asyncio.Event()
        self._slots = Slots(limits.slots, self._wake.set)
        self._leave = asyncio.Event()
        # Held while claims are on their way from the store.
        self._claiming = asyncio.Lock()

    async def claim_forever(self) -> None:
        """Takes due work as long as there is room, woken by hints, by work that ends, and by the poll behind both."""
        while not self._leave.is_set():
            self._wake.clear()
            claimed = await self._claim_batch()
            if claimed < self._limits.batch:
                await self._sleep(self._limits.poll_seconds)

    async def renew_forever(self) -> None:
        """Keeps the leases of running work; work whose lease is lost is stopped, since another worker has it."""
        while True:
            await asyncio.sleep(self._limits.lease_seconds / _RENEWALS_PER_LEASE)
            held = [running.claim for running in self._running.values()]
            if not held:
                continue
            kept = await self._claims.renew(held, self._limits.lease_seconds)
            for claim in held:
                running = self._running.get(claim.intent_id)
                if claim.intent_id in kept or running is None or running.claim != claim:
                    continue
                if not running.signals.gives_back:
                    log.warning("lease_lost", intent_id=format_intent_id(claim.intent_id), fence=claim.fence)
                    running.task.cancel()

    async def listen_forever(self) -> None:
        """Turns hints into wake-ups. Their loss only costs a poll interval."""
        async for hint in self._hints():
            event = None if hint is None else _event_of(hint)
            if event is None:
                self._wake.set()
            elif event.phase in _OTHERS_PHASES:
                self._wake.set()
                running = self._running.get(parse_intent_id(event.intent_id))
                if running is not None:
                    running.signals.news.set()

    async def drain(self) -> None:
        """Claims nothing more, lets every intent rest at its next turn, and waits until all claims are given back."""
        self._leave.set()
        self._wake.set()
        async with self._claiming:
            tasks = [running.task for running in self._running.values()]
        if tasks:
            log.info("releasing_claims", count=len(tasks))
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Ends what a drain could not: the leases run out by themselves."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def working(self) -> int:
        """Intents that are being worked on."""
        return len(self._running) - self._slots.waiting

    @property
    def waiting(self) -> int:
        """Intents that are held and wait, mostly for their solver."""
        return self._slots.waiting

    async def _claim_batch(self) -> int:
        room = min(self._slots.room, self._limits.batch)
        if room <= 0:
            return 0
        async with self._claiming:
            claimed = await self._claims.claim_due(room, self._limits.lease_seconds)
            for claim in claimed:
                self._start(claim)
        return len(claimed)

    def _start(self, claim: Claim) -> None:
        signals = Signals(news=asyncio.Event(), leave=self._leave, slot=self._slots.take())
        task = asyncio.create_task(self._work(claim, signals), name=f"intent-{format_intent_id(claim.intent_id)}")
        self._running[claim.intent_id] = _Running(claim, signals, task)
        task.add_done_callback(lambda _task: self._ended(claim, signals))

    def _ended(self, claim: Claim, signals: Signals) -> None:
        running = self._running.get(claim.intent_id)
        if running is not None and running.claim == claim:
            del self._running[claim.intent_id]
        signals.slot.leave()

    async def _work(self, claim: Claim, signals: Signals) -> None:
        start_trace()
        with structlog.contextvars.bound_contextvars(intent_id=format_intent_id(claim.intent_id), fence=claim.fence):
            try:
                await self._machine.run(claim, signals)
            except ClaimLost:
                log.warning("claim_lost")
            except Exception:  # one intent's trouble must not end the worker; it is due again after a while
                log.exception("execution_failed")
                signals.gives_back = True
                await self._give_back(claim)

    async def _give_back(self, claim: Claim) -> None:
        try:
            await self._claims.release(claim, _AFTER_FAILURE_SECONDS)
        except (ClaimLost, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # The lease runs out by itself.
            log.warning("claim_not_released", error=repr(error))

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return


def _event_of(hint: bytes) -> IntentEvent | None:
    try:
        return IntentEvent.FromString(hint)
    except DecodeError:
        return None
