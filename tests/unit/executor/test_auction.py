"""One round of an auction, with a registry that answers as told."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from types import SimpleNamespace
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from intentmesh.domain.errors import MeshError, Unavailable
from intentmesh.domain.lifecycle import accepted, advance
from intentmesh.executor.auction import AuctionStep
from intentmesh.executor.evidence import Depth, Evidence
from intentmesh.executor.progress import Progress
from intentmesh.executor.verification import verify
from intentmesh.executor.work import View
from intentmesh.v1.auction_pb2 import Auction, Quote
from intentmesh.v1.intent_pb2 import IntentPhase

from tests.unit.executor.orders import DEADLINE, evidence, order

AUCTION = advance(accepted(), IntentPhase.INTENT_PHASE_AUCTION)


class Stage:
    """What surrounds the step: remembers what it writes. `now` in Unix seconds."""

    def __init__(self, valid_until: int | None, now: float, *, accepted_at: float = 0.0) -> None:
        """`valid_until` of the winner's offer; None where nobody offers."""
        self.now = now
        self.written: list[dict[str, Any]] = []
        self.trouble: MeshError | None = None
        self._accepted_at = datetime.fromtimestamp(accepted_at, UTC)
        self._auction = Auction(auction_id="a")
        if valid_until is not None:
            self._auction.winner.CopyFrom(Quote(solver_id="0xaa", valid_until=Timestamp(seconds=valid_until)))

    async def run_auction(self, *_: object, **__: object) -> Auction:
        if self.trouble is not None:
            raise self.trouble
        return self._auction

    async def view(self, _: object) -> View:
        return _view(evidence())

    async def write(self, work: Any, **what: Any) -> Any:
        self.written.append(what)
        return work

    async def hold(self, fruitless_rounds: int = 0, *, opened: Depth = Depth.ABSENT) -> float:
        """The seconds to wait after one round."""
        work: Any = SimpleNamespace(
            state=AUCTION,
            progress=Progress(fruitless_rounds=fruitless_rounds),
            text_id="0x01",
            order=order(),
            row=SimpleNamespace(award_number=0, reason=0, created_at=self._accepted_at),
        )
        here: Any = self
        step = AuctionStep(
            here,
            here,
            here,
            lambda: self.now,
            _Longest(),
            retry_base_seconds=1,
            retry_cap_seconds=2,
            longest_seconds=60,
        )
        _, wait = await step.hold(work, _view(evidence(opened=opened)))
        return wait


class _Longest(Random):
    """Draws the most that may be drawn."""

    def uniform(self, _: float, b: float) -> float:
        return b


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


async def test_hold__nobody_wants_a_new_order__asks_again_within_the_cap() -> None:
    stage = Stage(valid_until=None, now=DEADLINE - 1_000, accepted_at=DEADLINE - 1_005)
    assert await stage.hold() == 1
    assert await stage.hold(fruitless_rounds=20) == 2


async def test_hold__nobody_wanted_the_order_for_long__asks_the_less_often() -> None:
    stage = Stage(valid_until=None, now=DEADLINE - 1_000, accepted_at=DEADLINE - 1_160)
    assert await stage.hold(fruitless_rounds=20) == 20
    stage = Stage(valid_until=None, now=DEADLINE - 1_000, accepted_at=DEADLINE - 5_000)
    assert await stage.hold(fruitless_rounds=20) == 60


async def test_hold__nobody_wants_an_opened_order__asks_within_the_cap_however_long_it_stood() -> None:
    stage = Stage(valid_until=None, now=DEADLINE - 1_000, accepted_at=DEADLINE - 5_000)
    assert await stage.hold(fruitless_rounds=20, opened=Depth.CONFIRMED) == 2


async def test_hold__registry_away_while_an_order_stands_for_long__asks_again_soon() -> None:
    stage = Stage(valid_until=None, now=DEADLINE - 1_000, accepted_at=DEADLINE - 5_000)
    stage.trouble = Unavailable("away")
    assert await stage.hold(fruitless_rounds=20) == 2


async def test_hold__deadline_comes_before_the_next_auction__waits_no_longer() -> None:
    stage = Stage(valid_until=None, now=DEADLINE - 10, accepted_at=DEADLINE - 5_000)
    assert 10 < await stage.hold(fruitless_rounds=20) < 11
