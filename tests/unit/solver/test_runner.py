"""What ends a job, and what must not."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

from intentmesh.chain.input_settler import OrderStatus
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.types import IntentId
from intentmesh.solver.bell import Bell
from intentmesh.solver.jobs import Job, Report
from intentmesh.solver.opening import Opening
from intentmesh.solver.outcomes import Stop
from intentmesh.solver.runner import JobRunner, Limits
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

from tests.unit.solver.orders import ALPHA, chain, swap

JOB = Job(IntentId(b"\x01" * 32), 1, pb.ExecuteRequest(order=order_to_proto(swap())), pb.EXECUTE_STAGE_ACCEPTED, 1)

FILL_MARGIN_SECONDS = 10


class AtOnce(Random):
    """Every wait is the shortest."""

    def uniform(self, a: float, b: float) -> float:  # noqa: ARG002 - the signature is Random's
        return a


class FailingStore:
    """A database that is away for the first calls."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.told: list[Report] = []

    async def record(self, _intent_id: IntentId, _award_number: int, report: Report) -> Job | None:
        if self.failures:
            self.failures -= 1
            raise ConnectionRefusedError("the database is away")
        self.told.append(report)
        return None


class Opener:
    """Remembers what it is asked for, and stops."""

    def __init__(self) -> None:
        self.asked: list[Opening] = []

    async def run(self, job: Opening, *_: object) -> None:
        self.asked.append(job)
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "enough")


async def test_run__deep_confirmations__opens_only_while_they_can_still_come_before_the_fill() -> None:
    # Opened later than this, the order could not be filled any more and would lock the user's funds.
    opener = Opener()
    await runner(FailingStore(failures=0), lambda: OrderStatus.NONE, opener=opener, confirmations=12).run(JOB)
    assert [job.margin_seconds for job in opener.asked] == [12 + FILL_MARGIN_SECONDS]


def runner(
    store: FailingStore, order_status: Callable[[], Any], *, opener: Opener | None = None, confirmations: int = 1
) -> JobRunner:
    """A job that has to stop at its first step."""

    async def check_unclaimed(*_: object) -> None:
        if opener is not None:
            return
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "too late")

    async def status(_: IntentId) -> OrderStatus:
        found: OrderStatus = order_status()
        return found

    config = chain(ALPHA, "alpha", confirmations=confirmations)
    side = SimpleNamespace(config=config, input_settler=SimpleNamespace(order_status=status))
    sides: Any = SimpleNamespace(of=lambda _: side)
    filler: Any = SimpleNamespace(check_unclaimed=check_unclaimed)
    unused: Any = None
    fake: Any = store
    opening: Any = opener
    limits = Limits(max_tries=1, fill_margin_seconds=FILL_MARGIN_SECONDS, settle_margin_seconds=1)
    return JobRunner(fake, sides, opening, filler, unused, unused, Bell(), limits, AtOnce())


async def test_run__database_away_at_the_end__ends_once_it_is_back() -> None:
    store = FailingStore(failures=2)
    await runner(store, lambda: OrderStatus.NONE).run(JOB)
    assert [report.stage for report in store.told] == [pb.EXECUTE_STAGE_RELEASED]


async def test_run__chain_answers_nonsense_at_the_end__asks_again() -> None:
    answers = iter([ValueError("7 is not a valid OrderStatus"), OrderStatus.NONE])

    def status() -> OrderStatus:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    store = FailingStore(failures=0)
    await runner(store, status).run(JOB)
    assert [report.stage for report in store.told] == [pb.EXECUTE_STAGE_RELEASED]
