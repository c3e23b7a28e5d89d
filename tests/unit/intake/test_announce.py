"""Telling of commits: in their order, one publication at a time, in nobody's name."""

import asyncio
from collections.abc import Sequence
from typing import cast

from intentmesh.intake.announce import MAX_AT_ONCE, Announcer
from intentmesh.rpc.tracing import current_trace_id, start_trace
from intentmesh.store.hints import HintPublisher
from intentmesh.v1.event_pb2 import IntentEvent


class _Hints:
    """Each publication waits until it is let go."""

    def __init__(self) -> None:
        self.published: list[list[int]] = []
        self.traces: set[str] = set()
        self.at_a_time = 0
        self.go_on = asyncio.Event()

    async def publish(self, events: Sequence[IntentEvent]) -> None:
        self.at_a_time += 1
        assert self.at_a_time == 1
        self.published.append([event.sequence for event in events])
        self.traces.add(current_trace_id())
        await self.go_on.wait()
        self.at_a_time -= 1


def _events(*numbers: int) -> list[IntentEvent]:
    return [IntentEvent(sequence=number) for number in numbers]


async def test_announce__while_hints_are_on_their_way__goes_out_in_one_that_follows() -> None:
    hints = _Hints()
    announcer = Announcer(cast("HintPublisher", hints))
    start_trace()
    announcer.announce([])
    announcer.announce(_events(1, 2))
    await asyncio.sleep(0)
    announcer.announce(_events(3))
    announcer.announce(_events(4, 5))
    await asyncio.sleep(0)
    assert hints.published == [[1, 2]]
    hints.go_on.set()
    await announcer.drain()
    assert hints.published == [[1, 2], [3, 4, 5]]
    assert hints.traces == {""}
    announcer.announce(_events(6))
    await announcer.drain()
    assert hints.published[2:] == [[6]]


async def test_announce__far_more_than_one_command_should_hold__goes_out_in_several() -> None:
    hints = _Hints()
    hints.go_on.set()
    announcer = Announcer(cast("HintPublisher", hints))
    announcer.announce(_events(*range(MAX_AT_ONCE + 1)))
    await announcer.drain()
    assert [len(published) for published in hints.published] == [MAX_AT_ONCE, 1]


async def test_announce__right_after_a_publication__waits_for_company() -> None:
    hints = _Hints()
    hints.go_on.set()
    announcer = Announcer(cast("HintPublisher", hints))
    for number in range(1, 5):
        announcer.announce(_events(number))
        # Time enough for a publication each, were it not for the rest.
        for _ in range(5):
            await asyncio.sleep(0)
        assert hints.published == [[1]]
    await announcer.drain()
    assert hints.published == [[1], [2, 3, 4]]
