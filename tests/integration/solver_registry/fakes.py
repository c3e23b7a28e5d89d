"""Solvers of several characters, each a real gRPC server, and a registry on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from intentmesh.domain.digests import deregister_solver_digest, heartbeat_digest, register_solver_digest
from intentmesh.domain.signatures import address_of, sign
from intentmesh.domain.types import Address, format_address
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.server import Running, serving
from intentmesh.solver_registry.bootstrap import build
from intentmesh.solver_registry.settings import RegistrySettings
from intentmesh.v1 import order_pb2
from intentmesh.v1 import solver_registry_service_pb2 as pb
from intentmesh.v1.auction_pb2 import Quote
from intentmesh.v1.solver_registry_service_pb2_grpc import SolverRegistryServiceStub
from intentmesh.v1.solver_service_pb2 import (
    GetCapabilitiesRequest,
    GetCapabilitiesResponse,
    QuoteRequest,
    QuoteResponse,
    Route,
)
from intentmesh.v1.solver_service_pb2_grpc import SolverServiceServicer, add_SolverServiceServicer_to_server

TOKEN = "token of the test"
USDC, WETH = "0x" + "aa" * 20, "0x" + "bb" * 20
ALPHA, BETA = 31337, 31338

Behaviour = Callable[["FakeSolver", QuoteRequest], Awaitable[QuoteResponse]]


def offering(amount: int, *, fill_in_s: float = 5.0, **wrong: Any) -> Behaviour:
    """Quotes this amount for every output; `wrong` replaces fields of the quote."""

    async def behave(solver: "FakeSolver", request: QuoteRequest) -> QuoteResponse:
        fields = {
            "quote_id": f"q-{solver.number}",
            "solver": format_address(solver.address),
            "output_amounts": [str(amount)] * len(request.order.outputs),
        }
        quote = Quote(**(fields | wrong))
        quote.fill_time.FromMilliseconds(int((time.time() + fill_in_s) * 1000))
        quote.valid_until.FromMilliseconds(int((time.time() + 30) * 1000))
        return QuoteResponse(quote=quote)

    return behave


async def declining(_: "FakeSolver", __: QuoteRequest) -> QuoteResponse:
    return QuoteResponse(decline_reason="no inventory")


async def crashing(_: "FakeSolver", __: QuoteRequest) -> QuoteResponse:
    raise ValueError("the solver's own secret")


async def hanging(_: "FakeSolver", __: QuoteRequest) -> QuoteResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def noise(_: "FakeSolver", __: QuoteRequest) -> QuoteResponse:
    """Stands for bytes that are no message; no servicer can send them, so `start` does."""
    raise AssertionError


async def _send_noise(_request: bytes, _context: Any) -> bytes:
    return b"\x0a\xff"


@dataclass
class FakeSolver(SolverServiceServicer):
    number: int
    behaviour: Behaviour
    endpoint: str = ""
    asked: list[QuoteRequest] = field(default_factory=list)
    says_address: str = ""
    server: grpc.aio.Server | None = None

    @property
    def key(self) -> bytes:
        return (self.number + 1_000).to_bytes(32, "big")

    @property
    def address(self) -> Address:
        return address_of(self.key)

    @property
    def solver_id(self) -> str:
        return "0x" + self.address.hex()

    async def GetCapabilities(self, request: GetCapabilitiesRequest, context: Any) -> GetCapabilitiesResponse:  # noqa: N802, ARG002
        route = Route(origin_chain_id=ALPHA, destination_chain_id=BETA, input_tokens=[USDC], output_tokens=[WETH])
        return GetCapabilitiesResponse(solver=self.says_address or format_address(self.address), routes=[route])

    async def Quote(self, request: QuoteRequest, context: Any) -> QuoteResponse:  # noqa: N802, ARG002
        self.asked.append(request)
        return await self.behaviour(self, request)

    async def start(self) -> None:
        self.server = grpc.aio.server()
        if self.behaviour is noise:
            self.server.add_generic_rpc_handlers((self._noisy(),))
        else:
            add_SolverServiceServicer_to_server(self, self.server)
        port = self.server.add_insecure_port(self.endpoint or "127.0.0.1:0")
        self.endpoint = f"127.0.0.1:{port}"
        await self.server.start()

    def _noisy(self) -> grpc.GenericRpcHandler:
        methods = {
            "Quote": grpc.unary_unary_rpc_method_handler(_send_noise),
            "GetCapabilities": grpc.unary_unary_rpc_method_handler(
                self.GetCapabilities,
                request_deserializer=GetCapabilitiesRequest.FromString,
                response_serializer=GetCapabilitiesResponse.SerializeToString,
            ),
        }
        return grpc.method_handlers_generic_handler("intentmesh.v1.SolverService", methods)

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(None)
            self.server = None

    def registration(self, *, at: float = 0.0, **wrong: Any) -> pb.RegisterSolverRequest:
        signed_time = int(at or time.time())
        digest = register_solver_digest(self.address, self.endpoint, signed_time)
        fields = {
            "address": format_address(self.address),
            "endpoint": self.endpoint,
            "name": f"solver {self.number}",
            "signed_time": signed_time,
            "signature": sign(digest, self.key),
        }
        return pb.RegisterSolverRequest(**(fields | wrong))

    def deregistration(self, *, at: float = 0.0) -> pb.DeregisterSolverRequest:
        signed_time = int(at or time.time())
        signature = sign(deregister_solver_digest(self.address, signed_time), self.key)
        return pb.DeregisterSolverRequest(
            address=format_address(self.address), signed_time=signed_time, signature=signature
        )

    def heartbeat(self, *, at: float = 0.0, **wrong: Any) -> pb.HeartbeatRequest:
        signed_time = int(at or time.time())
        fields = {
            "solver_id": self.solver_id,
            "signed_time": signed_time,
            "signature": sign(heartbeat_digest(self.address, signed_time), self.key),
        }
        return pb.HeartbeatRequest(**(fields | wrong))


class Registry:
    """A running registry, called by a stranger, by the executor and by an operator."""

    def __init__(self, running: Running, stack: AsyncExitStack) -> None:
        self.running = running
        self._stack = stack
        self.solvers: list[FakeSolver] = []

    async def as_(self, kind: PrincipalKind | None) -> SolverRegistryServiceStub:
        principal = Principal(kind, "test") if kind else None
        token = TOKEN if kind else ""
        channel = open_channel(self.running.target, principal=principal, internal_token=token)
        return SolverRegistryServiceStub(await self._stack.enter_async_context(channel))

    async def connect(self) -> None:
        self.anybody = await self.as_(None)
        self.executor = await self.as_(PrincipalKind.EXECUTOR)
        self.operator = await self.as_(PrincipalKind.OPERATOR)

    async def solver(self, behaviour: Behaviour, *, register: bool = True) -> FakeSolver:
        solver = FakeSolver(len(self.solvers) + 1, behaviour)
        self.solvers.append(solver)
        await solver.start()
        self._stack.push_async_callback(solver.stop)
        if register:
            await self.anybody.RegisterSolver(solver.registration())
        return solver


@asynccontextmanager
async def registry(dsn: str, **values: Any) -> AsyncIterator[Registry]:
    defaults = {
        "listen": "127.0.0.1:0",
        "metrics_listen": "127.0.0.1:0",
        "postgres_dsn": dsn,
        # Away: the registry counts alone, and no test meets what another has used up.
        "valkey_url": "redis://127.0.0.1:1/0",
        "internal_token": TOKEN,
        "approved_solvers": "*",
    }
    settings = RegistrySettings(**(defaults | values))
    async with build(settings) as service, serving(settings, service) as running, AsyncExitStack() as stack:
        made = Registry(running, stack)
        await made.connect()
        yield made


def order(amount: int = 1_000, **changes: Any) -> order_pb2.Order:
    word = "0x" + "09" * 32
    now = int(time.time())
    output = order_pb2.OrderOutput(
        oracle=word, settler=word, chain_id=BETA, token=WETH, amount=str(amount), recipient="0x" + "07" * 20
    )
    fields = {
        "user": "0x" + "07" * 20,
        "nonce": "1",
        "origin_chain_id": ALPHA,
        "expires": now + 1_200,
        "fill_deadline": now + 600,
        "input_oracle": "0x" + "05" * 20,
        "inputs": [order_pb2.OrderInput(token=USDC, amount="1000")],
        "outputs": [output],
    }
    return order_pb2.Order(**(fields | changes))


def run_auction(number: int = 1, round_: int = 1, **changes: Any) -> pb.RunAuctionRequest:
    """A request of its own each time: a second one may hold an order whose deadlines are a second later."""
    fields = {"intent_id": f"0x{number:064x}", "round": round_, "order": order()}
    return pb.RunAuctionRequest(**(fields | changes))
