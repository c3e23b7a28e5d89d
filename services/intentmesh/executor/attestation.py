"""Collects the signatures that prove fills to the origin chain.

Same-chain orders whose oracle is the output settler itself need none. Every attester is asked for itself; what comes
back is checked before it is kept, so a wrong answer costs nobody a failed transaction.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from intentmesh.chain.client import ChainClients
from intentmesh.chain.config import NetworkConfig
from intentmesh.chain.errors import ChainUnavailable, Reverted
from intentmesh.chain.oracle import AttestedOracle
from intentmesh.domain.convert import output_to_proto
from intentmesh.domain.digests import fill_attestation_digest
from intentmesh.domain.errors import MeshError
from intentmesh.domain.order import Order, fill_data_hash, output_hash
from intentmesh.domain.signatures import SIGNATURE_BYTES, recover
from intentmesh.domain.types import (
    Address,
    Bytes32,
    ChainId,
    IntentId,
    format_address,
    format_intent_id,
    parse_address,
    to_bytes32,
)
from intentmesh.executor.evidence import Fill
from intentmesh.executor.gateway import Attesters
from intentmesh.v1.attester_service_pb2 import AttestFillRequest, FillAttestation
from intentmesh.v1.error_pb2 import ErrorReason

log = structlog.get_logger(__name__)

# Of what an attester says of itself.
_MOST_SHOWN = 64

# By output hash, then by the attester's address text.
Collected = Mapping[Bytes32, Mapping[str, FillAttestation]]


def needs_attestation(order: Order) -> bool:
    """Whether the fills must be proven to the origin by attesters."""
    own_oracle = to_bytes32(order.input_oracle)
    return any(
        output.chain_id != order.origin_chain_id or output.settler != own_oracle or output.oracle != own_oracle
        for output in order.outputs
    )


def agreeing(attestations: Sequence[FillAttestation], threshold: int) -> list[FillAttestation]:
    """The largest set that states the same fill, by attester address; signatures over different data prove nothing
    together. At most `threshold` of them, since the oracle is paid for by gas."""
    by_statement: dict[str, list[FillAttestation]] = {}
    for attestation in attestations:
        by_statement.setdefault(attestation.data_hash, []).append(attestation)
    largest = max(by_statement.values(), key=len, default=[])
    return sorted(largest, key=lambda attestation: attestation.attester.lower())[:threshold]


def of_present(intent_id: IntentId, order: Order, fills: Sequence[Fill | None], collected: Collected) -> Collected:
    """Those of `collected` that state the fills as they are now.

    Kept are signatures by output and attester, whatever they state: a reorganisation may have taken a fill back, and
    another solver's may have come in its place.
    """
    present: dict[Bytes32, Mapping[str, FillAttestation]] = {}
    for fill in fills:
        if fill is not None:
            output = order.outputs[fill.output_index]
            stated = "0x" + fill_data_hash(intent_id, output, fill.solver, fill.time).hex()
            signed = collected.get(output_hash(output), {})
            present[output_hash(output)] = {name: one for name, one in signed.items() if one.data_hash == stated}
    return present


def enough(order: Order, collected: Collected, threshold: int) -> bool:
    """Whether every output has the threshold of signatures; `collected` are those of the present fills."""
    return all(
        len(agreeing(list(collected.get(output_hash(output), {}).values()), threshold)) >= threshold
        for output in order.outputs
    )


class Members(Protocol):
    """Whose signatures an oracle takes."""

    async def knows(self, chain_id: ChainId, oracle: Address, attester: Address) -> bool:
        """Raises ChainUnavailable."""
        ...


class OracleMembers:
    """As the oracle contracts say. Their sets never change, so what was learnt stays."""

    def __init__(self, clients: ChainClients) -> None:
        self._clients = clients
        self._known: set[tuple[ChainId, Address, Address]] = set()

    async def knows(self, chain_id: ChainId, oracle: Address, attester: Address) -> bool:
        """See `Members`. An oracle that has no such list is left to judge by itself."""
        key = (chain_id, oracle, attester)
        if key in self._known:
            return True
        try:
            if not await AttestedOracle(self._clients.of(chain_id), oracle).is_attester(attester):
                return False
        except Reverted:
            return True
        self._known.add(key)
        return True


class AttestationCollector:
    """Asks all configured attesters."""

    def __init__(self, attesters: Attesters, network: NetworkConfig, members: Members) -> None:
        self._attesters = attesters
        self._network = network
        self._members = members

    def threshold(self, order: Order) -> int:
        """Signatures that the oracle of the origin wants."""
        return self._network.chain(order.origin_chain_id).attestation_threshold

    async def collect(
        self, intent_id: IntentId, order: Order, fills: Sequence[Fill | None], have: Collected
    ) -> list[FillAttestation]:
        """Signatures that are new against `have`, as far as attesters give them now. Never raises for an attester."""
        have = of_present(intent_id, order, fills, have)
        wanted = [fill for fill in fills if fill is not None and self._lacks(order, fill, have)]
        asked = [self._ask(index, intent_id, order, fill) for fill in wanted for index in range(len(self._attesters))]
        found = [attestation for attestation in await asyncio.gather(*asked) if attestation is not None]
        return [
            attestation
            for attestation in found
            if attestation.attester not in have[Bytes32(bytes.fromhex(attestation.output_hash[2:]))]
        ]

    def _lacks(self, order: Order, fill: Fill, have: Collected) -> bool:
        return len(have[output_hash(order.outputs[fill.output_index])]) < self.threshold(order)

    async def _ask(self, index: int, intent_id: IntentId, order: Order, fill: Fill) -> FillAttestation | None:
        output = order.outputs[fill.output_index]
        request = AttestFillRequest(
            intent_id=format_intent_id(intent_id),
            origin_chain_id=order.origin_chain_id,
            input_oracle=format_address(order.input_oracle),
            output=output_to_proto(output),
            solver="0x" + fill.solver.hex(),
            timestamp=fill.time,
        )
        try:
            answer = await self._attesters.attest(index, request)
        except MeshError as error:
            if error.reason != ErrorReason.ERROR_REASON_NOT_PROVEN:
                log.warning("attester_did_not_sign", attester=index, reason=ErrorReason.Name(error.reason))
            return None
        attestation = checked(answer, intent_id, order, fill)
        if attestation is None:
            log.error("attester_answered_wrongly", attester=index, claimed=answer.attester[:_MOST_SHOWN])
            return None
        return attestation if await self._is_known(order, attestation) else None

    async def _is_known(self, order: Order, attestation: FillAttestation) -> bool:
        """One signature of a stranger makes the oracle refuse all that come with it."""
        try:
            known = await self._members.knows(
                order.origin_chain_id, order.input_oracle, parse_address(attestation.attester)
            )
        except ChainUnavailable:
            return False
        if not known:
            log.error("attester_unknown_to_oracle", claimed=attestation.attester)
        return known


def checked(answer: FillAttestation, intent_id: IntentId, order: Order, fill: Fill) -> FillAttestation | None:
    """The attestation, if the answer is the named attester's signature of exactly this fill.

    In our own words: nothing of the answer is kept but the attester, the signature and its time, since whatever else
    stands in it would be shown to solvers as it came. 65 bytes, which is all that the oracle takes.
    """
    output = order.outputs[fill.output_index]
    data_hash = fill_data_hash(intent_id, output, fill.solver, fill.time)
    digest = fill_attestation_digest(
        order.origin_chain_id, order.input_oracle, output.chain_id, output.oracle, output.settler, data_hash
    )
    if len(answer.signature) != SIGNATURE_BYTES:
        return None
    try:
        attester = parse_address(answer.attester)
        if recover(digest, answer.signature) != attester:
            return None
    except (MeshError, ValueError):
        return None
    return FillAttestation(
        intent_id=format_intent_id(intent_id),
        output_hash="0x" + output_hash(output).hex(),
        remote_chain_id=output.chain_id,
        remote_oracle=format_address(output.oracle),
        application=format_address(output.settler),
        data_hash="0x" + data_hash.hex(),
        attester=format_address(attester),
        signature=answer.signature,
        create_time=answer.create_time,
        solver="0x" + fill.solver.hex(),
        timestamp=fill.time,
    )
