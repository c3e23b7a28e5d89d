"""Looks at the chain and signs what it sees; never signs two different things about one output."""

from dataclasses import dataclass

import structlog

from intentmesh.attester.journal import Entry, Journal, Statement
from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import ChainConfig, NetworkConfig, Route
from intentmesh.chain.output_settler import OutputSettler
from intentmesh.domain.digests import fill_attestation_digest
from intentmesh.domain.errors import FailedPrecondition, InvalidArgument
from intentmesh.domain.order import OrderOutput, fill_data_hash, fill_record_hash, output_hash
from intentmesh.domain.types import Address, Bytes32, ChainId, IntentId, format_address, format_intent_id, to_bytes32
from intentmesh.transactions.signers import Signer
from intentmesh.v1.error_pb2 import ErrorReason

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FillClaim:
    """What a caller says: this output of the order was filled by `solver` at `timestamp` (Unix seconds)."""

    intent_id: IntentId
    origin_chain_id: ChainId
    input_oracle: Address
    output: OrderOutput
    solver: Bytes32
    timestamp: int


class NotProven(FailedPrecondition):
    """The chain does not show it deep enough yet."""

    default_reason = ErrorReason.ERROR_REASON_NOT_PROVEN


class FillMismatch(FailedPrecondition):
    """The chain shows another fill."""

    default_reason = ErrorReason.ERROR_REASON_FILL_MISMATCH


class Attestor:
    """Signs with one key."""

    def __init__(self, network: NetworkConfig, clients: ChainClients, signer: Signer, journal: Journal) -> None:
        self._network = network
        self._clients = clients
        self._signer = signer
        self._journal = journal

    @property
    def address(self) -> Address:
        return self._signer.address

    async def attest(self, claim: FillClaim) -> Entry:
        """The signed statement; the same one, signature and all, for the same claim.

        Raises InvalidArgument for chains and contracts that are not configured, ConflictingAttestation, NotProven,
        FillMismatch and ChainUnavailable.
        """
        route = self._checked_route(claim)
        statement = _statement(claim)
        signed = await self._journal.find(statement)
        if signed is not None:
            return signed
        await self._check_chain(claim, statement, route.destination)
        entry = await self._journal.record(statement, self._signer.sign_digest(statement.digest))
        _log.info("fill_attested", intent_id=format_intent_id(claim.intent_id), solver=format_address(claim.solver))
        return entry

    def _checked_route(self, claim: FillClaim) -> Route:
        """Our own configuration decides between which contracts a statement may be made, never the caller."""
        route = self._network.route(claim.origin_chain_id, claim.output.chain_id)
        # Attesters speak through the attested oracles only, also on one chain, where an order may name the output
        # settler as its own oracle instead and needs nobody's word.
        if claim.input_oracle != route.origin.oracle:
            raise _unsupported_oracle("input", route.origin.oracle)
        if claim.output.oracle != to_bytes32(route.destination.oracle):
            raise _unsupported_oracle("output", route.destination.oracle)
        expected = route.destination.output_settler
        if claim.output.settler != to_bytes32(expected):
            raise InvalidArgument(
                "the output names another settler than this attester knows on that chain",
                reason=ErrorReason.ERROR_REASON_UNSUPPORTED_SETTLER,
                metadata={"chain_id": str(route.destination.chain_id), "expected": format_address(expected)},
            )
        return route

    async def _check_chain(self, claim: FillClaim, statement: Statement, chain: ChainConfig) -> None:
        """Reads the fill record from the contract's storage, at a block that no expected reorganisation undoes."""
        client = self._clients.of(chain.chain_id)
        head = await client.head()
        deep = head.number - chain.final_depth + 1
        if deep < 0:
            raise _not_proven(chain, "the chain is shorter than the confirmations that are needed")
        record = await OutputSettler(client).fill_record(claim.intent_id, statement.output_hash, deep)
        if record is None:
            raise _not_proven(chain, f"no fill is recorded {chain.final_depth} blocks deep")
        if record != fill_record_hash(claim.solver, claim.timestamp):
            raise FillMismatch("the chain records another solver or time for this output")


def _statement(claim: FillClaim) -> Statement:
    data_hash = fill_data_hash(claim.intent_id, claim.output, claim.solver, claim.timestamp)
    digest = fill_attestation_digest(
        claim.origin_chain_id,
        claim.input_oracle,
        claim.output.chain_id,
        claim.output.oracle,
        claim.output.settler,
        data_hash,
    )
    return Statement(
        intent_id=claim.intent_id,
        output_hash=output_hash(claim.output),
        digest=digest,
        remote_chain_id=claim.output.chain_id,
        remote_oracle=claim.output.oracle,
        application=claim.output.settler,
        data_hash=data_hash,
        solver=claim.solver,
        timestamp=claim.timestamp,
    )


def _not_proven(chain: ChainConfig, why: str) -> NotProven:
    return NotProven(why, metadata={"chain_id": str(chain.chain_id)}, retry_after=chain.block_time_seconds)


def _unsupported_oracle(side: str, expected: Address) -> InvalidArgument:
    return InvalidArgument(
        f"the {side} oracle is not the one this attester knows for the route",
        reason=ErrorReason.ERROR_REASON_UNSUPPORTED_ORACLE,
        metadata={"expected": format_address(expected)},
    )
