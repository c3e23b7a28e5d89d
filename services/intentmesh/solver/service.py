"""SolverService: what the mesh calls."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import Address, format_address
from intentmesh.solver.desk import Desk
from intentmesh.solver.prices import PriceList
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.solver_service_pb2_grpc import SolverServiceServicer

Context = grpc.aio.ServicerContext[Any, Any]


class SolverServicer(SolverServiceServicer):
    """Translates between the wire and the desk; errors are mapped by the server's interceptor."""

    def __init__(self, desk: Desk, network: NetworkConfig, prices: PriceList, solver: Address) -> None:
        self._desk = desk
        self._capabilities = pb.GetCapabilitiesResponse(solver=format_address(solver), routes=_routes(network, prices))

    async def GetCapabilities(  # noqa: N802 - the proto's name
        self,
        request: pb.GetCapabilitiesRequest,  # noqa: ARG002 - the signature is gRPC's
        context: Context,  # noqa: ARG002 - as above
    ) -> pb.GetCapabilitiesResponse:
        """Every pair of chains, with the tokens that have a price."""
        return self._capabilities

    async def Quote(self, request: pb.QuoteRequest, context: Context) -> pb.QuoteResponse:  # noqa: N802, ARG002 - as above
        """An offer, or a sentence why not."""
        return await self._desk.quote(request)

    async def Execute(  # noqa: N802 - as above
        self,
        request: pb.ExecuteRequest,
        context: Context,  # noqa: ARG002 - as above
    ) -> AsyncIterator[pb.ExecuteResponse]:
        """Take on or attach; the work does not depend on this stream."""
        job = await self._desk.take(request)
        async with aclosing(self._desk.follow(job)) as updates:
            async for update in updates:
                yield update


def _routes(network: NetworkConfig, prices: PriceList) -> list[pb.Route]:
    tokens = {
        chain.chain_id: [format_address(token.address) for symbol, token in chain.tokens.items() if prices.has(symbol)]
        for chain in network.chains
    }
    return [
        pb.Route(
            origin_chain_id=origin,
            destination_chain_id=destination,
            input_tokens=tokens[origin],
            output_tokens=tokens[destination],
        )
        for origin in tokens
        for destination in tokens
        if tokens[origin] and tokens[destination]
    ]
