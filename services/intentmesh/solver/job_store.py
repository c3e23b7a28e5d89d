"""The solver's own database: jobs, what was told about them, reservations, tries. Each method is one transaction."""

from decimal import Decimal
from typing import Any, Final

import asyncpg

from intentmesh.domain.types import Address, ChainId, IntentId
from intentmesh.solver.calls import Call, Try
from intentmesh.solver.declined import Declined
from intentmesh.solver.jobs import ENDED, FREES_INVENTORY, Funds, Job, Report, Reservations, advances, to_update
from intentmesh.store.queries import load_queries
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import solver_service_pb2 as pb

_SQL: Final = load_queries("intentmesh.solver.queries", "jobs")
NO_INTENT: Final = IntentId(bytes(32))


class FundsOutdated(Exception):
    """Tokens were freed since the balances were read: read them again."""


class JobStore:
    """Raises the errors of asyncpg when the database cannot be reached; nothing is half written then."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def get(self, intent_id: IntentId) -> Job | None:
        """The job of an intent under its newest award."""
        return _to_job(await self._pool.fetchrow(_SQL["get_job"], intent_id))

    async def unfinished(self) -> list[Job]:
        """Every job that has to be gone on with, oldest first."""
        return [_job(row) for row in await self._pool.fetch(_SQL["unfinished_jobs"])]

    async def take(
        self,
        intent_id: IntentId,
        request: pb.ExecuteRequest,
        first: Report,
        needs: Reservations,
        funds: Funds | None,
    ) -> tuple[Job, bool]:
        """Store an award with its first update and hold back what it needs.

        Returns the job and whether this call stored it: an award as high as this one that is stored already wins.
        Raises Declined, and stores nothing, when the funds less what other jobs hold back do not cover the needs, and
        FundsOutdated when that cannot be told from them. `funds` None: the needs are covered for certain.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute(_SQL["lock_admission"])
            if funds is not None:
                await _check_cover(conn, intent_id, needs, funds)
            ended = first.stage in ENDED
            stored = await conn.fetchrow(
                _SQL["put_award"],
                *(intent_id, request.award_number, request.SerializeToString(), first.stage, ended),
            )
            if stored is None:
                return _job(await conn.fetchrow(_SQL["get_job"], intent_id)), False
            await conn.execute(_SQL["free_reservations"], intent_id)
            if not ended:
                rows = [(intent_id, chain_id, token, units) for (chain_id, token), units in needs.items() if units]
                await conn.executemany(_SQL["reserve"], rows)
            await _add_update(conn, intent_id, request.award_number, to_update(first, 1))
            return _job(stored), True

    async def record(self, intent_id: IntentId, award_number: int, report: Report) -> Job | None:
        """Bring a job on by one update. None when it does not advance or the award is no longer the newest."""
        async with self._pool.acquire() as conn, conn.transaction():
            job = _to_job(await conn.fetchrow(_SQL["lock_job"], intent_id))
            if job is None or job.award_number != award_number or not advances(job.stage, report.stage):
                return None
            number = job.update_number + 1
            await conn.execute(_SQL["advance_job"], intent_id, report.stage, number, report.stage in ENDED)
            await _add_update(conn, intent_id, award_number, to_update(report, number))
            if report.stage in FREES_INVENTORY:
                await conn.execute(_SQL["free_reservations"], intent_id)
            return Job(intent_id, award_number, job.request, report.stage, number)

    async def updates(self, intent_id: IntentId, award_number: int, after: int) -> list[pb.ExecuteResponse]:
        """The updates of an award after a number, in their order."""
        rows = await self._pool.fetch(_SQL["read_updates"], intent_id, award_number, after)
        return [pb.ExecuteResponse.FromString(row["payload"]) for row in rows]

    async def reserved(self, chain_id: ChainId, token: Address) -> int:
        """What is held back of a token for all jobs, in its smallest unit."""
        return int(await self._pool.fetchval(_SQL["reserved"], chain_id, token, NO_INTENT))

    async def frees(self) -> int:
        """How often tokens that were held back for a job were freed."""
        return int(await self._pool.fetchval(_SQL["frees"]))

    async def current_try(self, step: str) -> Try | None:
        """The try of a step that was begun and is not known to have come to nothing."""
        row = await self._pool.fetchrow(_SQL["get_try"], step)
        if row is None or row["data"] is None:
            return None
        call = Call(Address(row["to_address"]), row["data"], int(row["value"]), row["deadline"])
        return Try(row["try_number"], call)

    async def begin_try(self, step: str, call: Call) -> Try:
        """Write down what is about to be sent. Returns the current try, which stays as it is if it was begun before."""
        await self._pool.execute(_SQL["begin_try"], step, call.to, call.data, Decimal(call.value), call.deadline)
        current = await self.current_try(step)
        if current is None:
            raise RuntimeError(f"two tasks work on {step}")
        return current

    async def end_try(self, step: str, number: int) -> None:
        """A try is known to have come to nothing: the next one may begin."""
        await self._pool.execute(_SQL["end_try"], step, number)

    async def check(self) -> None:
        """Raises what asyncpg raises when the database does not answer."""
        await self._pool.execute("SELECT 1")


async def _check_cover(
    conn: asyncpg.pool.PoolConnectionProxy, intent_id: IntentId, needs: Reservations, funds: Funds
) -> None:
    for (chain_id, token), units in needs.items():
        # One statement: tokens freed between two would be missing from the sum and from the count.
        held, frees = await conn.fetchrow(_SQL["reserved"], chain_id, token, intent_id)
        if frees != funds.frees:
            raise FundsOutdated
        if units > funds.balances[chain_id, token] - int(held):
            raise Declined(reasons.ERROR_REASON_NO_QUOTES, "this solver holds too little of the output token")


async def _add_update(
    conn: asyncpg.pool.PoolConnectionProxy, intent_id: IntentId, award_number: int, update: pb.ExecuteResponse
) -> None:
    await conn.execute(_SQL["add_update"], intent_id, award_number, update.update_number, update.SerializeToString())


def _to_job(row: Any) -> Job | None:
    return None if row is None else _job(row)


def _job(row: Any) -> Job:
    return Job(
        IntentId(row["intent_id"]),
        row["award_number"],
        pb.ExecuteRequest.FromString(row["request"]),
        pb.ExecuteStage.ValueType(row["stage"]),
        row["update_number"],
    )
