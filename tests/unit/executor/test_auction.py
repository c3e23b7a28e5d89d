"""One round of an auction, with a registry that answers as told."""

from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from intentmesh.domain.lifecycle import accepted, advance
from intentmesh.executor.auction import AuctionStep
from intentmesh.executor.evidence import Evidence
from intentmesh.executor.progress import Progress
from intentmesh.executor.verification import verify
from intentmesh.executor.work import View
from intentmesh.v1.auction_pb2 import Auction, Quote
from intentmesh.v1.intent_pb2 import IntentPhase

from tests.unit.executor.orders import DEADLINE, evidence, order

AUCTION = advance(accepted(), IntentPhase.INTENT_PHASE_AUCTION)


class Stage:
    """What surrounds the step: remembers what it writes. `now` in Unix seconds."""

    def __init__(self, valid_until: int, now: float) -> None:
        self.now = now
        self.written: list[dict[str, Any]] = []
        quote = Quote(solver_id="0xaa", valid_until=Timestamp(seconds=valid_until))
        self._auction = Auction(auction_id="a", winner=quote)

    async def run_auction(self, *_: object, **__: object) -> Auction:
        return self._auction

    async def view(self, _: object) -> View:
        return _view(evidence())

    async def write(self, work: Any, **what: Any) -> Any:
        self.written.append(what)
        return work

    async def hold(self) -> float:
        work: Any = SimpleNamespace(
            state=AUCTION,
            progress=Progress(),
            text_id="0x01",
            order=order(),
            row=SimpleNamespace(award_number=0, reason=0),
        )
        here: Any = self
        step = AuctionStep(here, here, here, lambda: self.now, Random(1), retry_base_seconds=1, retry_cap_seconds=2)
        _, wait = await step.hold(work, _view(evidence()))
        return wait


def _view(shown: Evidence) -> View:
    return View(shown, verify(order(), shown))


async def test_hold__winner_lapsed_already__is_not_asked_in_the_next_round() -> None:
    stage = Stage(valid_until=DEADLINE - 101, now=DEADLINE - 100)
    await stage.hold()
    assert stage.written == [{"progress": replace(Progress(), rounds=1, excluded=("0xaa",))}]


async def test_hold__fill_deadline_passed_meanwhile__awards_nothing() -> None:
    stage = Stage(valid_until=DEADLINE + 100, now=DEADLINE)
    await stage.hold()
    assert not any("award" in what for what in stage.written)
