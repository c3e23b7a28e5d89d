"""Two real chains, a user who signs, solvers and a registry that do as the test says, and the real executor."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import grpc
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.input_settler import InputSettler
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.chain.output_settler import FillEvidence, OutputSettler
from intentmesh.chain.records import Receipt, TransactionHash
from intentmesh.chain.structs import SolveParams
from intentmesh.domain.convert import order_from_proto, order_to_proto
from intentmesh.domain.digests import permit2_digest
from intentmesh.domain.events import build_event
from intentmesh.domain.lifecycle import accepted
from intentmesh.domain.order import Order, OrderInput, OrderOutput, derive_type, order_id
from intentmesh.domain.signatures import encode_permit2_signature, sign
from intentmesh.domain.types import (
    Address,
    ChainId,
    IntentId,
    format_address,
    format_intent_id,
    to_bytes32,
)
from intentmesh.embedded.deployment import LocalAccount, local_accounts
from intentmesh.embedded.ports import Port
from intentmesh.embedded.probes import json_rpc
from intentmesh.executor import bootstrap
from intentmesh.executor.settings import ExecutorSettings
from intentmesh.rpc.server import Running, serving
from intentmesh.store import admission, events, executions, intents
from intentmesh.store.intents import NewIntent
from intentmesh.store.pool import Pool
from intentmesh.store.rows import IntentRow
from intentmesh.v1 import (
    auction_pb2,
    executor_service_pb2,
    executor_service_pb2_grpc,
    solver_registry_service_pb2,
    solver_registry_service_pb2_grpc,
    solver_service_pb2,
    solver_service_pb2_grpc,
)
from intentmesh.v1.event_pb2 import IntentEvent, IntentEventType
from intentmesh.v1.solver_service_pb2 import ExecuteResponse, ExecuteStage

ALPHA = ChainId(31_337)
BETA = ChainId(31_338)
USER = local_accounts("user")[0]
SOLVER = local_accounts("solver")[0]
# Anvil's account 6: a solver of somebody else.
RIVAL = LocalAccount("solver", bytes.fromhex("92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e"))
USDC = 10**6
WAIT_SECONDS = 30.0
INTERNAL_TOKEN = "shared by the services"


class Hands:
    """Acts on the chains for any of Anvil's own accounts."""

    def __init__(self, network: NetworkConfig, clients: ChainClients, ports: dict[int, Port]) -> None:
        self.network = network
        self.clients = clients
        self._ports = ports
        # Anvil chooses the nonce of what it signs, and two calls at the same time may be given the same one.
        self._sending = asyncio.Lock()

    async def send(self, chain_id: int, sender: Address, to: Address, data: bytes) -> Receipt:
        """A transaction, included. Fails the test when it reverts."""
        call = {
            "from": format_address(sender),
            "to": format_address(to),
            "data": "0x" + data.hex(),
            "gas": hex(900_000),
        }
        async with self._sending:
            digest = TransactionHash(bytes.fromhex((await self.rpc(chain_id, "eth_sendTransaction", call))[2:]))
        while (receipt := await self.clients.of(chain_id).receipt(digest)) is None:  # noqa: ASYNC110 (another process mines)
            await asyncio.sleep(0.02)
        assert receipt.succeeded, f"a transaction to {format_address(to)} reverted"
        return receipt

    async def rpc(self, chain_id: int, method: str, *parameters: object) -> str:
        return str(await json_rpc(self._ports[chain_id], method, *parameters))

    async def mine(self, blocks: int = 1) -> None:
        """Blocks on every chain."""
        for chain_id in self._ports:
            await self.rpc(chain_id, "anvil_mine", hex(blocks))

    async def set_clocks(self) -> None:
        """The chains' time is ours: putting a chain back to an earlier state has put its clock back too."""
        for chain_id in self._ports:
            await self.rpc(chain_id, "anvil_setTime", hex(int(time.time())))
        await self.mine()

    async def open_for(self, order: Order, signature: bytes, sender: LocalAccount = SOLVER) -> Receipt:
        settler = InputSettler(self.clients.of(order.origin_chain_id))
        data = settler.encode_open_for(order, order.user, signature)
        return await self.send(order.origin_chain_id, sender.address, settler.address, data)

    async def fill(
        self, order: Order, sender: LocalAccount = SOLVER, *, deadline: int | None = None, offer: int | None = None
    ) -> list[FillEvidence]:
        """Pays every output."""
        intent_id = self.intent_id(order)
        chain_id = order.outputs[0].chain_id
        settler = OutputSettler(self.clients.of(chain_id))
        for output in order.outputs:
            data = settler.encode_fill(
                intent_id, output, deadline or order.fill_deadline, to_bytes32(sender.address), offer
            )
            await self.send(chain_id, sender.address, settler.address, data)
        return await settler.find_fills(intent_id, 0)

    async def finalise(self, order: Order, fills: list[FillEvidence], sender: LocalAccount = SOLVER) -> Receipt:
        settler = InputSettler(self.clients.of(order.origin_chain_id))
        params = [SolveParams(fill.timestamp, fill.solver) for fill in fills]
        data = settler.encode_finalise(order, params, to_bytes32(sender.address))
        return await self.send(order.origin_chain_id, sender.address, settler.address, data)

    async def prove_here(self, order: Order, fills: list[FillEvidence], sender: LocalAccount = SOLVER) -> None:
        """Same chain: the output settler is its own oracle."""
        settler = OutputSettler(self.clients.of(order.origin_chain_id))
        for fill, output in zip(fills, order.outputs, strict=True):
            data = settler.encode_set_attestation(self.intent_id(order), fill.solver, fill.timestamp, output)
            await self.send(order.origin_chain_id, sender.address, settler.address, data)

    async def prove_there(
        self, order: Order, proofs: executor_service_pb2.GetFillAttestationsResponse, sender: LocalAccount = SOLVER
    ) -> None:
        """Another chain: the attesters' signatures convince the oracle."""
        oracle = AttestedOracle(self.clients.of(order.origin_chain_id))
        for output, proof in zip(order.outputs, proofs.outputs, strict=True):
            data = oracle.encode_submit(
                output.chain_id,
                output.oracle,
                output.settler,
                bytes.fromhex(proof.attestations[0].data_hash[2:]),
                [attestation.signature for attestation in proof.attestations],
            )
            await self.send(order.origin_chain_id, sender.address, oracle.address, data)

    def intent_id(self, order: Order) -> IntentId:
        return order_id(order, self.network.chain(order.origin_chain_id).input_settler)


_nonces = iter(range(int(time.time()) * 1000, 2**62))


def make_order(network: NetworkConfig, *, bridge: bool = False, seconds: float = 60, expires_after: int = 600) -> Order:
    """1000 USDC on alpha for 990 on beta (bridge), or for 0.5 WETH on alpha (swap)."""
    origin, destination = network.chain(ALPHA), network.chain(BETA if bridge else ALPHA)
    route = network.route(origin.chain_id, destination.chain_id)
    now = int(time.time())
    token = destination.tokens["USDC"] if bridge else destination.tokens["WETH"]
    return Order(
        user=USER.address,
        nonce=next(_nonces),
        origin_chain_id=origin.chain_id,
        expires=now + int(seconds) + expires_after,
        fill_deadline=now + int(seconds),
        input_oracle=route.input_oracle,
        inputs=(OrderInput(origin.tokens["USDC"].address, 1000 * USDC),),
        outputs=(
            OrderOutput(
                oracle=to_bytes32(route.output_oracle),
                settler=to_bytes32(destination.output_settler),
                chain_id=destination.chain_id,
                token=to_bytes32(token.address),
                amount=990 * USDC if bridge else 5 * 10**17,
                recipient=to_bytes32(USER.address),
                callback_data=b"",
                context=b"",
            ),
        ),
    )


def signed(order: Order, network: NetworkConfig) -> bytes:
    """The user's Permit2 signature with its type byte."""
    settler = network.chain(order.origin_chain_id).input_settler
    return encode_permit2_signature(sign(permit2_digest(order, settler), USER.private_key))


async def submit(pool: Pool, order: Order, network: NetworkConfig) -> IntentId:
    """What intake stores for an admitted order."""
    settler = network.chain(order.origin_chain_id).input_settler
    now = datetime.now(UTC)
    new = NewIntent(
        intent_id=order_id(order, settler),
        user=order.user,
        type=derive_type(order),
        order_payload=order_to_proto(order).SerializeToString(),
        input_settler=settler,
        origin_chain_id=order.origin_chain_id,
        signature=signed(order, network),
        permit2_nonce=order.nonce,
        created_at=now,
        expires_at=datetime.fromtimestamp(order.fill_deadline, UTC),
    )
    event = build_event(
        intent_id=new.intent_id,
        sequence=1,
        type=IntentEventType.INTENT_EVENT_TYPE_TRANSITION,
        state=accepted(),
        intent_type=new.type,
        user=new.user,
        at=now,
        message="Accepted.",
    )
    async with pool.acquire() as conn:
        assert await admission.insert_intents(conn, accepted(), "Accepted.", [(new, event.SerializeToString())])
    return new.intent_id


async def history(pool: Pool, intent_id: IntentId) -> list[IntentEvent]:
    async with pool.acquire() as conn:
        return [IntentEvent.FromString(payload) for _, payload in await events.read_events(conn, intent_id, 0, 500)]


async def until(
    pool: Pool, intent_id: IntentId, holds: Callable[[IntentRow], bool], seconds: float = WAIT_SECONDS
) -> IntentRow:
    """The intent once the condition holds; fails the test with its history when it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        async with pool.acquire() as conn:
            row = await intents.get_intent(conn, intent_id)
        assert row is not None
        if holds(row):
            return row
        if time.monotonic() > deadline:
            told = "\n".join(f"{event.sequence}: {event.message}" for event in await history(pool, intent_id))
            raise AssertionError(f"stayed at {row.state}:\n{told}")
        await asyncio.sleep(0.05)


async def eventually(holds: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.02)


# --- solvers ---

Told = Callable[[ExecuteStage.ValueType, str], Awaitable[None]]
Behaviour = Callable[["ScriptedSolver", solver_service_pb2.ExecuteRequest], AsyncIterator[ExecuteResponse]]


@dataclass
class _Job:
    """What a solver does for one award; it goes on when nobody listens."""

    updates: list[ExecuteResponse] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    task: asyncio.Task[None] | None = None
    ended: bool = False


class ScriptedSolver(solver_service_pb2_grpc.SolverServiceServicer):
    """A solver that does what its behaviour says; a second call attaches to the work and replays it."""

    def __init__(self, account: LocalAccount, behaviour: Behaviour) -> None:
        self.account = account
        self.behaviour = behaviour
        self.requests: list[solver_service_pb2.ExecuteRequest] = []
        self.jobs: dict[tuple[str, int], _Job] = {}
        self.quoted_amounts: tuple[int, ...] = ()
        self.promise_seconds = 20.0
        self.willing = True
        self.target = ""
        # So many calls break off after their first update.
        self.cuts = 0

    @property
    def solver_id(self) -> str:
        return format_address(self.account.address).lower()

    async def Execute(  # noqa: N802 (the RPC's name)
        self, request: solver_service_pb2.ExecuteRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[ExecuteResponse]:
        self.requests.append(request)
        key = (request.intent_id, request.award_number)
        if key not in self.jobs:
            self.jobs[key] = _Job()
            self.jobs[key].task = asyncio.create_task(self._work(self.jobs[key], request))
        job, told = self.jobs[key], 0
        while True:
            while len(job.updates) == told and not job.ended:
                async with job.news:
                    await job.news.wait()
            for update in job.updates[told:]:
                told += 1
                yield update
                if self.cuts:
                    self.cuts -= 1
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
            if job.ended and told == len(job.updates):
                return

    async def _work(self, job: _Job, request: solver_service_pb2.ExecuteRequest) -> None:
        try:
            async for update in self.behaviour(self, request):
                async with job.news:
                    job.updates.append(update)
                    job.news.notify_all()
        except Exception:
            # Nobody awaits the task; without this a slip of the script looks like a solver that went silent.
            traceback.print_exc()
            raise
        finally:
            job.ended = True
            async with job.news:
                job.news.notify_all()

    async def close(self) -> None:
        tasks = [job.task for job in self.jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def quote(self, order: Order, auction_id: str) -> auction_pb2.Quote:
        amounts = self.quoted_amounts or tuple(output.amount for output in order.outputs)
        quote = auction_pb2.Quote(
            quote_id=f"{auction_id}/{self.solver_id}",
            solver_id=self.solver_id,
            solver=format_address(self.account.address),
            output_amounts=[str(amount) for amount in amounts],
        )
        now = time.time()
        quote.fill_time.FromMicroseconds(int((now + self.promise_seconds) * 1e6))
        quote.valid_until.FromMicroseconds(int((now + 30) * 1e6))
        return quote


def update(stage: ExecuteStage.ValueType, message: str = "") -> ExecuteResponse:
    return ExecuteResponse(stage=stage, message=message)


# --- registry ---


class ScriptedRegistry(solver_registry_service_pb2_grpc.SolverRegistryServiceServicer):
    """Awards to the first willing solver that is not excluded; keeps what it was told."""

    def __init__(self) -> None:
        self.solvers: list[ScriptedSolver] = []
        self.auctions: dict[tuple[str, int], auction_pb2.Auction] = {}
        self.requests: list[solver_registry_service_pb2.RunAuctionRequest] = []
        self.outcomes: list[solver_registry_service_pb2.Outcome] = []
        # The first outcomes that it is told meet with these.
        self.refusals: list[grpc.StatusCode] = []

    async def RunAuction(  # noqa: N802
        self, request: solver_registry_service_pb2.RunAuctionRequest, _context: object
    ) -> solver_registry_service_pb2.RunAuctionResponse:
        self.requests.append(request)
        key = (request.intent_id, request.round)
        if key not in self.auctions:
            self.auctions[key] = self._hold(request)
        return solver_registry_service_pb2.RunAuctionResponse(auction=self.auctions[key])

    def _hold(self, request: solver_registry_service_pb2.RunAuctionRequest) -> auction_pb2.Auction:
        auction = auction_pb2.Auction(
            auction_id=f"{request.intent_id}:{request.round}", intent_id=request.intent_id, round=request.round
        )
        order = order_from_proto(request.order)
        for solver in self.solvers:
            part = auction.participations.add(solver_id=solver.solver_id)
            if solver.solver_id in request.excluded_solver_ids:
                part.outcome = auction_pb2.QUOTE_OUTCOME_NOT_ELIGIBLE
            elif not solver.willing:
                part.outcome = auction_pb2.QUOTE_OUTCOME_DECLINED
            elif auction.HasField("winner"):
                part.outcome = auction_pb2.QUOTE_OUTCOME_OUTBID
            else:
                part.outcome = auction_pb2.QUOTE_OUTCOME_WON
                auction.winner.CopyFrom(solver.quote(order, auction.auction_id))
        return auction

    async def GetSolver(  # noqa: N802
        self, request: solver_registry_service_pb2.GetSolverRequest, _context: object
    ) -> solver_registry_service_pb2.GetSolverResponse:
        (found,) = [solver for solver in self.solvers if solver.solver_id == request.solver_id]
        return solver_registry_service_pb2.GetSolverResponse(
            solver=solver_registry_service_pb2.Solver(solver_id=found.solver_id, endpoint=found.target)
        )

    async def ReportOutcome(  # noqa: N802
        self, request: solver_registry_service_pb2.ReportOutcomeRequest, context: grpc.aio.ServicerContext
    ) -> solver_registry_service_pb2.ReportOutcomeResponse:
        if self.refusals:
            await context.abort(self.refusals.pop(0), "no")
        self.outcomes.append(request.outcome)
        return solver_registry_service_pb2.ReportOutcomeResponse()


# --- the world ---


@dataclass
class World:
    """Everything a test of the executor needs."""

    pool: Pool
    hands: Hands
    registry: ScriptedRegistry
    settings: ExecutorSettings
    network: NetworkConfig
    serve: Callable[..., Awaitable[str]]
    executors: list[Running] = field(default_factory=list)

    async def add_solver(self, account: LocalAccount, behaviour: Behaviour) -> ScriptedSolver:
        solver = ScriptedSolver(account, behaviour)
        solver.target = await self.serve(
            lambda server: solver_service_pb2_grpc.add_SolverServiceServicer_to_server(solver, server)
        )
        self.registry.solvers.append(solver)
        return solver

    @asynccontextmanager
    async def executor(self, **changes: object) -> AsyncIterator[Running]:
        """The real executor, as its process would run it."""
        settings = self.settings.model_copy(update=changes)
        async with bootstrap.assemble(settings, self.network) as service, serving(settings, service) as running:
            self.executors.append(running)
            yield running

    def with_network(self, **changes: object) -> "World":
        """The same chains, looked at with other measures of depth."""
        chains = tuple(chain.model_copy(update=changes) for chain in self.network.chains)
        return replace(self, network=self.network.model_copy(update={"chains": chains}))

    async def attestations(self, target: str, intent_id: IntentId) -> executor_service_pb2.GetFillAttestationsResponse:
        """What a solver gets from the executor, once it is there."""
        async with grpc.aio.insecure_channel(target) as channel:
            stub = executor_service_pb2_grpc.ExecutorServiceStub(channel)
            request = executor_service_pb2.GetFillAttestationsRequest(intent_id=format_intent_id(intent_id))
            while True:
                try:
                    return await stub.GetFillAttestations(request, timeout=5)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                        raise
                    await asyncio.sleep(0.05)

    async def awards(self, intent_id: IntentId) -> list[executions.Award]:
        async with self.pool.acquire() as conn:
            return await executions.list_awards(conn, intent_id)
