"""Entering, leaving, approval, heartbeats, outcomes and the numbers that follow from them."""

import asyncio
import subprocess
import sys
import time
import urllib.request
from random import Random

import asyncpg
import grpc
import pytest
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.metrics import RPC_HANDLED
from intentmesh.solver.registration import Registration
from intentmesh.transactions.signers import Signer
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason

from tests.integration.solver_registry.fakes import FakeSolver, Registry, offering, registry, run_auction

WAIT_SECONDS = 30.0


async def refused(call, code: grpc.StatusCode, reason: "ErrorReason.ValueType | None" = None) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code
    if reason is not None:
        assert mesh_error_from_rpc(caught.value).reason == reason


async def state(mesh: Registry, solver: FakeSolver) -> str:
    answer = await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id.upper().replace("X", "x")))
    return pb.SolverState.Name(answer.solver.state).removeprefix("SOLVER_STATE_")


async def test_register__signed_and_approved__is_active_with_its_routes(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1), register=False)
        shown = (await mesh.anybody.RegisterSolver(solver.registration())).solver
        assert (shown.solver_id, shown.endpoint, shown.name) == (solver.solver_id, solver.endpoint, "solver 1")
        assert shown.address.lower() == solver.solver_id
        assert shown.state == pb.SOLVER_STATE_ACTIVE
        assert [(r.origin_chain_id, r.destination_chain_id) for r in shown.routes] == [(31337, 31338)]
        assert (shown.performance_score, shown.success_rate) == (90.0, 1.0)
        again = (await mesh.anybody.RegisterSolver(solver.registration())).solver
        assert again.create_time == shown.create_time


async def test_register__what_is_wrong__is_refused_with_its_reason(fresh_database: str) -> None:
    invalid, now = grpc.StatusCode.INVALID_ARGUMENT, time.time()
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1), register=False)
        other = await mesh.solver(offering(1), register=False)
        register = mesh.anybody.RegisterSolver
        wrong_owner = ErrorReason.ERROR_REASON_WRONG_OWNER
        await refused(register(solver.registration(signature=other.registration().signature)), invalid, wrong_owner)
        await refused(register(solver.registration(endpoint=other.endpoint)), invalid, wrong_owner)
        await refused(
            register(solver.registration(signature=bytes(65))), invalid, ErrorReason.ERROR_REASON_INVALID_SIGNATURE
        )
        await refused(register(solver.registration(at=now - 310)), invalid)
        await refused(register(solver.registration(at=now + 310)), invalid)
        await register(solver.registration(at=now - 290))
        for endpoint in ("unix:/tmp/x", "nonsense", "host:0", "dns://8.8.8.8/host:1", "host:²", "host:\uff11"):
            await refused(register(solver.registration(endpoint=endpoint)), invalid)
        solver.says_address = other.registration().address
        await refused(register(solver.registration()), invalid, wrong_owner)
        await other.stop()
        await refused(register(other.registration()), grpc.StatusCode.UNAVAILABLE)


async def test_register__an_older_signature__is_a_replay_and_changes_nothing(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1), register=False)
        old = solver.registration(at=time.time() - 60)
        await mesh.anybody.RegisterSolver(old)
        await mesh.anybody.DeregisterSolver(solver.deregistration(at=time.time() - 30))
        await refused(mesh.anybody.RegisterSolver(old), grpc.StatusCode.FAILED_PRECONDITION)
        assert await state(mesh, solver) == "DEREGISTERED"
        await mesh.anybody.RegisterSolver(solver.registration())
        assert await state(mesh, solver) == "ACTIVE"
        await refused(
            mesh.anybody.DeregisterSolver(solver.deregistration(at=time.time() - 30)),
            grpc.StatusCode.FAILED_PRECONDITION,
        )


async def test_approval__by_configuration_or_operator__decides_who_takes_part(fresh_database: str) -> None:
    async with registry(fresh_database, approved_solvers="0x" + "77" * 20) as mesh:
        solver = await mesh.solver(offering(1_000))
        assert await state(mesh, solver) == "AWAITING_APPROVAL"
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert not auction.participations
        approve = pb.UpdateSolverRequest(solver_id=solver.solver_id, state=pb.SOLVER_STATE_ACTIVE)
        shown = (await mesh.operator.UpdateSolver(approve)).solver
        assert (shown.state, len(shown.routes)) == (pb.SOLVER_STATE_ACTIVE, 1)
        assert (await mesh.executor.RunAuction(run_auction(2))).auction.HasField("winner")
        await mesh.operator.UpdateSolver(
            pb.UpdateSolverRequest(solver_id=solver.solver_id, state=pb.SOLVER_STATE_DISABLED)
        )
        await mesh.anybody.RegisterSolver(solver.registration())
        assert await state(mesh, solver) == "DISABLED"
        assert not (await mesh.executor.RunAuction(run_auction(3))).auction.HasField("winner")
        benched = pb.UpdateSolverRequest(solver_id=solver.solver_id, state=pb.SOLVER_STATE_BENCHED)
        await refused(mesh.operator.UpdateSolver(benched), grpc.StatusCode.INVALID_ARGUMENT)


async def test_approval__the_configured_address__in_any_case(fresh_database: str) -> None:
    configured = FakeSolver(1, offering(1)).registration().address
    async with registry(fresh_database, approved_solvers=configured) as mesh:
        assert await state(mesh, await mesh.solver(offering(1))) == "ACTIVE"


async def test_heartbeat__missed_then_sent__decides_who_is_asked(fresh_database: str) -> None:
    async with registry(fresh_database, heartbeat_interval_seconds=7) as mesh:
        solver = await mesh.solver(offering(1_000))
        await fall_silent(fresh_database)
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert auction.participations[0].message == "no heartbeat for 22 s"
        beat = await mesh.anybody.Heartbeat(solver.heartbeat(at=time.time() + 1))
        assert beat.interval_seconds == 7
        assert (await mesh.executor.RunAuction(run_auction(2))).auction.HasField("winner")
        await mesh.anybody.DeregisterSolver(solver.deregistration(at=time.time() + 1))
        for one in (solver, FakeSolver(99, offering(1))):
            gone = mesh.anybody.Heartbeat(one.heartbeat(at=time.time() + 2))
            await refused(gone, grpc.StatusCode.NOT_FOUND, ErrorReason.ERROR_REASON_NOT_FOUND)


async def test_heartbeat__not_of_the_solver__keeps_no_dead_solver_alive(fresh_database: str) -> None:
    now, invalid = time.time(), grpc.StatusCode.INVALID_ARGUMENT
    async with registry(fresh_database, heartbeat_interval_seconds=7) as mesh:
        dead, other = await mesh.solver(offering(1_000), register=False), FakeSolver(99, offering(1))
        await mesh.anybody.RegisterSolver(dead.registration(at=now - 60))
        await fall_silent(fresh_database)
        for caller in (mesh.anybody, mesh.operator):
            unsigned = caller.Heartbeat(pb.HeartbeatRequest(solver_id=dead.solver_id))
            await refused(unsigned, grpc.StatusCode.UNAUTHENTICATED, ErrorReason.ERROR_REASON_UNAUTHENTICATED)
        for wrong in (
            dead.heartbeat(signature=other.heartbeat().signature),
            dead.heartbeat(signature=dead.deregistration().signature),
            other.heartbeat(solver_id=dead.solver_id),
            dead.heartbeat(signed_time=int(now) - 1),
        ):
            await refused(mesh.anybody.Heartbeat(wrong), invalid, ErrorReason.ERROR_REASON_WRONG_OWNER)
        await refused(mesh.anybody.Heartbeat(dead.heartbeat(signature=b"1")), invalid)
        for at in (now - 310, now + 310):
            await refused(mesh.anybody.Heartbeat(dead.heartbeat(at=at)), invalid)
        nobody = dead.heartbeat(solver_id="no-address")
        await refused(mesh.anybody.Heartbeat(nobody), grpc.StatusCode.NOT_FOUND)
        assert await _asked(mesh, 1) == "no heartbeat for 22 s"


async def test_heartbeat__shown_again_by_whoever_saw_it__keeps_no_dead_solver_alive(fresh_database: str) -> None:
    now, stale = time.time(), grpc.StatusCode.FAILED_PRECONDITION
    async with registry(fresh_database, heartbeat_interval_seconds=7) as mesh:
        solver = await mesh.solver(offering(1_000), register=False)
        registered = solver.registration(at=now - 90)
        await mesh.anybody.RegisterSolver(registered)
        await fall_silent(fresh_database)
        await mesh.anybody.RegisterSolver(registered)
        assert await _asked(mesh, 1) == "no heartbeat for 22 s"
        first, last = solver.heartbeat(at=now - 60), solver.heartbeat(at=now - 30)
        for beat in (first, last):
            await mesh.anybody.Heartbeat(beat)
        assert await _asked(mesh, 2) == ""
        await fall_silent(fresh_database)
        # The solver itself may not know whether its own has come.
        await mesh.anybody.Heartbeat(last)
        await refused(mesh.anybody.Heartbeat(first), stale, ErrorReason.ERROR_REASON_REQUEST_ID_REUSED)
        await refused(mesh.anybody.RegisterSolver(registered), stale)
        assert await _asked(mesh, 3) == "no heartbeat for 22 s"
        await mesh.anybody.Heartbeat(solver.heartbeat(at=now))
        assert await _asked(mesh, 4) == ""


async def test_heartbeat__of_the_reference_solver__keeps_it_eligible(fresh_database: str) -> None:
    beats = RPC_HANDLED.labels("intentmesh.v1.SolverRegistryService", "Heartbeat", "OK")._value
    before = beats.get()
    async with registry(fresh_database, heartbeat_interval_seconds=1) as mesh, open_channel(mesh.running.target) as own:
        solver = await mesh.solver(offering(1_000), register=False)
        registration = Registration(own, Signer(solver.key), solver.endpoint, "reference", Random(1))
        running = asyncio.create_task(registration.run())
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while beats.get() < before + 4:  # noqa: ASYNC110 (the solver's own pace)
                    await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        shown = (await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id))).solver
    assert shown.last_heartbeat_time.ToNanoseconds() > shown.create_time.ToNanoseconds()


async def test_heartbeat__of_the_reference_solver_whose_clock_was_set_back__keeps_it_eligible(
    fresh_database: str,
) -> None:
    async with registry(fresh_database, heartbeat_interval_seconds=1) as mesh, open_channel(mesh.running.target) as own:
        solver = await mesh.solver(offering(1_000))
        # Signed before that, or by another replica.
        newest = solver.heartbeat(at=time.time() + 2)
        await mesh.anybody.Heartbeat(newest)
        registration = Registration(
            own, Signer(solver.key), solver.endpoint, "reference", Random(1), lambda: time.time() - 120
        )
        running = asyncio.create_task(registration.run())
        try:
            for _ in range(3):
                before = (await _shown(mesh, solver)).last_heartbeat_time.ToNanoseconds()
                async with asyncio.timeout(WAIT_SECONDS):
                    while (await _shown(mesh, solver)).last_heartbeat_time.ToNanoseconds() == before:  # noqa: ASYNC110 (the solver's own pace)
                        await asyncio.sleep(0.05)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def _shown(mesh: Registry, solver: FakeSolver) -> pb.Solver:
    return (await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id))).solver


async def test_deregister__signed_by_another__takes_nobody_out(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver, other = await mesh.solver(offering(1_000)), FakeSolver(99, offering(1))
        forged = solver.deregistration(at=time.time() + 1)
        forged.signature = other.deregistration(at=time.time() + 1).signature
        wrong_owner = ErrorReason.ERROR_REASON_WRONG_OWNER
        await refused(mesh.anybody.DeregisterSolver(forged), grpc.StatusCode.INVALID_ARGUMENT, wrong_owner)
        forged.signature = b""
        await refused(mesh.anybody.DeregisterSolver(forged), grpc.StatusCode.INVALID_ARGUMENT)
        assert await state(mesh, solver) == "ACTIVE"


async def fall_silent(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute("UPDATE solvers SET heartbeat_at = now() - interval '22 seconds'")
    await conn.close()


async def _asked(mesh: Registry, number: int) -> str:
    """Why the only solver was not asked; empty where it won."""
    auction = (await mesh.executor.RunAuction(run_auction(number))).auction
    assert len(auction.participations) == 1
    return auction.participations[0].message


def outcome(
    solver: FakeSolver, number: int, kind: int, cause: int = pb.OUTCOME_CAUSE_SOLVER
) -> pb.ReportOutcomeRequest:
    return pb.ReportOutcomeRequest(
        outcome=pb.Outcome(
            intent_id=f"0x{number:064x}",
            award_number=1,
            solver_id=solver.solver_id,
            kind=kind,  # type: ignore[arg-type]  # an enum's number
            cause=cause,  # type: ignore[arg-type]  # as above
        )
    )


async def test_report_outcome__causes_and_repetitions__only_the_solvers_own_failures_count(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1_000))
        report = mesh.executor.ReportOutcome
        for _ in range(3):
            await report(outcome(solver, 1, pb.OUTCOME_KIND_SETTLED))
        await report(outcome(solver, 2, pb.OUTCOME_KIND_SETTLED, pb.OUTCOME_CAUSE_UNSPECIFIED))
        await report(outcome(solver, 3, pb.OUTCOME_KIND_FADED))
        await report(outcome(solver, 4, pb.OUTCOME_KIND_FAILED))
        for number, cause in enumerate((pb.OUTCOME_CAUSE_USER, pb.OUTCOME_CAUSE_CHAIN, pb.OUTCOME_CAUSE_MESH), 5):
            await report(outcome(solver, number, pb.OUTCOME_KIND_FAILED, cause))
        shown = (await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id))).solver
        assert (shown.won, shown.settled, shown.success_rate) == (4, 2, 0.5)
        assert shown.performance_score == pytest.approx(100 * 11 / 14)
        stranger = outcome(FakeSolver(99, offering(1)), 50, pb.OUTCOME_KIND_SETTLED)
        await refused(report(stranger), grpc.StatusCode.NOT_FOUND)
        with urllib.request.urlopen(mesh.running.metrics_url, timeout=5) as response:  # noqa: S310, ASYNC210
            text = response.read().decode()
        assert f'solver_success_rate{{solver_id="{solver.solver_id}"}} 0.5' in text
        assert f'solver_performance_score{{solver_id="{solver.solver_id}"}} 78.57' in text
        request = pb.ListOutcomesRequest(solver_id=solver.solver_id, page_size=4)
        page = await mesh.anybody.ListOutcomes(request)
        request.page_token = page.next_page_token
        rest = await mesh.anybody.ListOutcomes(request)
        numbers = [int(o.intent_id, 16) for o in [*page.outcomes, *rest.outcomes]]
        assert (numbers, rest.next_page_token) == ([7, 6, 5, 4, 3, 2, 1], "")


async def test_list_solvers__in_pages__shows_each_once(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        made = {(await mesh.solver(offering(1))).solver_id for _ in range(5)}
        request, found = pb.ListSolversRequest(page_size=2), []
        while True:
            page = await mesh.anybody.ListSolvers(request)
            found += [solver.solver_id for solver in page.solvers]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
    assert found == sorted(made)


async def test_registry__restarted__still_knows_all(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1_000))
        request = run_auction()
        before = (await mesh.executor.RunAuction(request)).auction
    async with registry(fresh_database) as mesh:
        assert await state(mesh, solver) == "ACTIVE"
        assert (await mesh.executor.RunAuction(request)).auction == before


async def test_registry__schema_broken__is_internal_without_a_word_of_sql(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        conn = await asyncpg.connect(fresh_database)
        await conn.execute("ALTER TABLE solvers RENAME TO hidden")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id="0x1"))
        await conn.execute("ALTER TABLE hidden RENAME TO solvers")
        await conn.close()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "solvers" not in str(caught.value.details()) + str(caught.value.trailing_metadata())


def test_registry__all_its_modules__import_no_web3() -> None:
    program = "import sys, intentmesh.solver_registry.bootstrap; sys.exit('web3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
