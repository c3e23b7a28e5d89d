"""Solvers that keep to nothing: they register well, and then answer the mesh with whatever comes to hand.

A solver is somebody else's program, so its answers are as hostile an input as any call; with an endpoint that answers
at all, registrations get into the store.
"""

import asyncio
from random import Random
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import format_address
from intentmesh.v1 import auction_pb2, solver_service_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intent_pb2 import ChainTransaction

from tests.fuzz import crossing, mutations

_SERVICE = "intentmesh.v1.SolverService"
_LATE_SECONDS = 0.7
"""Longer than a quote may take."""
_STATUSES = (
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.OK,
)


class Strangers:
    """A server for each of these addresses. Use as an asynchronous context manager; then they have endpoints."""

    def __init__(self, network: NetworkConfig, addresses: list[str], seed: int, now: int) -> None:
        self.endpoints: list[str] = []
        self._solvers = [_Stranger(network, address, Random(f"{seed} {address}"), now) for address in addresses]
        self._servers: list[grpc.aio.Server] = []

    async def __aenter__(self) -> Self:
        for solver in self._solvers:
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((solver.handlers(),))
            self.endpoints.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            await server.start()
            self._servers.append(server)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(server.stop(None) for server in self._servers))


class _Stranger:
    def __init__(self, network: NetworkConfig, address: str, random: Random, now: int) -> None:
        self._address = address
        self._random = random
        self._now = now
        tokens = {c.chain_id: [format_address(token.address) for token in c.tokens.values()] for c in network.chains}
        self._capabilities = solver_service_pb2.GetCapabilitiesResponse(
            solver=address,
            routes=[
                solver_service_pb2.Route(
                    origin_chain_id=origin.chain_id,
                    destination_chain_id=target.chain_id,
                    input_tokens=tokens[origin.chain_id],
                    output_tokens=tokens[target.chain_id],
                )
                for origin in network.chains
                for target in network.chains
            ],
        )

    def handlers(self) -> grpc.GenericRpcHandler:
        """Of bytes, so that what goes out need not be a message."""
        return grpc.method_handlers_generic_handler(
            _SERVICE,
            {
                "GetCapabilities": grpc.unary_unary_rpc_method_handler(self._get_capabilities),
                "Quote": grpc.unary_unary_rpc_method_handler(self._quote),
                "Execute": grpc.unary_stream_rpc_method_handler(self._execute),
            },
        )

    async def _get_capabilities(self, _request: bytes, _context: Any) -> bytes:
        if self._random.random() < 0.7:
            return self._capabilities.SerializeToString()
        return self._changed(self._capabilities)

    async def _quote(self, request: bytes, context: Any) -> bytes:
        if self._random.random() < 0.1:
            await context.abort(self._random.choice(_STATUSES), "KeyError: 'somebody else\\'s'")
        if self._random.random() < 0.1:
            await asyncio.sleep(_LATE_SECONDS)
        order = solver_service_pb2.QuoteRequest.FromString(request).order
        soon = Timestamp(seconds=self._now + 3_600)
        quote = auction_pb2.Quote(
            quote_id="q",
            solver_id=self._address,
            solver=self._address,
            output_amounts=[output.amount for output in order.outputs],
            fill_time=soon,
            valid_until=soon,
        )
        return self._changed(solver_service_pb2.QuoteResponse(quote=quote))

    async def _execute(self, _request: bytes, context: Any) -> Any:
        stages = solver_service_pb2.ExecuteStage.values()
        for number in range(1, self._random.randrange(1, 6)):
            update = solver_service_pb2.ExecuteResponse(
                update_number=number,
                stage=self._random.choice(stages),
                transaction=ChainTransaction(
                    hash="0x" + self._random.randbytes(32).hex(),
                    chain_id=self._random.choice(self._capabilities.routes).origin_chain_id,
                ),
                message="as promised",
                reason=self._random.choice(ErrorReason.values()),
                create_time=Timestamp(seconds=self._now),
            )
            yield self._changed(update)
        if self._random.random() < 0.5:
            await context.abort(self._random.choice(_STATUSES), "Traceback (most recent call last)")

    def _changed(self, right: Message) -> bytes:
        random, message = self._random, type(right)()
        message.CopyFrom(right)
        if random.random() < 0.3:
            return message.SerializeToString()
        for _ in range(random.choice((1, 1, 2, 5))):
            if random.random() < 0.6:
                crossing.cross(random, message, self._capabilities)
            else:
                mutations.mutate(random, message)
        data = message.SerializeToString()
        return mutations.damage(random, data, data)[0] if random.random() < 0.2 else data
