"""SubmitIntents: one stream of orders, worked on as they come, answered as they are done.

A window bounds what a stream has in hand: the orders whose outcome is open and the results that are not sent yet. A
full window stops the reading, which HTTP/2 tells the sender. Results that wait while a message is sent go out together
in the next one.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence

from intentmesh.domain.errors import MeshError
from intentmesh.intake import answers
from intentmesh.intake.admission import Admission, Assessment
from intentmesh.intake.caller import Caller
from intentmesh.intake.rate_limits import Budget, RateLimiter, limit_reached
from intentmesh.intake.turns import Turns
from intentmesh.intake.waiting import Outcome
from intentmesh.rpc.leases import Grant
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1 import intake_service_pb2 as pb

# Orders whose outcome is open, and results that are not sent. More would only wait longer, and out of the processor's
# caches: with eight streams of four times as many, each order costs 6 % more.
WINDOW_ITEMS = 256
# Results in one message.
MAX_RESULTS = 512
# Orders that ask the store or the chain at a time.
_EXAMINED_AT_A_TIME = 32


class Submissions:
    """One stream of one caller."""

    def __init__(
        self,
        admission: Admission,
        limiter: RateLimiter,
        validator: RequestValidator,
        turns: Turns,
        caller: Caller,
    ) -> None:
        self._admission = admission
        self._limiter = limiter
        self._validator = validator
        self._turns = turns
        self._caller = caller
        # Counted, and not sent yet: item id and outcome.
        self._results: list[tuple[int, Outcome]] = []
        self._open = 0
        self._reading = True
        # Of the new intents, as counted last.
        self.grant: Grant | None = None
        self._fault: Exception | None = None
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._examining = asyncio.Semaphore(_EXAMINED_AT_A_TIME)
        self._examinations: set[asyncio.Task[None]] = set()

    async def answers(
        self, messages: AsyncIterator[pb.SubmitIntentsRequest]
    ) -> AsyncGenerator[pb.SubmitIntentsResponse, None]:
        """One result for each item, in the order in which they are done. What ends the stream is raised at its end."""
        reader = asyncio.create_task(self._read(messages), name="submissions")
        try:
            while self._reading or self._open or self._results:
                if not self._results:
                    self._news.clear()
                    await self._news.wait()
                    continue
                ready, self._results = self._results[:MAX_RESULTS], self._results[MAX_RESULTS:]
                self._room.set()
                yield answers.results(ready)
            if self._fault is not None:
                raise self._fault
        finally:
            for task in (reader, *self._examinations):
                task.cancel()
            await asyncio.gather(reader, *self._examinations, return_exceptions=True)

    async def _read(self, messages: AsyncIterator[pb.SubmitIntentsRequest]) -> None:
        try:
            # A stream is a request, whatever comes on it: its first message is counted with it.
            await self._limiter.count(Budget.REQUESTS, self._caller)
            is_first = True
            async for message in messages:
                if not is_first:
                    await self._limiter.count(Budget.REQUESTS, self._caller)
                is_first = False
                await self._take(message)
        except Exception as error:  # noqa: BLE001 (raised by `answers` when what is in hand has been answered)
            self._fault = error
        finally:
            self._reading = False
            self._news.set()

    async def _take(self, message: pb.SubmitIntentsRequest) -> None:
        items = message.items
        self._require_items(message)
        grant = self.grant = await self._limiter.take(Budget.NEW_INTENTS, self._caller, len(items))
        await self._wait_for_room(len(items))
        begun = 0
        while begun < grant.granted:
            count = await self._turns.take(grant.granted - begun)
            self._begin(items[begun : begun + count])
            begun += count
        if grant.granted < len(items):
            self._refuse(items[grant.granted :], limit_reached(Budget.NEW_INTENTS, grant))

    def _begin(self, items: Sequence[pb.SubmitIntentItem]) -> None:
        """One bad item spoils nothing: whatever goes wrong becomes its own result."""
        self._open += len(items)
        admitted = [
            (item, assessment) for item, assessment in self._assess(items) if self._is_admitted(item, assessment)
        ]
        for item, assessment in admitted:
            try:
                self._hand_over(item, assessment)
            except Exception as error:  # noqa: BLE001 (the interceptor's work, item by item)
                self._finish(item, error)

    def _assess(self, items: Sequence[pb.SubmitIntentItem]) -> Iterable[tuple[pb.SubmitIntentItem, Assessment]]:
        try:
            return zip(items, self._admission.assess_all([item.intent for item in items], self._caller), strict=True)
        except Exception as error:  # noqa: BLE001 (as above)
            if len(items) == 1:
                self._finish(items[0], error)
                return ()
        # Nobody suffers for another's sake: one by one.
        return [assessed for item in items for assessed in self._assess([item])]

    def _is_admitted(self, item: pb.SubmitIntentItem, assessment: Assessment) -> bool:
        try:
            if self._admission.admit_now(assessment, self._caller):
                return True
        except Exception as error:  # noqa: BLE001 (as above)
            self._finish(item, error)
            return False
        task = asyncio.create_task(self._examine(item, assessment))
        self._examinations.add(task)
        task.add_done_callback(self._examinations.discard)
        return False

    async def _examine(self, item: pb.SubmitIntentItem, assessment: Assessment) -> None:
        try:
            async with self._examining:
                stored = await self._admission.examine(assessment, self._caller)
            if stored is None:
                self._hand_over(item, assessment)
                return
            self._finish(item, stored)
        except Exception as error:  # noqa: BLE001 (as above)
            self._finish(item, error)

    def _hand_over(self, item: pb.SubmitIntentItem, assessment: Assessment) -> None:
        self._admission.begin(assessment, self._caller, lambda outcome: self._finish(item, outcome))

    def _finish(self, item: pb.SubmitIntentItem, outcome: Outcome) -> None:
        self._open -= 1
        answers.count(item.intent.type, outcome)
        self._results.append((item.item_id, outcome))
        self._news.set()
        self._room.set()

    def _refuse(self, items: Iterable[pb.SubmitIntentItem], error: MeshError) -> None:
        for item in items:
            self._open += 1
            self._finish(item, error)

    async def _wait_for_room(self, count: int) -> None:
        while (in_hand := self._open + len(self._results)) and in_hand + count > WINDOW_ITEMS:
            self._room.clear()
            await self._room.wait()

    def _require_items(self, message: pb.SubmitIntentsRequest) -> None:
        """The items are validated one by one; here only that there are some, and not too many."""
        count = len(message.items)
        if not 0 < count <= answers.MAX_ITEMS:
            self._validator.check(
                pb.SubmitIntentsRequest(items=[pb.SubmitIntentItem()] * min(count, answers.MAX_ITEMS + 1))
            )
