"""Competitions among real solver servers, good and bad, on a real database."""

import asyncio
import time
from pathlib import Path

import asyncpg
import grpc
import pytest
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.principals import PrincipalKind
from intentmesh.solver_registry.quotes import MAX_PASSED_OVER
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1 import solver_registry_service_pb2_grpc as pb_grpc
from intentmesh.v1.auction_pb2 import Auction, Participation, QuoteOutcome
from intentmesh.v1.error_pb2 import ErrorReason

from tests.integration.solver_registry.fakes import (
    USDC,
    crashing,
    declining,
    hanging,
    noise,
    offering,
    order,
    registry,
    run_auction,
)


def outcomes(auction: Auction) -> dict[str, str]:
    return {p.solver_id: QuoteOutcome.Name(p.outcome).removeprefix("QUOTE_OUTCOME_") for p in auction.participations}


def message(auction: Auction, solver_id: str) -> str:
    return next(p.message for p in auction.participations if p.solver_id == solver_id)


async def test_run_auction__solvers_of_all_characters__best_wins_and_each_is_told_why(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        best, second = await mesh.solver(offering(1_050)), await mesh.solver(offering(1_010))
        low, thief = await mesh.solver(offering(999)), await mesh.solver(offering(9_000, solver="0x" + "66" * 20))
        no, broken = await mesh.solver(declining), await mesh.solver(crashing)
        slow, dead = await mesh.solver(hanging), await mesh.solver(offering(5_000))
        await dead.stop()
        started = time.monotonic()
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        seconds = time.monotonic() - started
        assert outcomes(auction) == {
            best.solver_id: "WON",
            second.solver_id: "OUTBID",
            low.solver_id: "INVALID",
            thief.solver_id: "INVALID",
            no.solver_id: "DECLINED",
            broken.solver_id: "UNREACHABLE",
            slow.solver_id: "TIMED_OUT",
            dead.solver_id: "UNREACHABLE",
        }
        assert [p.solver_id for p in auction.participations][:2] == [best.solver_id, second.solver_id]
        assert auction.winner == auction.participations[0].quote
        assert (auction.winner.solver_id, list(auction.winner.output_amounts)) == (best.solver_id, ["1050"])
        assert auction.participations[0].score == "945.000000"
        assert "asks for 1000" in message(auction, low.solver_id)
        assert "another solver address" in message(auction, thief.solver_id)
        assert message(auction, no.solver_id) == "no inventory"
        assert "secret" not in str(auction)
        assert "500 ms" in message(auction, slow.solver_id)
        assert seconds < 2
        assert best.asked[0].auction_id == auction.auction_id == "0x" + "0" * 63 + "1:1"
        stored = await mesh.anybody.GetAuction(pb.GetAuctionRequest(auction_id=auction.auction_id))
        assert stored.auction == auction


async def test_run_auction__solver_answers_noise__another_wins(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        broken, good = await mesh.solver(noise), await mesh.solver(offering(1_010))
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert outcomes(auction) == {good.solver_id: "WON", broken.solver_id: "UNREACHABLE"}
        assert message(auction, broken.solver_id) == "the call failed: INTERNAL"
        quotes = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=order()))
        assert [quote.solver_id for quote in quotes.quotes] == [good.solver_id]


async def test_run_auction__again_and_at_once__is_the_one_stored_result(fresh_database: str) -> None:
    async with registry(fresh_database) as first, registry(fresh_database) as replica:
        solver = await first.solver(offering(1_000))
        request = run_auction()
        calls = [mesh.executor.RunAuction(request) for mesh in (first, first, first, replica, replica)]
        results = [answer.auction for answer in await asyncio.gather(*calls)]
        assert all(result == results[0] for result in results)
        assert len(solver.asked) <= 2  # once a replica, whose stored results are one
        solver.behaviour = offering(2_000)
        assert (await replica.executor.RunAuction(request)).auction == results[0]
        assert len(solver.asked) <= 2
        other_round = (await first.executor.RunAuction(run_auction(round_=2))).auction
        assert list(other_round.winner.output_amounts) == ["2000"]


async def test_run_auction__other_order_for_a_held_round__is_refused(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        await mesh.executor.RunAuction(run_auction())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await mesh.executor.RunAuction(run_auction(order=order(7)))
    assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_REQUEST_ID_REUSED


async def test_run_auction__caller_goes_away__result_is_stored_all_the_same(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver = await mesh.solver(offering(1_000))
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def wait_then_offer(me, request):
            asked.set()
            await go_on.wait()
            return await offering(1_000)(me, request)

        solver.behaviour = wait_then_offer
        request = run_auction()
        call = mesh.executor.RunAuction(request)
        waiting = asyncio.ensure_future(call)
        await asked.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        solver.behaviour = offering(3_000)
        go_on.set()
        assert list((await mesh.executor.RunAuction(request)).auction.winner.output_amounts) == ["1000"]


async def test_run_auction__enough_quotes__does_not_wait_nor_blame_the_others(fresh_database: str) -> None:
    async with registry(fresh_database, quote_timeout_seconds=10, auction_timeout_seconds=20) as mesh:
        fast, slow = await mesh.solver(offering(1_000)), await mesh.solver(hanging)
        started = time.monotonic()
        auction = (await mesh.executor.RunAuction(run_auction(min_quotes=1))).auction
        assert time.monotonic() - started < 5
        assert outcomes(auction) == {fast.solver_id: "WON", slow.solver_id: "TIMED_OUT"}
        assert "not waited for" in message(auction, slow.solver_id)
        conn = await asyncpg.connect(fresh_database)
        assert await conn.fetchval("SELECT sum(failures) FROM solvers") == 0
        await conn.close()


async def test_run_auction__generous_offer_for_a_distant_fill__does_not_win_and_is_told_why(
    fresh_database: str,
) -> None:
    now = int(time.time())
    distant = order(fill_deadline=now + 3_600, expires=now + 7_200)
    async with registry(fresh_database) as mesh, registry(fresh_database, longest_fill_seconds=3_600) as patient:
        blocking = await mesh.solver(offering(9_000, fill_in_s=3_000))
        auction = (await mesh.executor.RunAuction(run_auction(order=distant))).auction
        assert outcomes(auction) == {blocking.solver_id: "INVALID"}
        assert "no fill is waited for longer than 900 s" in message(auction, blocking.solver_id)
        honest = await mesh.solver(offering(1_000, fill_in_s=800))
        auction = (await mesh.executor.RunAuction(run_auction(2, order=distant))).auction
        assert outcomes(auction) == {honest.solver_id: "WON", blocking.solver_id: "INVALID"}
        quotes = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=distant))
        assert [quote.solver_id for quote in quotes.quotes] == [honest.solver_id]
        auction = (await patient.executor.RunAuction(run_auction(3, order=distant))).auction
        assert auction.winner.solver_id == blocking.solver_id


async def test_run_auction__all_too_slow__ends_with_the_auctions_time_and_nobody_wins(fresh_database: str) -> None:
    async with registry(fresh_database, quote_timeout_seconds=30, auction_timeout_seconds=0.3) as mesh:
        slow = await mesh.solver(hanging)
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert not auction.HasField("winner")
        assert outcomes(auction) == {slow.solver_id: "TIMED_OUT"}


async def test_run_auction__excluded_or_other_route__is_not_asked(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        solver, excluded = await mesh.solver(offering(1_000)), await mesh.solver(offering(2_000))
        auction = (await mesh.executor.RunAuction(run_auction(excluded_solver_ids=[excluded.solver_id]))).auction
        assert outcomes(auction) == {solver.solver_id: "WON", excluded.solver_id: "NOT_ELIGIBLE"}
        backwards = order(origin_chain_id=31338)
        auction = (await mesh.executor.RunAuction(run_auction(2, order=backwards))).auction
        assert set(outcomes(auction).values()) == {"NOT_ELIGIBLE"}
        assert len(excluded.asked) == 0


async def test_run_auction__settler_without_surplus__winner_is_clipped(fresh_database: str, tmp_path: Path) -> None:
    network = tmp_path / "network.toml"
    network.write_text(
        f"""
        [[chains]]
        chain_id = 31338
        name = "beta"
        rpc_urls = ["http://127.0.0.1:1"]
        input_settler = "{USDC}"
        output_settler = "{USDC}"
        oracle = "{USDC}"
        """
    )
    async with registry(fresh_database, network_file=network) as mesh:
        await mesh.solver(offering(5_000))
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert list(auction.winner.output_amounts) == ["1000"]


@pytest.mark.parametrize("call", ["RunAuction", "ReportOutcome", "UpdateSolver"])
async def test_calls_of_the_mesh__by_a_stranger__are_refused(fresh_database: str, call: str) -> None:
    outcome = pb.Outcome(intent_id="0x" + "1" * 64, award_number=1, solver_id="x", kind=pb.OUTCOME_KIND_SETTLED)
    requests = {
        "RunAuction": run_auction(),
        "ReportOutcome": pb.ReportOutcomeRequest(outcome=outcome),
        "UpdateSolver": pb.UpdateSolverRequest(solver_id="0x1", state=pb.SOLVER_STATE_ACTIVE),
    }
    async with registry(fresh_database) as mesh:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await getattr(mesh.anybody, call)(requests[call])
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        # A service brings orders; who also decided on their auctions could give them to a friend.
        others = [mesh.executor] if call == "UpdateSolver" else []
        for caller in (*others, await mesh.as_(PrincipalKind.SERVICE), await mesh.as_(PrincipalKind.USER)):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await getattr(caller, call)(requests[call])
            assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_breaker__five_silent_auctions__bench_then_one_probe_brings_back(fresh_database: str) -> None:
    async with registry(fresh_database, quote_timeout_seconds=0.05) as mesh:
        solver = await mesh.solver(hanging)
        for number in range(1, 6):
            await mesh.executor.RunAuction(run_auction(number))
        shown = (await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id))).solver
        assert shown.state == pb.SOLVER_STATE_BENCHED
        auction = (await mesh.executor.RunAuction(run_auction(6))).auction
        assert message(auction, solver.solver_id) == "the solver is benched"
        assert len(solver.asked) == 5
        await _end_bench(fresh_database)
        solver.behaviour = offering(1_000)
        calls = [mesh.executor.RunAuction(run_auction(number)) for number in (7, 8)]
        both = [outcomes(answer.auction)[solver.solver_id] for answer in await asyncio.gather(*calls)]
        assert sorted(both) in (["NOT_ELIGIBLE", "WON"], ["WON", "WON"])
        shown = (await mesh.anybody.GetSolver(pb.GetSolverRequest(solver_id=solver.solver_id))).solver
        assert shown.state == pb.SOLVER_STATE_ACTIVE
        auction = (await mesh.executor.RunAuction(run_auction(9))).auction
        assert outcomes(auction) == {solver.solver_id: "WON"}


async def test_breaker__benched__registering_again_ends_no_bench_and_a_replay_changes_no_name(
    fresh_database: str,
) -> None:
    async with registry(fresh_database, quote_timeout_seconds=0.05) as mesh:
        solver = await mesh.solver(hanging)
        for number in range(1, 6):
            await mesh.executor.RunAuction(run_auction(number))
        request = solver.registration(at=time.time() + 5)
        request.name = "its own"
        await mesh.anybody.RegisterSolver(request)
        request.name = "whoever saw the request"
        shown = (await mesh.anybody.RegisterSolver(request)).solver
        assert (shown.state, shown.name) == (pb.SOLVER_STATE_BENCHED, "its own")


async def test_breaker__a_failed_probe__benches_for_longer(fresh_database: str) -> None:
    async with registry(fresh_database, quote_timeout_seconds=0.05) as mesh:
        await mesh.solver(hanging)
        for number in range(1, 6):
            await mesh.executor.RunAuction(run_auction(number))
        first = await _bench_seconds(fresh_database)
        await _end_bench(fresh_database)
        await mesh.executor.RunAuction(run_auction(6))
        second = await _bench_seconds(fresh_database)
    assert 8 < first <= 10
    assert 18 < second <= 20


async def _end_bench(dsn: str) -> None:
    conn = await asyncpg.connect(dsn)
    await conn.execute("UPDATE solvers SET benched_until = now() - interval '1 second'")
    await conn.close()


async def _bench_seconds(dsn: str) -> float:
    conn = await asyncpg.connect(dsn)
    seconds = await conn.fetchval("SELECT extract(epoch FROM benched_until - now()) FROM solvers")
    await conn.close()
    return float(seconds)


async def test_request_quotes__a_draft__is_ranked_and_leaves_no_trace(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        low, high = await mesh.solver(offering(1_010)), await mesh.solver(offering(1_020))
        await mesh.solver(offering(5))
        answer = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=order(1_000)))
        assert [q.solver_id for q in answer.quotes] == [high.solver_id, low.solver_id]
        best = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=order(0)))
        assert len(best.quotes) == 3
        assert high.asked[0].intent_id == high.asked[0].auction_id == ""
        conn = await asyncpg.connect(fresh_database)
        assert await conn.fetchval("SELECT count(*) FROM auctions") == 0
        await conn.close()


async def test_list_auctions__several_rounds__newest_first_in_pages(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        for round_ in range(1, 6):
            await mesh.executor.RunAuction(run_auction(round_=round_))
        request = pb.ListAuctionsRequest(intent_id=run_auction().intent_id, page_size=2)
        rounds: list[list[int]] = []
        while True:
            page = await mesh.anybody.ListAuctions(request)
            rounds.append([auction.round for auction in page.auctions])
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        assert rounds == [[5, 4], [3, 2], [1]]
        for wrong in (
            pb.ListAuctionsRequest(intent_id="0x" + "2" * 64, page_token=request.page_token),
            pb.ListAuctionsRequest(intent_id=request.intent_id, page_token="nonsense"),
            pb.ListAuctionsRequest(intent_id=request.intent_id, page_token="é" * 3),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await mesh.anybody.ListAuctions(wrong)
            assert mesh_error_from_rpc(caught.value).reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN


async def test_run_auction__crowd_of_strangers_registered__approved_solver_is_still_asked(fresh_database: str) -> None:
    async with registry(fresh_database, approved_solvers="") as mesh:
        honest = await mesh.solver(offering(1_050))
        await mesh.operator.UpdateSolver(
            pb.UpdateSolverRequest(solver_id=honest.solver_id, state=pb.SOLVER_STATE_ACTIVE)
        )
        conn = await asyncpg.connect(fresh_database)
        # Keys are free, and the registration of a solver that nobody has approved costs one signature.
        await conn.execute(
            "INSERT INTO solvers (solver_id, address, endpoint, signed_time, heartbeat_at) "
            "SELECT '0x00' || lpad(n::text, 38, '0'), decode(lpad(n::text, 40, '0'), 'hex'), '127.0.0.1:1', 0, "
            "now() + interval '1 hour' FROM generate_series(1, 1000) AS n"
        )
        await conn.close()
        auction = (await mesh.executor.RunAuction(run_auction())).auction
        assert auction.winner.solver_id == honest.solver_id
        assert len(auction.participations) <= 1 + MAX_PASSED_OVER
        quotes = await mesh.anybody.RequestQuotes(pb.RequestQuotesRequest(draft=order()))
        assert [quote.solver_id for quote in quotes.quotes] == [honest.solver_id]


async def test_list_auctions__large_ones__come_in_pages_that_clients_take(fresh_database: str) -> None:
    async with registry(fresh_database) as mesh:
        conn = await asyncpg.connect(fresh_database)
        intent_id, rounds = bytes(32), range(60)
        for number in rounds:
            large = Participation(message="x" * 100_000)
            auction = Auction(auction_id=f"a:{number}", round=number, participations=[large])
            await conn.execute(
                "INSERT INTO auctions (auction_id, intent_id, round, order_hash, payload) VALUES ($1, $2, $3, $4, $5)",
                *(auction.auction_id, intent_id, number, bytes(32), auction.SerializeToString()),
            )
        await conn.close()
        listed, token, pages = [], "", 0
        while pages == 0 or token:
            request = pb.ListAuctionsRequest(intent_id="0x" + intent_id.hex(), page_size=100, page_token=token)
            async with grpc.aio.insecure_channel(mesh.running.target) as channel:
                response = await pb_grpc.SolverRegistryServiceStub(channel).ListAuctions(request)
            listed += [auction.round for auction in response.auctions]
            token, pages = response.next_page_token, pages + 1
        assert sorted(listed) == [*rounds]
        assert pages == 2
