"""Calls to the other services of the mesh: registry, solvers, attesters. Errors come out as MeshError."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import grpc

from intentmesh.domain.errors import MeshError
from intentmesh.executor.progress import PendingOutcome
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.v1 import (
    attester_service_pb2,
    attester_service_pb2_grpc,
    auction_pb2,
    order_pb2,
    solver_registry_service_pb2,
    solver_registry_service_pb2_grpc,
    solver_service_pb2,
    solver_service_pb2_grpc,
)

Answer = TypeVar("Answer")
OpenChannel = Callable[[str], grpc.aio.Channel]

_ENDPOINT_SECONDS = 10.0
_MAX_ENDPOINTS = 1000
MAX_IDLE_CHANNELS = 64
"""To solvers with no call on them; beyond it the one that was used longest ago is closed. Solvers move."""
MAX_CALLS_PER_CHANNEL = 100
"""A server, or what stands before it, takes no fewer on a connection (RFC 9113, 6.5.2), and many take no more: a call
beyond is not refused but waits, without a word, until another one ends."""
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
"""Options of a channel that does not share its connection with others to the same endpoint."""


async def _call(call: Any, request: Any, timeout: float) -> Any:  # noqa: ASYNC109 (the deadline of the RPC)
    try:
        return await call(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        raise mesh_error_from_rpc(error) from error


class Registry:
    """The solver registry. Raises MeshError."""

    def __init__(self, channel: grpc.aio.Channel, call_seconds: float, auction_seconds: float) -> None:
        self._stub = solver_registry_service_pb2_grpc.SolverRegistryServiceStub(channel)
        self._call_seconds = call_seconds
        self._auction_seconds = auction_seconds

    async def run_auction(
        self,
        intent_id: str,
        round_number: int,
        order: order_pb2.Order,
        *,
        already_opened: bool,
        excluded: Sequence[str],
    ) -> auction_pb2.Auction:
        """Holds, or reads again, the competition of this round."""
        request = solver_registry_service_pb2.RunAuctionRequest(
            intent_id=intent_id,
            round=round_number,
            order=order,
            already_opened=already_opened,
            excluded_solver_ids=excluded,
        )
        response = await _call(self._stub.RunAuction, request, self._auction_seconds)
        auction: auction_pb2.Auction = response.auction
        return auction

    async def endpoint(self, solver_id: str) -> str:
        """The gRPC target of a solver."""
        request = solver_registry_service_pb2.GetSolverRequest(solver_id=solver_id)
        response = await _call(self._stub.GetSolver, request, self._call_seconds)
        return str(response.solver.endpoint)

    async def report(self, intent_id: str, outcome: PendingOutcome) -> None:
        """Tells what became of an award. Repeating it is harmless."""
        request = solver_registry_service_pb2.ReportOutcomeRequest(
            outcome=solver_registry_service_pb2.Outcome(
                intent_id=intent_id,
                award_number=outcome.award_number,
                solver_id=outcome.solver_id,
                kind=outcome.kind,
                cause=outcome.cause,
                message=outcome.message,
            )
        )
        await _call(self._stub.ReportOutcome, request, self._call_seconds)


class Solvers:
    """Execute at the endpoints that the registry names; channels are kept, endpoints asked for anew now and then.

    `open_channel` opens each with `OWN_CONNECTION`.
    """

    def __init__(self, registry: Registry, open_channel: OpenChannel, monotonic: Callable[[], float]) -> None:
        self._registry = registry
        self._open_channel = open_channel
        self._monotonic = monotonic
        self._endpoints: dict[str, tuple[str, float]] = {}
        # By endpoint and number, in the order of their last use.
        self._lines: dict[tuple[str, int], _Line] = {}

    @asynccontextmanager
    async def execute(
        self, solver_id: str, request: solver_service_pb2.ExecuteRequest
    ) -> AsyncIterator[AsyncIterator[solver_service_pb2.ExecuteResponse]]:
        """The stream of updates; leaving the block ends the call, not the solver's work. Raises MeshError."""
        endpoint = await self._endpoint(solver_id)
        line = self._line(endpoint)
        line.calls += 1
        try:
            call = solver_service_pb2_grpc.SolverServiceStub(line.channel).Execute(request)
            try:
                yield _updates(call)
            finally:
                call.cancel()
        finally:
            line.calls -= 1
            await self._close_idle()

    async def close(self) -> None:
        """Closes all channels."""
        while self._lines:
            await self._lines.popitem()[1].channel.close()

    async def _endpoint(self, solver_id: str) -> str:
        known = self._endpoints.get(solver_id)
        if known is not None and self._monotonic() - known[1] < _ENDPOINT_SECONDS:
            return known[0]
        try:
            endpoint = await self._registry.endpoint(solver_id)
        except MeshError:
            # The registry being away is no reason to lose a solver that we know.
            if known is None:
                raise
            return known[0]
        self._endpoints.pop(solver_id, None)
        self._endpoints[solver_id] = (endpoint, self._monotonic())
        if len(self._endpoints) > _MAX_ENDPOINTS:
            del self._endpoints[next(iter(self._endpoints))]
        return endpoint

    def _line(self, endpoint: str) -> "_Line":
        """The first of the endpoint's channels that takes another call."""
        for number in count():
            line = self._lines.pop((endpoint, number), None) or _Line(self._open_channel(endpoint))
            self._lines[endpoint, number] = line
            if line.calls < MAX_CALLS_PER_CHANNEL:
                break
        return line

    async def _close_idle(self) -> None:
        idle = [key for key, line in self._lines.items() if line.calls == 0]
        dropped = [self._lines.pop(key) for key in idle[: max(0, len(idle) - MAX_IDLE_CHANNELS)]]
        for line in dropped:
            await line.channel.close()


@dataclass(slots=True)
class _Line:
    """A channel, and how many calls are on it."""

    channel: grpc.aio.Channel
    calls: int = 0


async def _updates(call: Any) -> AsyncIterator[solver_service_pb2.ExecuteResponse]:
    try:
        async for update in call:
            yield update
    except grpc.aio.AioRpcError as error:
        raise mesh_error_from_rpc(error) from error


class Attesters:
    """All configured attesters, asked one by one or together."""

    def __init__(self, channels: Sequence[grpc.aio.Channel], call_seconds: float) -> None:
        self._stubs = [attester_service_pb2_grpc.AttesterServiceStub(channel) for channel in channels]
        self._call_seconds = call_seconds

    def __len__(self) -> int:
        return len(self._stubs)

    async def attest(
        self, index: int, request: attester_service_pb2.AttestFillRequest
    ) -> attester_service_pb2.FillAttestation:
        """Asks the attester of this index. Raises MeshError, NOT_PROVEN while it has not seen enough."""
        response = await _call(self._stubs[index].AttestFill, request, self._call_seconds)
        attestation: attester_service_pb2.FillAttestation = response.attestation
        return attestation
