"""Signed orders and registrations. What a fuzzer signs again after a change gets past the signature check."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

from google.protobuf.message import Message
from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.context import ContextKind, OrderContext
from intentmesh.domain.convert import order_from_proto, order_to_proto
from intentmesh.domain.digests import (
    TokenDomain,
    cancel_intent_digest,
    deregister_solver_digest,
    erc3009_digest,
    heartbeat_digest,
    permit2_digest,
    register_solver_digest,
)
from intentmesh.domain.errors import MeshError
from intentmesh.domain.keccak import keccak
from intentmesh.domain.order import Order, OrderInput, OrderOutput, derive_type, order_id
from intentmesh.domain.signatures import (
    address_of,
    encode_erc3009_signatures,
    encode_permit2_signature,
    sign,
)
from intentmesh.domain.types import (
    ZERO_ADDRESS,
    Address,
    format_address,
    format_intent_id,
    parse_address,
    parse_intent_id,
    to_bytes32,
)
from intentmesh.embedded.deployment import local_accounts
from intentmesh.v1.intake_service_pb2 import CancelIntentRequest, SubmitIntentRequest
from intentmesh.v1.solver_registry_service_pb2 import DeregisterSolverRequest, HeartbeatRequest, RegisterSolverRequest

from tests.fuzz import values

USER = local_accounts("user")[0]
SOLVER = to_bytes32(local_accounts("solver")[0].address)
RECIPIENT = Address(b"\x00" * 18 + b"\xf0\x22")
FILL_SECONDS = 6 * 3600
EXPIRY_SECONDS = 12 * 3600
INPUT_AMOUNT = 1_000_000
# In the smallest unit of the token; low, so that the solver takes every order.
OUTPUT_AMOUNTS = {"USDC": 900_000, "WETH": 10**14}
SOLVER_KEYS = 6


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs for one network at one time; the same seed and time make the same bytes."""

    network: NetworkConfig
    now: int
    seed: int
    # Where the first invented solvers answer; the others have no endpoint that does.
    endpoints: Sequence[str] = ()

    def order(self, number: int) -> SubmitIntentRequest:
        """The number-th valid order: swap, bridge and transfer in turn, Permit2 and ERC-3009 in turn."""
        alpha, beta = self.network.chains[0], self.network.chains[-1]
        origin, target, symbol = ((alpha, alpha, "WETH"), (alpha, beta, "USDC"), (beta, beta, "USDC"))[number % 3]
        order = self._order(number, origin, target, symbol)
        order = replace(order, outputs=(replace(order.outputs[0], context=self._context(number // 3)),))
        return self.submission(order, erc3009=number % 2 == 1)

    def submission(self, order: Order, *, erc3009: bool = False, request_id: str = "") -> SubmitIntentRequest:
        """Signed by the user."""
        origin = self.network.find(order.origin_chain_id)
        settler = origin.input_settler if origin else ZERO_ADDRESS
        if erc3009 and origin is not None:
            signature = self._erc3009(origin, order)
        else:
            signature = encode_permit2_signature(sign(permit2_digest(order, settler), USER.private_key))
        return SubmitIntentRequest(
            order=order_to_proto(order), signature=signature, type=derive_type(order), request_id=request_id
        )

    def intent_id(self, request: SubmitIntentRequest) -> str:
        order = order_from_proto(request.order)
        return format_intent_id(order_id(order, self.network.chain(order.origin_chain_id).input_settler))

    def cancellation(self, request: SubmitIntentRequest, valid_for: int = 3_000) -> CancelIntentRequest:
        """Of this order, by its user."""
        made = CancelIntentRequest(intent_id=self.intent_id(request), valid_until=self.now + valid_for)
        return self._sign_cancellation(made, self.network.chains[0])

    def solver_address(self, number: int) -> str:
        """Of the number-th invented solver."""
        return format_address(address_of(self._solver_key(number)))

    def registration(self, number: int) -> RegisterSolverRequest:
        """Of the number-th invented solver."""
        made = RegisterSolverRequest(
            address=self.solver_address(number),
            endpoint=self.endpoints[number] if number < len(self.endpoints) else "127.0.0.1:1",
            name="fuzzed",
            signed_time=self.now,
        )
        return _sign_registration(made, self._solver_key(number))

    def deregistration(self, number: int) -> DeregisterSolverRequest:
        """Of the number-th invented solver."""
        made = DeregisterSolverRequest(address=self.solver_address(number), signed_time=self.now)
        return _sign_deregistration(made, self._solver_key(number))

    def heartbeat(self, number: int) -> HeartbeatRequest:
        """Of the number-th invented solver."""
        made = HeartbeatRequest(solver_id=self.solver_address(number), signed_time=self.now)
        return _sign_heartbeat(made, self._solver_key(number))

    def again(self, random: Random, message: Message) -> bool:
        """Sign a changed message anew, in place. False where it is not one that is signed, or is beyond signing."""
        sign_again = self._signs_again().get(type(message))
        if sign_again is None:
            return False
        try:
            sign_again(random, message)
        except (MeshError, ValueError, OverflowError):
            return False
        return True

    def _signs_again(self) -> "dict[type[Message], Callable[[Random, Message], None]]":
        return {
            SubmitIntentRequest: self._submission_again,  # type: ignore[dict-item]  # each takes its own message
            CancelIntentRequest: self._cancellation_again,  # type: ignore[dict-item]  # as above
            RegisterSolverRequest: self._registration_again,  # type: ignore[dict-item]  # as above
            DeregisterSolverRequest: self._deregistration_again,  # type: ignore[dict-item]  # as above
            HeartbeatRequest: self._heartbeat_again,  # type: ignore[dict-item]  # as above
        }

    def _submission_again(self, _: Random, request: SubmitIntentRequest) -> None:
        order = order_from_proto(request.order)
        signed = self.submission(order, erc3009=request.signature[:1] == b"\x01")
        request.signature = signed.signature
        request.type = signed.type

    def _cancellation_again(self, random: Random, request: CancelIntentRequest) -> None:
        request.MergeFrom(self._sign_cancellation(request, random.choice(self.network.chains)))

    def _registration_again(self, random: Random, request: RegisterSolverRequest) -> None:
        # Never an address of elsewhere: what is signed well may be called.
        number = random.randrange(SOLVER_KEYS)
        key = self._solver_key(number)
        answers = number < len(self.endpoints) and random.random() < 0.7
        request.endpoint = self.endpoints[number] if answers else random.choice(values.ENDPOINTS)
        request.address = self.solver_address(number)
        request.signed_time = self.now + random.choice((0, 1, -1, 60, 299, 300, 301, random.randrange(3_600)))
        request.MergeFrom(_sign_registration(request, key))

    def _deregistration_again(self, random: Random, request: DeregisterSolverRequest) -> None:
        key = self._solver_key(random.randrange(SOLVER_KEYS))
        request.address = format_address(address_of(key))
        request.MergeFrom(_sign_deregistration(request, key))

    def _heartbeat_again(self, random: Random, request: HeartbeatRequest) -> None:
        number = random.randrange(SOLVER_KEYS)
        request.solver_id = self.solver_address(number)
        request.MergeFrom(_sign_heartbeat(request, self._solver_key(number)))

    def _solver_key(self, number: int) -> bytes:
        return bytes(keccak(f"fuzzed solver {self.seed} {number}".encode()))

    def _order(self, number: int, origin: ChainConfig, target: ChainConfig, symbol: str) -> Order:
        same_chain = origin.chain_id == target.chain_id
        oracle = target.output_settler if same_chain else target.oracle
        output = OrderOutput(
            oracle=to_bytes32(oracle),
            settler=to_bytes32(target.output_settler),
            chain_id=target.chain_id,
            token=to_bytes32(target.tokens[symbol].address),
            amount=OUTPUT_AMOUNTS[symbol],
            recipient=to_bytes32(RECIPIENT),
            callback_data=b"",
            context=b"",
        )
        return Order(
            user=USER.address,
            nonce=int.from_bytes(keccak(f"{self.seed} {self.now} {number}".encode())),
            origin_chain_id=origin.chain_id,
            expires=self.now + EXPIRY_SECONDS,
            fill_deadline=self.now + FILL_SECONDS,
            input_oracle=origin.output_settler if same_chain else origin.oracle,
            inputs=(OrderInput(origin.tokens["USDC"].address, INPUT_AMOUNT),),
            outputs=(output,),
        )

    def _context(self, number: int) -> bytes:
        """Of every kind that a valid order may have, mostly none."""
        later, end = self.now + FILL_SECONDS // 2, self.now + FILL_SECONDS
        match number % 12:
            case 0:
                return OrderContext(ContextKind.DUTCH, start=self.now, stop=end, slope=1).encode()
            case 1:
                return OrderContext(ContextKind.EXCLUSIVE_LIMIT, exclusive_solver=SOLVER, until=later).encode()
            case 2:
                return OrderContext(
                    ContextKind.EXCLUSIVE_DUTCH, exclusive_solver=SOLVER, start=later, until=later, stop=end, slope=1
                ).encode()
            case _:
                return b""

    def _erc3009(self, origin: ChainConfig, order: Order) -> bytes:
        signatures = []
        for item in order.inputs:
            token = origin.token(item.token)
            erc3009 = token.erc3009 if token else None
            name, version = (erc3009.name, erc3009.version) if erc3009 else ("", "")
            domain = TokenDomain(name, version, origin.chain_id, item.token)
            signatures.append(sign(erc3009_digest(domain, order, origin.input_settler, item.amount), USER.private_key))
        return encode_erc3009_signatures(signatures)

    def _sign_cancellation(self, request: CancelIntentRequest, chain: ChainConfig) -> CancelIntentRequest:
        digest = cancel_intent_digest(chain.chain_id, parse_intent_id(request.intent_id), request.valid_until)
        return CancelIntentRequest(
            intent_id=request.intent_id, valid_until=request.valid_until, signature=sign(digest, USER.private_key)
        )


def _sign_registration(request: RegisterSolverRequest, key: bytes) -> RegisterSolverRequest:
    digest = register_solver_digest(parse_address(request.address), request.endpoint, request.signed_time)
    made = RegisterSolverRequest()
    made.CopyFrom(request)
    made.signature = sign(digest, key)
    return made


def _sign_heartbeat(request: HeartbeatRequest, key: bytes) -> HeartbeatRequest:
    digest = heartbeat_digest(parse_address(request.solver_id), request.signed_time)
    made = HeartbeatRequest()
    made.CopyFrom(request)
    made.signature = sign(digest, key)
    return made


def _sign_deregistration(request: DeregisterSolverRequest, key: bytes) -> DeregisterSolverRequest:
    digest = deregister_solver_digest(parse_address(request.address), request.signed_time)
    made = DeregisterSolverRequest()
    made.CopyFrom(request)
    made.signature = sign(digest, key)
    return made
