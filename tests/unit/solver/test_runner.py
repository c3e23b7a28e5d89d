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
from intentmesh.solver.outcomes import Stop
from intentmesh.solver.runner import JobRunner, Limits
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

from tests.unit.solver.orders import swap

JOB = Job(IntentId(b"\x01" * 32), 1, pb.ExecuteRequest(order=order_to_proto(swap())), pb.EXECUTE_STAGE_ACCEPTED, 1)


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


def runner(store: FailingStore, order_status: Callable[[], Any]) -> JobRunner:
    """A job that has to stop at its first step."""

    async def stop(*_: object) -> None:
        raise Stop(reasons.ERROR_REASON_DEADLINE_PASSED, "too late")

    async def status(_: IntentId) -> OrderStatus:
        found: OrderStatus = order_status()
        return found

    side = SimpleNamespace(input_settler=SimpleNamespace(order_status=status))
    sides: Any = SimpleNamespace(of=lambda _: side)
    filler: Any = SimpleNamespace(check_unclaimed=stop)
    unused: Any = None
    fake: Any = store
    limits = Limits(max_tries=1, fill_margin_seconds=1, settle_margin_seconds=1)
    return JobRunner(fake, sides, unused, filler, unused, unused, Bell(), limits, AtOnce())


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
