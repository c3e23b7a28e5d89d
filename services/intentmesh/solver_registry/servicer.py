"""The RPCs of SolverRegistryService: who may call, what is asked of whom, pages."""

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from intentmesh.domain.errors import NotFound
from intentmesh.domain.types import parse_intent_id
from intentmesh.rpc.access import require
from intentmesh.rpc.pages import decode_page_token, encode_page_token, page_size, what_fits
from intentmesh.rpc.principals import PrincipalKind, client_address, current_principal
from intentmesh.rpc.rate_limits import metadata_of
from intentmesh.solver_registry.auctions import AuctionHouse
from intentmesh.solver_registry.budgets import Budget, Budgets
from intentmesh.solver_registry.outcomes import Outcomes
from intentmesh.solver_registry.registration import Registration
from intentmesh.solver_registry.roster import Roster
from intentmesh.store import solvers as store
from intentmesh.store.pool import Pool
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1.auction_pb2 import Auction
from intentmesh.v1.solver_registry_service_pb2_grpc import SolverRegistryServiceServicer

MESH = (PrincipalKind.EXECUTOR, PrincipalKind.OPERATOR)
"""Who holds auctions and reports outcomes. Anybody else could decide a competition before it is held."""

# What a request costs that cannot be read. Those of the mesh cost nothing where they can.
_BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        "RegisterSolver": Budget.REGISTRATIONS,
        "DeregisterSolver": Budget.REGISTRATIONS,
        "Heartbeat": Budget.HEARTBEATS,
        "RequestQuotes": Budget.QUOTES,
    }
)


class SolverRegistryServicer(SolverRegistryServiceServicer):
    """Thin: each method checks the caller and hands over."""

    def __init__(
        self,
        pool: Pool,
        registration: Registration,
        auctions: AuctionHouse,
        outcomes: Outcomes,
        roster: Roster,
        budgets: Budgets,
        *,
        heartbeat_interval_seconds: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._registration = registration
        self._auctions = auctions
        self._outcomes = outcomes
        self._roster = roster
        self._budgets = budgets
        self._heartbeat_interval = heartbeat_interval_seconds
        self._clock = clock

    async def RegisterSolver(self, request: pb.RegisterSolverRequest, context: Any) -> pb.RegisterSolverResponse:
        """See the proto."""
        await self._count(Budget.REGISTRATIONS, context)
        return pb.RegisterSolverResponse(solver=self._message(await self._registration.register(request)))

    async def UpdateSolver(self, request: pb.UpdateSolverRequest, context: Any) -> pb.UpdateSolverResponse:
        """See the proto."""
        require(PrincipalKind.OPERATOR)
        return pb.UpdateSolverResponse(solver=self._message(await self._registration.update(request)))

    async def DeregisterSolver(self, request: pb.DeregisterSolverRequest, context: Any) -> pb.DeregisterSolverResponse:
        """See the proto."""
        await self._count(Budget.REGISTRATIONS, context)
        await self._registration.deregister(request)
        return pb.DeregisterSolverResponse()

    async def GetSolver(self, request: pb.GetSolverRequest, context: Any) -> pb.GetSolverResponse:
        """See the proto."""
        await self._count(Budget.READS, context)
        return pb.GetSolverResponse(solver=self._message(await self._registration.get(request.solver_id)))

    async def ListSolvers(self, request: pb.ListSolversRequest, context: Any) -> pb.ListSolversResponse:
        """See the proto."""
        await self._count(Budget.READS, context)
        query = "ListSolvers"
        after = decode_page_token(query, request.page_token, str) if request.page_token else ""
        size = page_size(request.page_size)
        async with self._pool.acquire() as conn:
            rows = await store.list_solvers(conn, after, size + 1)
        shown = what_fits(map(self._message, rows[:size]))
        more = len(rows) > len(shown)
        return pb.ListSolversResponse(
            solvers=shown,
            next_page_token=encode_page_token(query, rows[len(shown) - 1].solver_id) if more else "",
        )

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Any) -> pb.HeartbeatResponse:
        """See the proto."""
        await self._count(Budget.HEARTBEATS, context)
        await self._registration.heartbeat(request)
        return pb.HeartbeatResponse(interval_seconds=self._heartbeat_interval)

    async def RequestQuotes(self, request: pb.RequestQuotesRequest, context: Any) -> pb.RequestQuotesResponse:
        """See the proto."""
        await self._count(Budget.QUOTES, context)
        return pb.RequestQuotesResponse(quotes=await self._auctions.quotes(request))

    async def RunAuction(self, request: pb.RunAuctionRequest, context: Any) -> pb.RunAuctionResponse:
        """See the proto."""
        require(*MESH)
        return pb.RunAuctionResponse(auction=await self._auctions.run(request))

    async def GetAuction(self, request: pb.GetAuctionRequest, context: Any) -> pb.GetAuctionResponse:
        """See the proto."""
        await self._count(Budget.READS, context)
        async with self._pool.acquire() as conn:
            row = await store.get_auction(conn, request.auction_id)
        if row is None:
            resource = f"auctions/{request.auction_id[:128]}"
            raise NotFound("no such auction was held", metadata={"resource": resource})
        return pb.GetAuctionResponse(auction=Auction.FromString(row.payload))

    async def ListAuctions(self, request: pb.ListAuctionsRequest, context: Any) -> pb.ListAuctionsResponse:
        """See the proto."""
        await self._count(Budget.READS, context)
        intent_id = parse_intent_id(request.intent_id)
        query = f"ListAuctions {intent_id.hex()}"
        before = decode_page_token(query, request.page_token, int) if request.page_token else None
        size = page_size(request.page_size)
        async with self._pool.acquire() as conn:
            rows = await store.list_auctions(conn, intent_id, before, size + 1)
        shown = what_fits(Auction.FromString(row.payload) for row in rows[:size])
        more = len(rows) > len(shown)
        return pb.ListAuctionsResponse(
            auctions=shown,
            next_page_token=encode_page_token(query, rows[len(shown) - 1].round) if more else "",
        )

    async def ReportOutcome(self, request: pb.ReportOutcomeRequest, context: Any) -> pb.ReportOutcomeResponse:
        """See the proto."""
        require(*MESH)
        await self._outcomes.report(request.outcome)
        return pb.ReportOutcomeResponse()

    async def ListOutcomes(self, request: pb.ListOutcomesRequest, context: Any) -> pb.ListOutcomesResponse:
        """See the proto."""
        await self._count(Budget.READS, context)
        return await self._outcomes.list(request)

    async def count_refused(self, method: str, context: Any) -> None:
        """A request that its handler never sees costs its caller what any other does. Raises LimitReached."""
        await self._count(_BUDGETS.get(method, Budget.READS), context)

    async def _count(self, budget: Budget, context: Any) -> None:
        """Counts, and tells in the answer's metadata what is left. Raises LimitReached."""
        grant = await self._budgets.count(budget, current_principal(), client_address())
        context.set_trailing_metadata(metadata_of(grant))

    def _message(self, row: store.SolverRow) -> pb.Solver:
        return self._roster.message(row, self._clock())
