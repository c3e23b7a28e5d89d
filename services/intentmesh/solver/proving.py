"""Bringing the proof of the fills to the oracle that the escrow asks."""

from dataclasses import dataclass

from intentmesh.chain.oracle import AttestedOracle
from intentmesh.chain.output_settler import FillEvidence
from intentmesh.domain.order import Order, OrderOutput, fill_data_hash, output_hash
from intentmesh.domain.types import Bytes32, IntentId, format_intent_id
from intentmesh.solver.achieving import Achiever
from intentmesh.solver.appraisal import is_self_proving
from intentmesh.solver.attestations import AttestationSource
from intentmesh.solver.calls import Call
from intentmesh.solver.evidence import Progress
from intentmesh.solver.outcomes import NotYet
from intentmesh.solver.sides import Side
from intentmesh.solver.telling import Tell
from intentmesh.v1 import solver_service_pb2 as pb

CHANGED_RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Statement:
    """One output's fill, as the oracle is asked about it."""

    intent_id: IntentId
    index: int
    output: OrderOutput
    fill: FillEvidence

    @property
    def data_hash(self) -> Bytes32:
        return fill_data_hash(self.intent_id, self.output, self.fill.solver, self.fill.timestamp)

    @property
    def step(self) -> str:
        return f"{format_intent_id(self.intent_id)}:prove-{self.index}"


class Prover:
    """Proves fills on the origin chain, by the output settler itself or by attesters' signatures."""

    def __init__(self, achiever: Achiever, attestations: AttestationSource) -> None:
        self._achiever = achiever
        self._attestations = attestations

    async def run(self, intent_id: IntentId, order: Order, progress: Progress, origin: Side, tell: Tell) -> None:
        """Return when the escrow's oracle holds every output as proven. Raises TryFailed, NotYet, MeshError."""
        await tell(pb.EXECUTE_STAGE_PROVING, "proving the fills to the origin chain")
        for index, (output, fill) in enumerate(zip(order.outputs, progress.complete, strict=True)):
            statement = _Statement(intent_id, index, output, fill)
            oracle = AttestedOracle(origin.client, order.input_oracle)
            if is_self_proving(order, output):
                await self._attest(statement, oracle, origin)
            else:
                await self._submit(statement, oracle, origin)

    async def _attest(self, statement: _Statement, oracle: AttestedOracle, origin: Side) -> None:
        """One chain: the output settler is its own oracle and looks at its own records."""

        async def call() -> Call:
            settler = origin.output_settler
            data = settler.encode_set_attestation(
                statement.intent_id, statement.fill.solver, statement.fill.timestamp, statement.output
            )
            return Call(settler.address, data)

        await self._achiever.achieve(statement.step, origin, lambda: _proven(statement, oracle), call)

    async def _submit(self, statement: _Statement, oracle: AttestedOracle, origin: Side) -> None:
        """Two chains: the signatures come from the mesh and prove the fill whoever brings them."""

        async def call() -> Call:
            signatures = await self._signatures(statement)
            output = statement.output
            data = oracle.encode_submit(output.chain_id, output.oracle, output.settler, statement.data_hash, signatures)
            return Call(oracle.address, data)

        await self._achiever.achieve(statement.step, origin, lambda: _proven(statement, oracle), call)

    async def _signatures(self, statement: _Statement) -> list[bytes]:
        attested = await self._attestations.of(statement.intent_id)
        wanted = "0x" + statement.data_hash.hex()
        signatures = [
            attestation.signature
            for attestation in attested.get(output_hash(statement.output), ())
            if attestation.data_hash.lower() == wanted
        ]
        if not signatures:
            raise NotYet("what is attested is not the fill that the chain shows now", CHANGED_RETRY_SECONDS)
        return signatures


async def _proven(statement: _Statement, oracle: AttestedOracle) -> bool | None:
    output = statement.output
    proven = await oracle.is_proven(output.chain_id, output.oracle, output.settler, statement.data_hash)
    return True if proven else None
