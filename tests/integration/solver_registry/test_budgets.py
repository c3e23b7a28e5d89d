"""Budgets of the registry: strangers cannot flood it, solvers and the mesh do not feel them."""

import time
import urllib.request
from typing import Any

import grpc
import pytest
from intentmesh.domain.errors import FailedPrecondition, MeshError, ResourceExhausted
from intentmesh.embedded.valkey import ValkeyUrl
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import PrincipalKind
from intentmesh.rpc.settings import SettingsError
from intentmesh.solver_registry.bootstrap import build
from intentmesh.solver_registry.settings import RegistrySettings
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason

from tests.integration.solver_registry.fakes import FakeSolver, Registry, offering, order, registry, run_auction

STRANGER = FakeSolver(77, offering(1), endpoint="127.0.0.1:1")
INTENT = "0x" + "1" * 64
# What each method costs, with a request that is answered or refused for what it says.
CALLS: dict[str, tuple[str, Any]] = {
    "RegisterSolver": ("registrations_per_minute", STRANGER.registration),
    "DeregisterSolver": ("registrations_per_minute", STRANGER.deregistration),
    "Heartbeat": ("heartbeats_per_minute", lambda: pb.HeartbeatRequest(solver_id=STRANGER.solver_id)),
    "RequestQuotes": ("quotes_per_minute", lambda: pb.RequestQuotesRequest(draft=order())),
    "GetSolver": ("reads_per_minute", lambda: pb.GetSolverRequest(solver_id=STRANGER.solver_id)),
    "ListSolvers": ("reads_per_minute", pb.ListSolversRequest),
    "GetAuction": ("reads_per_minute", lambda: pb.GetAuctionRequest(auction_id="none")),
    "ListAuctions": ("reads_per_minute", lambda: pb.ListAuctionsRequest(intent_id=INTENT)),
    "ListOutcomes": ("reads_per_minute", pb.ListOutcomesRequest),
}


async def error_of(call: Any) -> MeshError | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        return mesh_error_from_rpc(error)
    return None


def is_rate_limit(error: MeshError | None, limit: int, seconds: int = 60) -> None:
    assert isinstance(error, ResourceExhausted)
    assert error.reason == ErrorReason.ERROR_REASON_RATE_LIMITED
    assert error.metadata == {"limit": str(limit), "window_seconds": str(seconds)}
    assert error.retry_after is not None
    assert 0 < error.retry_after <= seconds


def refusals(mesh: Registry) -> dict[str, float]:
    with urllib.request.urlopen(mesh.running.metrics_url, timeout=5) as response:  # noqa: S310
        lines = response.read().decode().splitlines()
    series = [line for line in lines if line.startswith("registry_refusals_total{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in series}


@pytest.mark.parametrize("method", CALLS)
async def test_calls__over_the_budget__are_refused_by_every_replica(
    fresh_database: str, valkey_url: ValkeyUrl, method: str
) -> None:
    setting, request = CALLS[method]
    values = {"valkey_url": valkey_url, "approved_solvers": "", setting: 3}
    async with registry(fresh_database, **values) as one, registry(fresh_database, **values) as other:
        for mesh in (one, other, one):
            assert not isinstance(await error_of(getattr(mesh.anybody, method)(request())), ResourceExhausted)
        for mesh in (one, other):
            is_rate_limit(await error_of(getattr(mesh.anybody, method)(request())), 3)


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("method", [*CALLS, "RunAuction", "ReportOutcome", "UpdateSolver"])
async def test_budgets__requests_that_cannot_be_read_or_break_rules__count_as_any(
    fresh_database: str, method: str, noise: bool
) -> None:
    wrong: dict[str, Any] = {
        "RegisterSolver": pb.RegisterSolverRequest(),
        "DeregisterSolver": pb.DeregisterSolverRequest(),
        "Heartbeat": pb.HeartbeatRequest(),
        "RequestQuotes": pb.RequestQuotesRequest(),
        "GetSolver": pb.GetSolverRequest(),
        "ListSolvers": pb.ListSolversRequest(page_size=-1),
        "GetAuction": pb.GetAuctionRequest(),
        "ListAuctions": pb.ListAuctionsRequest(),
        "ListOutcomes": pb.ListOutcomesRequest(page_size=-1),
        "RunAuction": pb.RunAuctionRequest(),
        "ReportOutcome": pb.ReportOutcomeRequest(),
        "UpdateSolver": pb.UpdateSolverRequest(),
    }
    setting = CALLS[method][0] if method in CALLS else "reads_per_minute"
    async with registry(fresh_database, **{setting: 2}) as mesh:

        async def ask() -> MeshError | None:
            # The stub's own calls, with the bytes of our choice.
            call = getattr(mesh.anybody, method)
            call._request_serializer = lambda _: b"\xff\xff\xff" if noise else wrong[method].SerializeToString()
            return await error_of(call(wrong[method]))

        for _ in range(2):
            error = await ask()
            assert error is not None
            assert not isinstance(error, ResourceExhausted)
        is_rate_limit(await ask(), 2)


async def test_budgets__used_up_by_a_stranger__are_of_no_concern_to_the_mesh_and_to_each_other(
    fresh_database: str,
) -> None:
    scarce = dict.fromkeys(("registrations_per_minute", "quotes_per_minute", "reads_per_minute"), 1)
    async with registry(fresh_database, **scarce) as mesh:
        await mesh.solver(offering(1_000))
        draft = pb.RequestQuotesRequest(draft=order())
        for _ in range(2):
            await error_of(mesh.anybody.RequestQuotes(draft))
            await error_of(mesh.anybody.ListSolvers(pb.ListSolversRequest()))
        is_rate_limit(await error_of(mesh.anybody.RegisterSolver(STRANGER.registration())), 1)
        is_rate_limit(await error_of(mesh.anybody.RequestQuotes(draft)), 1)
        for number in range(1, 4):
            assert (await mesh.executor.RunAuction(run_auction(number))).auction.HasField("winner")
        # A principal is counted by itself.
        assert len((await mesh.executor.RequestQuotes(draft)).quotes) == 1


async def test_quotes__principals_of_class_service__have_a_budget_of_their_own(fresh_database: str) -> None:
    async with registry(fresh_database, quotes_per_minute=1, service_quotes_per_minute=3) as mesh:
        shop = await mesh.as_(PrincipalKind.SERVICE)
        draft = pb.RequestQuotesRequest(draft=order())
        for _ in range(3):
            call = shop.RequestQuotes(draft)
            await call
            assert dict(await call.trailing_metadata() or ())["ratelimit-limit"] == "3"
        is_rate_limit(await error_of(shop.RequestQuotes(draft)), 3)


async def test_heartbeats__of_one_solver__are_bounded_by_its_interval_and_only_it_uses_them_up(
    fresh_database: str,
) -> None:
    async with registry(fresh_database, heartbeat_interval_seconds=30, heartbeats_per_interval=2) as mesh:
        solver, other = await mesh.solver(offering(1)), await mesh.solver(offering(1))
        beat = mesh.anybody.Heartbeat
        forged = solver.heartbeat(signature=other.heartbeat().signature)
        for wrong in (forged, pb.HeartbeatRequest(solver_id=solver.solver_id)):
            for _ in range(3):
                assert not isinstance(await error_of(beat(wrong)), ResourceExhausted)
        now = time.time()
        for seconds in (1, 2):
            for _ in range(3):
                # Shown again by whoever saw it, it costs the solver nothing.
                await beat(solver.heartbeat(at=now + seconds))
        assert isinstance(await error_of(beat(solver.heartbeat(at=now))), FailedPrecondition)
        before = refusals(mesh)["solver_heartbeats"]
        is_rate_limit(await error_of(beat(solver.heartbeat(at=now + 3))), 2, 30)
        assert refusals(mesh)["solver_heartbeats"] == before + 1
        await beat(other.heartbeat(at=time.time() + 1))


async def test_refusals__by_budget__are_counted_from_zero_on(fresh_database: str) -> None:
    async with registry(fresh_database, reads_per_minute=1) as mesh:
        before = refusals(mesh)
        assert before.keys() == {"registrations", "heartbeats", "solver_heartbeats", "quotes", "reads"}
        for _ in range(3):
            await error_of(mesh.anybody.ListSolvers(pb.ListSolversRequest()))
        assert refusals(mesh)["reads"] == before["reads"] + 2


async def test_build__without_valkey__says_what_is_missing(fresh_database: str) -> None:
    settings = RegistrySettings(postgres_dsn=fresh_database)
    with pytest.raises(SettingsError, match="valkey_url"):
        async with build(settings):
            raise AssertionError
