"""What the solver's integration tests stand on: signed orders, a mesh that collects attestations, the solver itself."""

import json
import os
import secrets
import sys
import time
from asyncio import sleep, subprocess, timeout
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import grpc
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.output_settler import FillEvidence, OutputSettler
from intentmesh.domain.convert import order_to_proto
from intentmesh.domain.digests import TokenDomain, erc3009_digest, fill_attestation_digest, permit2_digest
from intentmesh.domain.errors import FailedPrecondition, NotFound
from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import Order, OrderInput, OrderOutput, fill_data_hash, order_id
from intentmesh.domain.signatures import encode_erc3009_signatures, encode_permit2_signature, sign
from intentmesh.domain.types import (
    Address,
    Bytes32,
    ChainId,
    IntentId,
    format_intent_id,
    parse_intent_id,
    to_bytes32,
)
from intentmesh.embedded.deployment import local_accounts
from intentmesh.rpc.channels import open_channel
from intentmesh.rpc.server import Service, serving
from intentmesh.rpc.settings import ServiceSettings
from intentmesh.solver.bootstrap import build
from intentmesh.solver.settings import SolverSettings
from intentmesh.v1 import error_pb2 as reasons
from intentmesh.v1 import executor_service_pb2 as executor_pb
from intentmesh.v1 import solver_service_pb2 as pb
from intentmesh.v1.attester_service_pb2 import FillAttestation
from intentmesh.v1.event_pb2 import AwardDetail
from intentmesh.v1.executor_service_pb2_grpc import ExecutorServiceServicer, add_ExecutorServiceServicer_to_server
from intentmesh.v1.solver_service_pb2_grpc import SolverServiceStub

USER = local_accounts("user")[0]
SOLVER = local_accounts("solver")[0]
RECIPIENT = Address(b"\x77" * 20)
ONE_USDC = 10**6
ONE_WETH = 10**18
WAIT_SECONDS = 30.0
FAST_BLOCKS_SECONDS = 0.1
LOCAL = "127.0.0.1:0"


@dataclass(frozen=True, slots=True)
class SignedOrder:
    """An order as the mesh would hand it out."""

    order: Order
    settler: Address
    signature: bytes

    @property
    def intent_id(self) -> IntentId:
        return order_id(self.order, self.settler)


def swap(
    network: NetworkConfig, *, usdc: int = 100 * ONE_USDC, weth: int = ONE_WETH // 25, **changes: object
) -> SignedOrder:
    """USDC for WETH on the first chain, by Permit2."""
    chain = network.chains[0]
    settler = to_bytes32(chain.output_settler)
    output = OrderOutput(
        oracle=settler,
        settler=settler,
        chain_id=chain.chain_id,
        token=to_bytes32(chain.tokens["WETH"].address),
        amount=weth,
        recipient=to_bytes32(RECIPIENT),
        callback_data=b"",
        context=b"",
    )
    order = _order(network, chain.output_settler, "USDC", usdc, output)
    return by_permit2(replace(order, **changes), network)  # type: ignore[arg-type]  # the caller names fields of Order


def bridge(network: NetworkConfig, *, usdc: int = 1000 * ONE_USDC, out: int = 995 * ONE_USDC) -> SignedOrder:
    """USDC from the first chain to the second, by ERC-3009."""
    origin, there = network.chains
    output = OrderOutput(
        oracle=to_bytes32(there.oracle),
        settler=to_bytes32(there.output_settler),
        chain_id=there.chain_id,
        token=to_bytes32(there.tokens["USDC"].address),
        amount=out,
        recipient=to_bytes32(RECIPIENT),
        callback_data=b"",
        context=b"",
    )
    order = _order(network, origin.oracle, "USDC", usdc, output)
    token = origin.tokens["USDC"]
    assert token.erc3009 is not None
    domain = TokenDomain(token.erc3009.name, token.erc3009.version, origin.chain_id, token.address)
    digest = erc3009_digest(domain, order, origin.input_settler, usdc)
    return SignedOrder(order, origin.input_settler, encode_erc3009_signatures([sign(digest, USER.private_key)]))


def by_permit2(order: Order, network: NetworkConfig) -> SignedOrder:
    """The order with the user's Permit2 signature."""
    settler = network.chain(order.origin_chain_id).input_settler
    signature = encode_permit2_signature(sign(permit2_digest(order, settler), USER.private_key))
    return SignedOrder(order, settler, signature)


def _order(network: NetworkConfig, input_oracle: Address, symbol: str, amount: int, *outputs: OrderOutput) -> Order:
    chain = network.chains[0]
    now = int(time.time())
    return Order(
        user=USER.address,
        nonce=secrets.randbits(255),
        origin_chain_id=chain.chain_id,
        expires=now + 3600,
        fill_deadline=now + 600,
        input_oracle=input_oracle,
        inputs=(OrderInput(chain.tokens[symbol].address, amount),),
        outputs=outputs,
    )


class TestMesh(ExecutorServiceServicer):
    """The part of the executor that solvers see: awards, and signatures of all local attesters once all is filled."""

    __test__ = False

    def __init__(self, clients: ChainClients) -> None:
        self._clients = clients
        self.orders: dict[IntentId, Order] = {}
        self.calls = 0
        self._awards: dict[str, dict[int, AwardDetail]] = {}

    def make(self, award: pb.ExecuteRequest) -> None:
        """The award is stored, as the mesh does before its winner hears of it."""
        self._awards.setdefault(award.intent_id, {})[award.award_number] = AwardDetail(
            award_number=award.award_number,
            solver=award.quote.solver,
            output_amounts=award.quote.output_amounts,
            token_hash="0x" + keccak(award.award_token).hex(),
        )

    async def GetExecution(  # noqa: N802 - the proto's name
        self,
        request: executor_pb.GetExecutionRequest,
        context: object,  # noqa: ARG002 - the signature is gRPC's
    ) -> executor_pb.GetExecutionResponse:
        if request.intent_id not in self._awards:
            raise NotFound("no such intent")
        made = self._awards[request.intent_id]
        execution = executor_pb.Execution(intent_id=request.intent_id, awards=[made[number] for number in sorted(made)])
        return executor_pb.GetExecutionResponse(execution=execution)

    async def GetFillAttestations(  # noqa: N802 - the proto's name
        self,
        request: executor_pb.GetFillAttestationsRequest,
        context: object,  # noqa: ARG002 - the signature is gRPC's
    ) -> executor_pb.GetFillAttestationsResponse:
        self.calls += 1
        intent_id = parse_intent_id(request.intent_id)
        order = self.orders[intent_id]
        there = self._clients.of(order.outputs[0].chain_id)
        fills = {fill.output: fill for fill in await OutputSettler(there).find_fills(intent_id, 0)}
        if self.calls == 1 or not all(output in fills for output in order.outputs):
            raise FailedPrecondition("not yet", reason=reasons.ERROR_REASON_NOT_PROVEN, retry_after=0.1)
        return executor_pb.GetFillAttestationsResponse(
            outputs=[_attested(intent_id, order, output, fills[output]) for output in order.outputs]
        )


def _attested(
    intent_id: IntentId, order: Order, output: OrderOutput, fill: FillEvidence
) -> executor_pb.OutputAttestations:
    data_hash = fill_data_hash(intent_id, output, fill.solver, fill.timestamp)
    digest = fill_attestation_digest(
        order.origin_chain_id, order.input_oracle, output.chain_id, output.oracle, output.settler, data_hash
    )
    return executor_pb.OutputAttestations(
        output_hash="0x" + fill.output_hash.hex(),
        attestations=[
            FillAttestation(data_hash="0x" + data_hash.hex(), signature=sign(digest, attester.private_key))
            for attester in sorted(local_accounts("attester"), key=lambda account: account.address)
        ],
    )


@asynccontextmanager
async def running_mesh(clients: ChainClients) -> AsyncIterator[tuple[TestMesh, str]]:
    """It and the target to reach it at."""
    servicer = TestMesh(clients)
    service = Service("executor", partial(add_ExecutorServiceServicer_to_server, servicer), ())
    async with serving(ServiceSettings(listen=LOCAL, metrics_listen=LOCAL), service) as running:
        yield servicer, running.target


def environment(folder: Path, network: NetworkConfig, dsn: str, executor_target: str, **more: str) -> dict[str, str]:
    """The solver's settings as the environment of its process."""
    file = folder / "network.toml"
    file.write_text(_toml(network), encoding="utf-8")
    settings = {
        "network_file": str(file),
        "solver_key": "env:TEST_SOLVER_KEY",
        "postgres_dsn": dsn,
        "listen": LOCAL,
        "metrics_listen": LOCAL,
        "executor_target": executor_target,
        "registry_target": "127.0.0.1:9",
        "advertised_endpoint": "dns:///solver:50051",
        "register_with_registry": "false",
        "prices": "USDC=1,WETH=2000",
        "grace_seconds": "3",
        **more,
    }
    return {f"INTENTMESH_{name.upper()}": value for name, value in settings.items()} | {
        "TEST_SOLVER_KEY": "0x" + SOLVER.private_key.hex()
    }


def fast(network: NetworkConfig) -> NetworkConfig:
    """The same chains, looked at more often: they mine at once."""
    chains = [chain.model_copy(update={"block_time_seconds": FAST_BLOCKS_SECONDS}) for chain in network.chains]
    return network.model_copy(update={"chains": tuple(chains)})


def _toml(network: NetworkConfig) -> str:
    lines: list[str] = []
    for chain in network.model_dump(mode="json")["chains"]:
        tokens = chain.pop("tokens")
        lines += ["[[chains]]", *_pairs(chain)]
        for symbol, token in tokens.items():
            erc3009 = token.pop("erc3009")
            lines += [
                f"[chains.tokens.{symbol}]",
                *_pairs(token),
                f"[chains.tokens.{symbol}.erc3009]",
                *_pairs(erc3009),
            ]
    return "\n".join(lines) + "\n"


def _pairs(table: dict[str, object]) -> list[str]:
    return [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]


class SolverClient:
    """What the mesh would do with a solver."""

    def __init__(self, channel: grpc.aio.Channel, network: NetworkConfig, mesh: TestMesh) -> None:
        self.stub = SolverServiceStub(channel)
        self._mesh = mesh
        self._network = network

    async def quote(self, signed: SignedOrder, *, already_opened: bool = False) -> pb.QuoteResponse:
        """Asks until the solver is ready to pay."""
        request = pb.QuoteRequest(
            auction_id="test:1",
            intent_id=format_intent_id(signed.intent_id),
            order=order_to_proto(signed.order),
            already_opened=already_opened,
        )
        async with timeout(WAIT_SECONDS):
            while True:
                answer = await self.stub.Quote(request)
                if "not ready" not in answer.decline_reason:
                    return answer
                await sleep(0.05)

    async def award(self, signed: SignedOrder, number: int = 1, *, already_opened: bool = False) -> pb.ExecuteRequest:
        """A won order, with the solver's own quote."""
        answer = await self.quote(signed, already_opened=already_opened)
        assert answer.HasField("quote"), answer.decline_reason
        return pb.ExecuteRequest(
            intent_id=format_intent_id(signed.intent_id),
            order=order_to_proto(signed.order),
            input_settler="0x" + signed.settler.hex(),
            signature=b"" if already_opened else signed.signature,
            award_number=number,
            quote=answer.quote,
            already_opened=already_opened,
            award_token=secrets.token_bytes(32),
        )

    async def execute(self, request: pb.ExecuteRequest) -> list[pb.ExecuteResponse]:
        """All updates until the stream ends by itself."""
        self._mesh.make(request)
        async with timeout(WAIT_SECONDS):
            return [update async for update in self.stub.Execute(request)]

    async def execute_until(self, request: pb.ExecuteRequest, stage: int) -> list[pb.ExecuteResponse]:
        """The updates up to a stage; then the stream is cut."""
        seen: list[pb.ExecuteResponse] = []
        self._mesh.make(request)
        call = self.stub.Execute(request)
        async with timeout(WAIT_SECONDS):
            async for update in call:
                seen.append(update)
                if update.stage >= stage:
                    break
        call.cancel()
        return seen


@asynccontextmanager
async def running_solver(env: dict[str, str], network: NetworkConfig, mesh: TestMesh) -> AsyncIterator[SolverClient]:
    """The whole service in this process, spoken to by gRPC."""
    previous = {name: os.environ.get(name) for name in env}
    os.environ.update(env)
    try:
        settings = SolverSettings()  # type: ignore[call-arg]  # the environment gives every field
        async with (
            build(settings) as service,
            serving(settings, service) as running,
            open_channel(running.target) as channel,
        ):
            yield SolverClient(channel, network, mesh)
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class SolverProcess:
    """The whole service in a process of its own, which can be killed."""

    def __init__(self, env: dict[str, str], network: NetworkConfig, mesh: TestMesh) -> None:
        self._env = env
        self._network = network
        self._mesh = mesh
        self._process: subprocess.Process | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[SolverClient]:
        """Started; killed with SIGKILL at the end of the block."""
        process = await subprocess.create_subprocess_exec(
            sys.executable,
            "-c",
            "from intentmesh.solver.bootstrap import main; main()",
            env=os.environ | self._env,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdout is not None
        try:
            async with timeout(WAIT_SECONDS):
                line = ""
                while not line.startswith("ready"):
                    raw = await process.stdout.readline()
                    assert raw, "the solver ended before it was ready"
                    line = raw.decode()
            target = line.split("grpc=")[1].split()[0]
            async with open_channel(target) as channel:
                yield SolverClient(channel, self._network, self._mesh)
        finally:
            process.kill()
            await process.wait()
            # Reading to the end closes the pipe's transport within this loop.
            await process.stdout.read()


async def fills(clients: ChainClients, signed: SignedOrder) -> list[FillEvidence]:
    client = clients.of(signed.order.outputs[0].chain_id)
    return await OutputSettler(client).find_fills(signed.intent_id, 0)


async def transaction_counts(clients: ChainClients) -> dict[ChainId, int]:
    """How many transactions the solver has sent on each chain."""
    return {chain_id: await client.nonce(SOLVER.address) for chain_id, client in clients.all.items()}


def stages(updates: list[pb.ExecuteResponse]) -> list[str]:
    return [pb.ExecuteStage.Name(update.stage).removeprefix("EXECUTE_STAGE_") for update in updates]


SOLVER_WORD: Bytes32 = to_bytes32(SOLVER.address)
