"""Anybody may register, and keys are free: a crowd of strangers costs auctions nothing, and the store only so much."""

import asyncio
import time
from collections.abc import Sequence

import asyncpg
import grpc
import pytest
from intentmesh.solver_registry.roster import MAX_SOLVERS
from intentmesh.store import solvers as store
from intentmesh.store.migrations import migrate
from intentmesh.v1 import solver_registry_service_pb2 as pb

from tests.integration.solver_registry.fakes import FakeSolver, Registry, offering, order, registry, run_auction

WAIT_SECONDS = 20.0


async def crowd(dsn: str, size: int, *, silent_seconds: float = 0) -> None:
    """Registrations of strangers, as the registry stores them."""
    conn = await asyncpg.connect(dsn)
    await conn.execute(
        "INSERT INTO solvers (solver_id, address, endpoint, signed_time, heartbeat_at) "
        "SELECT '0x00' || lpad(n::text, 38, '0'), decode(lpad(n::text, 40, '0'), 'hex'), '127.0.0.1:1', 0, "
        "now() - make_interval(secs => $2) FROM generate_series(1, $1::integer) AS n",
        size,
        silent_seconds,
    )
    await conn.close()


def stranger(number: int) -> FakeSolver:
    return FakeSolver(number, offering(1), endpoint="127.0.0.1:1")


async def listed(mesh: Registry) -> list[str]:
    answer = await mesh.anybody.ListSolvers(pb.ListSolversRequest(page_size=500))
    return [solver.solver_id for solver in answer.solvers]


async def approve(mesh: Registry, solver: FakeSolver, state: pb.SolverState.ValueType = pb.SOLVER_STATE_ACTIVE) -> None:
    await mesh.operator.UpdateSolver(pb.UpdateSolverRequest(solver_id=solver.solver_id, state=state))


async def test_live_solvers__crowd_of_strangers__is_not_read(fresh_database: str) -> None:
    await migrate(fresh_database)
    await crowd(fresh_database, 1_000)
    conn = await asyncpg.connect(fresh_database)

    async def read(configured: Sequence[str] = (), *, anybody: bool = False) -> list[str]:
        rows = await store.live_solvers(conn, MAX_SOLVERS, configured, anybody=anybody)
        return [row.solver_id for row in rows]

    one, other, gone = (f"0x00{number:038}" for number in (1, 2, 3))
    assert await read() == []
    assert await read([other]) == [other]
    await conn.execute("UPDATE solvers SET approved = true WHERE solver_id = ANY ($1)", [one, gone])
    await conn.execute("UPDATE solvers SET deregistered_at = now() WHERE solver_id = $1", gone)
    assert sorted(await read([other, gone])) == [one, other]
    assert len(await read(anybody=True)) == 999
    await conn.close()


async def test_auction__crowd_of_strangers__is_no_part_of_it_nor_of_its_record(fresh_database: str) -> None:
    async with registry(fresh_database, approved_solvers="") as mesh:
        honest = await mesh.solver(offering(1_050))
        await approve(mesh, honest)
        await crowd(fresh_database, 300)
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert [part.solver_id for part in auction.participations] == [honest.solver_id]
        quotes = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=order()))
        assert [quote.solver_id for quote in quotes.quotes] == [honest.solver_id]


async def test_register__more_strangers_than_are_kept__those_heard_last_and_whom_an_operator_knows_stay(
    fresh_database: str,
) -> None:
    configured = stranger(50)
    async with registry(fresh_database, approved_solvers="", unapproved_kept=3) as mesh:
        approved, disabled, settled = [stranger(number) for number in (60, 61, 62)]
        for solver in (approved, disabled, settled):
            await mesh.anybody.RegisterSolver(solver.registration())
        await approve(mesh, approved)
        await approve(mesh, disabled, pb.SOLVER_STATE_DISABLED)
        outcome = pb.Outcome(
            intent_id="0x" + "1" * 64, award_number=1, solver_id=settled.solver_id, kind=pb.OUTCOME_KIND_RELEASED
        )
        await mesh.executor.ReportOutcome(pb.ReportOutcomeRequest(outcome=outcome))
        strangers = [stranger(number) for number in range(1, 7)]
        for solver in strangers[:3]:
            await mesh.anybody.RegisterSolver(solver.registration())
        # Heard of again before the others come.
        await mesh.anybody.Heartbeat(strangers[0].heartbeat(at=time.time() + 1))
        for solver in strangers[3:5]:
            await mesh.anybody.RegisterSolver(solver.registration())
        known = {solver.solver_id for solver in (approved, disabled, settled)}
        assert set(await listed(mesh)) == known | {strangers[place].solver_id for place in (0, 3, 4)}
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mesh.anybody.Heartbeat(strangers[1].heartbeat(at=time.time() + 1))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        # So it registers again, and is as good as any.
        await mesh.anybody.RegisterSolver(strangers[1].registration(at=time.time() + 1))
        assert strangers[1].solver_id in await listed(mesh)
        # One that left makes room first.
        await mesh.anybody.DeregisterSolver(strangers[1].deregistration(at=time.time() + 2))
        await mesh.anybody.RegisterSolver(strangers[5].registration())
        assert set(await listed(mesh)) == known | {strangers[place].solver_id for place in (3, 4, 5)}
    # Whom the configuration approves it knows without any registration, and none is counted.
    async with registry(fresh_database, approved_solvers=configured.solver_id, unapproved_kept=1) as mesh:
        configured.endpoint = ""
        await configured.start()
        await mesh.anybody.RegisterSolver(configured.registration())
        for solver in strangers[:3]:
            await mesh.anybody.RegisterSolver(solver.registration(at=time.time() + 5))
        assert set(await listed(mesh)) == known | {configured.solver_id, strangers[2].solver_id}
        await configured.stop()


async def test_upkeep__strangers_that_fell_silent__are_forgotten(fresh_database: str) -> None:
    configured = stranger(50)
    await migrate(fresh_database)
    await crowd(fresh_database, 700, silent_seconds=7_300)
    values = {"approved_solvers": configured.solver_id, "unapproved_kept_seconds": 7_200, "refresh_seconds": 0.1}
    async with registry(fresh_database, **values) as mesh:
        waiting = stranger(1)
        await mesh.anybody.RegisterSolver(waiting.registration())
        async with asyncio.timeout(WAIT_SECONDS):
            while await listed(mesh) != [waiting.solver_id]:  # noqa: ASYNC110 (another task forgets)
                await asyncio.sleep(0.05)


async def test_upkeep__anybody_is_approved__forgets_nobody(fresh_database: str) -> None:
    await migrate(fresh_database)
    await crowd(fresh_database, 5, silent_seconds=1e6)
    async with registry(fresh_database, unapproved_kept=1, approved_solvers="*") as mesh:
        solver = await mesh.solver(offering(1))
        assert len(await listed(mesh)) == 6
        assert solver.solver_id in await listed(mesh)
