"""Valid messages for every RPC, as seeds: some made, some learned from the mesh under attack (tokens)."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from intentmesh.chain.config import NetworkConfig
from intentmesh.domain.types import format_address
from intentmesh.rpc.pages import encode_page_token
from intentmesh.v1 import attester_service_pb2 as attester
from intentmesh.v1 import auction_pb2 as auction
from intentmesh.v1 import executor_service_pb2 as executor
from intentmesh.v1 import intake_service_pb2 as intake
from intentmesh.v1 import solver_registry_service_pb2 as registry
from intentmesh.v1 import solver_service_pb2 as solver
from intentmesh.v1 import status_service_pb2 as status
from intentmesh.v1.intent_pb2 import IntentStatus, IntentType

from tests.fuzz.doors import Doors
from tests.fuzz.signing import SOLVER_KEYS, USER, Signer
from tests.fuzz.surface import Door, all_rpcs

ORDERS = 120
"""Distinct valid orders of a campaign: each costs transactions on the chains."""
UNKNOWN_INTENT = "0x" + "5e" * 32
_BRIDGE = 1
"""Every third order from this one on goes from chain to chain, and its fill is attested."""
_LEARN_SECONDS = 10.0
_FILL_SECONDS = 40.0
_POLL_SECONDS = 0.3
# Tokens are not secret: whoever knows the code can write one that fits its query.
_FORGED_POSITIONS = (
    "", "\x00", "\ud800", "a" * 400, "0x" + "f" * 40,
    "0001-01-01T00:00:00+23:59 " + "00" * 32, "9999-12-31T23:59:59-23:59 " + "00" * 32, "2026-01-01 00",
    0, 1, 2**31, 2**63 - 1, 2**63, -1,
)  # fmt: skip
_USER = format_address(USER.address)


class Corpus:
    """Seeds by the path of their RPC."""

    def __init__(
        self, network: NetworkConfig, solver_address: str, seed: int, now: int, endpoints: Sequence[str] = ()
    ) -> None:
        """`endpoints` are those of the first invented solvers."""
        self.signer = Signer(network, now, seed, tuple(endpoints))
        self.orders = [self.signer.order(number) for number in range(ORDERS)]
        self.intent_ids = [self.signer.intent_id(order) for order in self.orders]
        # Fills that are on a chain, as the attesters have seen them.
        self._fills: list[attester.AttestFillRequest] = []
        # By RPC: page and resume tokens that the mesh has issued.
        self._tokens: dict[str, list[str]] = {}
        self._solver_address = solver_address
        self._makers: dict[str, Callable[[Random], Message]] = self._all_makers()
        missing = {rpc.path for rpc in all_rpcs()} - set(self._makers)
        if missing:
            raise LookupError(f"no seeds for {sorted(missing)}")

    async def learn(self, doors: Doors) -> None:
        """Submit some orders and collect what only a running mesh can tell. What fails is left out."""
        operator = "operator:fuzz"
        for number in range(4):
            await _ask(doors, Door.INTAKE, "IntakeService/SubmitIntent", self.orders[number], operator)
        await self._learn_fill(doors, self.orders[_BRIDGE], operator)
        pages = {
            "IntakeService/ListIntents": intake.ListIntentsRequest(user=_USER, page_size=1),
            "SolverRegistryService/ListSolvers": registry.ListSolversRequest(page_size=1),
            "SolverRegistryService/ListAuctions": registry.ListAuctionsRequest(
                intent_id=self.intent_ids[0], page_size=1
            ),
            "SolverRegistryService/ListOutcomes": registry.ListOutcomesRequest(page_size=1),
            "ExecutorService/ListExecutions": executor.ListExecutionsRequest(page_size=1),
            "AttesterService/ListAttestations": attester.ListAttestationsRequest(page_size=1),
        }
        doors_of = {rpc.name: rpc.doors[0] for rpc in all_rpcs()}
        for name, request in pages.items():
            answer = await _ask(doors, doors_of[name], name, request, operator)
            token = getattr(answer, "next_page_token", "")
            self._tokens[name] = ["", token] if token else [""]
        watched = await _ask(
            doors, Door.STATUS, "StatusService/WatchIntents", status.WatchIntentsRequest(from_start=True), operator
        )
        self._tokens["StatusService/WatchIntents"] = ["", getattr(watched, "resume_token", "")]

    async def _learn_fill(self, doors: Doors, order: intake.SubmitIntentRequest, principal: str) -> None:
        """Wait for the mesh to fill this order and to prove it."""
        request = attester.ListAttestationsRequest(intent_id=self.signer.intent_id(order), page_size=1)
        deadline = asyncio.get_running_loop().time() + _FILL_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            answer = await _ask(doors, Door.ATTESTER_1, "AttesterService/ListAttestations", request, principal)
            for seen in answer.attestations if answer is not None else ():
                self._fills.append(self._claim(order, seen.solver, seen.timestamp))
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _claim(self, order: intake.SubmitIntentRequest, solver: str, timestamp: int) -> attester.AttestFillRequest:
        return attester.AttestFillRequest(
            intent_id=self.signer.intent_id(order),
            origin_chain_id=order.order.origin_chain_id,
            input_oracle=order.order.input_oracle,
            output=order.order.outputs[0],
            solver=solver,
            timestamp=timestamp,
        )

    def seed(self, random: Random, path: str) -> Message:
        """A valid message for this RPC."""
        return self._makers[path](random)

    def _token(self, random: Random, name: str) -> str:
        # A token of another call is well formed and wrong.
        if random.random() < 0.1:
            name = random.choice(list(self._tokens) or [name])
        if random.random() < 0.1:
            return encode_page_token(name.partition("/")[2], random.choice(_FORGED_POSITIONS))
        return random.choice(self._tokens.get(name) or [""])

    def _id(self, random: Random) -> str:
        return random.choice((*self.intent_ids[:40], UNKNOWN_INTENT))

    def _all_makers(self) -> dict[str, Callable[[Random], Message]]:
        makers = {
            **self._intake(),
            **self._registry(),
            **self._status(),
            **self._executor(),
            **self._attester(),
            **self._solver(),
        }
        paths = {rpc.name: rpc.path for rpc in all_rpcs()}
        return {paths[name]: maker for name, maker in makers.items()} | _infrastructure()

    def _submission(self, random: Random) -> intake.SubmitIntentRequest:
        request = intake.SubmitIntentRequest()
        request.CopyFrom(random.choice(self.orders))
        if random.random() < 0.2:
            request.request_id = random.choice(("r-1", "r-2", "x" * 64))
        return request

    def _intake(self) -> dict[str, Callable[[Random], Message]]:
        return {
            "IntakeService/SubmitIntent": self._submission,
            "IntakeService/SubmitIntents": lambda random: intake.SubmitIntentsRequest(
                items=[
                    intake.SubmitIntentItem(item_id=number, intent=self._submission(random))
                    for number in range(random.choice((1, 1, 2, 5)))
                ]
            ),
            "IntakeService/ValidateIntent": lambda random: intake.ValidateIntentRequest(
                intent=self._submission(random)
            ),
            "IntakeService/CancelIntent": lambda random: self.signer.cancellation(random.choice(self.orders[-20:])),
            "IntakeService/GetIntent": lambda random: intake.GetIntentRequest(intent_id=self._id(random)),
            "IntakeService/ListIntents": lambda random: intake.ListIntentsRequest(
                user=random.choice((_USER, _USER.lower(), "")),
                statuses=random.sample(IntentStatus.values(), random.randrange(3)),
                types=random.sample(IntentType.values(), random.randrange(2)),
                create_time_from=Timestamp(seconds=self.signer.now - 100),
                create_time_to=Timestamp(seconds=self.signer.now + 10_000),
                page_size=random.choice((0, 1, 500)),
                page_token=self._token(random, "IntakeService/ListIntents"),
                transaction_hash=random.choice(("", self._id(random))),
            ),
        }

    def _registry(self) -> dict[str, Callable[[Random], Message]]:
        def page(kind: Any, name: str, **fields: Any) -> Callable[[Random], Message]:
            return lambda random: kind(
                page_size=random.choice((0, 1, 500)),
                page_token=self._token(random, f"SolverRegistryService/{name}"),
                **{key: value(random) if callable(value) else value for key, value in fields.items()},
            )

        def solver_id(random: Random) -> str:
            return random.choice((self._solver_address, self.signer.solver_address(invented(random))))

        def invented(random: Random) -> int:
            # Those with an endpoint get into the store, and what follows finds them there.
            return random.randrange(2 if random.random() < 0.7 else SOLVER_KEYS)

        return {
            "SolverRegistryService/RegisterSolver": lambda random: self.signer.registration(invented(random)),
            "SolverRegistryService/UpdateSolver": lambda random: registry.UpdateSolverRequest(
                solver_id=solver_id(random), state=random.choice((2, 2, 2, 4))
            ),
            "SolverRegistryService/DeregisterSolver": lambda random: self.signer.deregistration(invented(random)),
            "SolverRegistryService/GetSolver": lambda random: registry.GetSolverRequest(solver_id=solver_id(random)),
            "SolverRegistryService/ListSolvers": page(registry.ListSolversRequest, "ListSolvers"),
            "SolverRegistryService/Heartbeat": lambda random: self.signer.heartbeat(invented(random)),
            "SolverRegistryService/RequestQuotes": lambda random: registry.RequestQuotesRequest(
                draft=random.choice(self.orders).order, min_quotes=random.choice((0, 1))
            ),
            "SolverRegistryService/RunAuction": lambda random: registry.RunAuctionRequest(
                intent_id=self._id(random),
                round=random.choice((1, 2, 3, 77)),
                order=random.choice(self.orders).order,
                min_quotes=1,
            ),
            "SolverRegistryService/GetAuction": lambda random: registry.GetAuctionRequest(
                auction_id=f"{self._id(random)}:{random.choice((1, 2))}"
            ),
            "SolverRegistryService/ListAuctions": page(
                registry.ListAuctionsRequest, "ListAuctions", intent_id=self._id
            ),
            "SolverRegistryService/ReportOutcome": lambda random: registry.ReportOutcomeRequest(
                outcome=registry.Outcome(
                    intent_id=self._id(random),
                    award_number=random.choice((1, 2)),
                    solver_id=solver_id(random),
                    kind=random.choice((1, 2, 3, 4)),
                    cause=random.choice((0, 1, 2, 3, 4)),
                    message="as promised",
                )
            ),
            "SolverRegistryService/ListOutcomes": page(
                registry.ListOutcomesRequest,
                "ListOutcomes",
                solver_id=lambda random: random.choice(("", solver_id(random))),
            ),
        }

    def _status(self) -> dict[str, Callable[[Random], Message]]:
        return {
            "StatusService/GetIntentStatus": lambda random: status.GetIntentStatusRequest(
                intent_id=self._id(random), min_sequence=random.choice((0, 1, 3))
            ),
            "StatusService/WatchIntent": lambda random: status.WatchIntentRequest(
                intent_id=self._id(random), after_sequence=random.choice((0, 1, 100)), end=random.choice((0, 1, 2))
            ),
            "StatusService/WatchIntents": lambda random: status.WatchIntentsRequest(
                intent_ids=[self._id(random) for _ in range(random.choice((0, 0, 1, 5)))],
                user=random.choice(("", _USER)),
                types=random.sample(IntentType.values(), random.randrange(2)),
                statuses=random.sample(IntentStatus.values(), random.randrange(2)),
                resume_token=self._token(random, "StatusService/WatchIntents"),
                from_start=random.random() < 0.5,
            ),
        }

    def _executor(self) -> dict[str, Callable[[Random], Message]]:
        return {
            "ExecutorService/GetExecution": lambda random: executor.GetExecutionRequest(intent_id=self._id(random)),
            "ExecutorService/ListExecutions": lambda random: executor.ListExecutionsRequest(
                page_size=random.choice((0, 1, 500)), page_token=self._token(random, "ExecutorService/ListExecutions")
            ),
            "ExecutorService/RetryExecution": lambda random: executor.RetryExecutionRequest(intent_id=self._id(random)),
            "ExecutorService/PauseExecutions": lambda _: executor.PauseExecutionsRequest(reason="maintenance"),
            "ExecutorService/ResumeExecutions": lambda _: executor.ResumeExecutionsRequest(),
            "ExecutorService/GetFillAttestations": lambda random: executor.GetFillAttestationsRequest(
                intent_id=self._id(random)
            ),
        }

    def _attester(self) -> dict[str, Callable[[Random], Message]]:
        def fill(random: Random) -> Message:
            if self._fills and random.random() < 0.4:
                seen = attester.AttestFillRequest()
                seen.CopyFrom(random.choice(self._fills))
                return seen
            bridges = self.orders[_BRIDGE::3]
            order = random.choice(bridges if random.random() < 0.7 else self.orders)
            padded = "0x" + self._solver_address[2:].rjust(64, "0")
            return self._claim(order, padded, self.signer.now + random.randrange(600))

        return {
            "AttesterService/AttestFill": fill,
            "AttesterService/ListAttestations": lambda random: attester.ListAttestationsRequest(
                intent_id=random.choice(("", self._id(random))),
                page_size=random.choice((0, 1, 500)),
                page_token=self._token(random, "AttesterService/ListAttestations"),
            ),
        }

    def _solver(self) -> dict[str, Callable[[Random], Message]]:
        def quote(order: intake.SubmitIntentRequest) -> auction.Quote:
            return auction.Quote(
                quote_id="q",
                solver_id=self._solver_address,
                solver=self._solver_address,
                output_amounts=[order.order.outputs[0].amount],
                fill_time=Timestamp(seconds=self.signer.now + 600),
                valid_until=Timestamp(seconds=self.signer.now + 600),
            )

        def execute(random: Random) -> Message:
            order = random.choice(self.orders)
            origin = self.signer.network.chain(order.order.origin_chain_id)  # type: ignore[arg-type]  # an int from the wire
            return solver.ExecuteRequest(
                intent_id=self.signer.intent_id(order),
                order=order.order,
                input_settler=format_address(origin.input_settler),
                signature=order.signature,
                award_number=random.choice((1, 1, 2)),
                quote=quote(order),
                award_token=random.randbytes(32),
            )

        return {
            "SolverService/GetCapabilities": lambda _: solver.GetCapabilitiesRequest(),
            "SolverService/Quote": lambda random: solver.QuoteRequest(
                auction_id="a:1", intent_id=self._id(random), order=random.choice(self.orders).order
            ),
            "SolverService/Execute": execute,
        }


def _infrastructure() -> dict[str, Callable[[Random], Message]]:
    def reflect(random: Random) -> Message:
        return random.choice(
            (
                reflection_pb2.ServerReflectionRequest(list_services=""),
                reflection_pb2.ServerReflectionRequest(file_containing_symbol="intentmesh.v1.IntakeService"),
                reflection_pb2.ServerReflectionRequest(file_by_filename="intentmesh/v1/order.proto"),
                reflection_pb2.ServerReflectionRequest(all_extension_numbers_of_type="google.protobuf.FieldOptions"),
            )
        )

    def check(random: Random) -> Message:
        return health_pb2.HealthCheckRequest(service=random.choice(("", "liveness", "intentmesh.v1.IntakeService")))

    makers: dict[str, Callable[[Random], Message]] = {}
    for rpc in all_rpcs():
        if rpc.path.startswith("/grpc.reflection."):
            makers[rpc.path] = reflect
        elif rpc.path.startswith("/grpc.health."):
            makers[rpc.path] = check
    return makers


async def _ask(doors: Doors, door: Door, name: str, request: Message, principal: str) -> Any:
    """The (first) answer, or None."""
    rpc = next(rpc for rpc in all_rpcs() if rpc.name == name)
    call = doors.channel(door).stream_stream(rpc.path)(
        _one(request.SerializeToString()), metadata=doors.identity(principal), timeout=_LEARN_SECONDS
    )
    try:
        raw = await call.read()
        return rpc.response.FromString(raw) if isinstance(raw, bytes) else None
    except grpc.aio.AioRpcError:
        return None
    finally:
        call.cancel()


def _one(message: bytes) -> Iterable[bytes]:
    return (message,)
