"""The running jobs of this process: at most one task per intent."""

import asyncio

import structlog

from intentmesh.domain.types import IntentId, format_intent_id
from intentmesh.solver import metrics
from intentmesh.solver.job_store import JobStore
from intentmesh.solver.jobs import Job
from intentmesh.solver.runner import JobRunner


class Crew:
    """Starts, replaces and stops the work on jobs. What is stopped goes on at the next start."""

    def __init__(self, runner: JobRunner, store: JobStore) -> None:
        self._runner = runner
        self._store = store
        self._tasks: dict[IntentId, asyncio.Task[None]] = {}
        # The award that each task works on, or is about to.
        self._awards: dict[IntentId, int] = {}
        self._closed = False

    async def resume(self) -> int:
        """Take up every job that was not ended; returns their number."""
        jobs = await self._store.unfinished()
        for job in jobs:
            await self.work_on(job)
        return len(jobs)

    async def work_on(self, job: Job) -> None:
        """Work on this award of the job, and no longer on an earlier one."""
        if self._closed or job.ended:
            return
        if self._awards.get(job.intent_id, 0) > job.award_number:
            return
        self._awards[job.intent_id] = job.award_number
        await self._stop(job.intent_id)
        if self._closed or self._awards.get(job.intent_id) != job.award_number:
            return
        task = asyncio.create_task(self._run(job), name=f"job {format_intent_id(job.intent_id)}")
        self._tasks[job.intent_id] = task
        metrics.JOBS_RUNNING.set(len(self._tasks))
        task.add_done_callback(lambda done: self._forget(job.intent_id, done))

    async def close(self) -> None:
        """Stop all work; transactions that are out stay out and are found again."""
        self._closed = True
        await asyncio.gather(*(self._stop(intent_id) for intent_id in list(self._tasks)))

    async def _run(self, job: Job) -> None:
        # The call that brought the job ends before it; its trace stays.
        structlog.contextvars.unbind_contextvars("method")
        with structlog.contextvars.bound_contextvars(
            intent_id=format_intent_id(job.intent_id), award_number=job.award_number
        ):
            await self._runner.run(job)

    async def _stop(self, intent_id: IntentId) -> None:
        task = self._tasks.pop(intent_id, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _forget(self, intent_id: IntentId, task: asyncio.Task[None]) -> None:
        if self._tasks.get(intent_id) is task:
            del self._tasks[intent_id]
            self._awards.pop(intent_id, None)
        metrics.JOBS_RUNNING.set(len(self._tasks))
