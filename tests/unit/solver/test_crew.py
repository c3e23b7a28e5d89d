import asyncio
from dataclasses import replace
from typing import Any

from intentmesh.domain.types import IntentId
from intentmesh.solver.crew import Crew
from intentmesh.solver.jobs import Job
from intentmesh.v1 import solver_service_pb2 as pb

FIRST = Job(IntentId(b"\x01" * 32), 1, pb.ExecuteRequest(), pb.EXECUTE_STAGE_ACCEPTED, 1)
SECOND = replace(FIRST, award_number=2)


class Runner:
    """Works for ever; knows on what at the moment."""

    def __init__(self) -> None:
        self.working: list[int] = []

    async def run(self, job: Job) -> None:
        self.working.append(job.award_number)
        try:
            await asyncio.Event().wait()
        finally:
            self.working.remove(job.award_number)


async def working_after(*jobs: Job) -> list[int]:
    runner: Any = Runner()
    unused: Any = None
    crew = Crew(runner, unused)
    for job in jobs:
        await crew.work_on(job)
        await asyncio.sleep(0)
    working = list(runner.working)
    await crew.close()
    return working


async def test_work_on__higher_award__replaces_the_lower() -> None:
    assert await working_after(FIRST, SECOND) == [2]


async def test_work_on__lower_award_comes_late__the_higher_goes_on() -> None:
    # Two calls that store awards one after the other may start the work in the other sequence.
    assert await working_after(SECOND, FIRST) == [2]
