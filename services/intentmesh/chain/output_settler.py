"""Payments on the destination chain: filling, fill records, and the evidence of fills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import load_abi
from intentmesh.chain.contract import Contract
from intentmesh.chain.records import BlockTag, Evidence, Log
from intentmesh.chain.structs import output_struct, output_structs, read_output
from intentmesh.domain.order import OrderOutput, fill_record_hash, output_hash
from intentmesh.domain.types import Address, Bytes32, IntentId

ZERO_WORD = Bytes32(bytes(32))


@dataclass(frozen=True, slots=True)
class FillEvidence(Evidence):
    """An output was paid: by whom, when (Unix seconds), and how much was really paid."""

    output: OrderOutput
    output_hash: Bytes32
    solver: Bytes32
    timestamp: int
    final_amount: int


class OutputSettler(Contract):
    """The output settler of a chain. Reads raise ChainUnavailable."""

    def __init__(self, client: ChainClient, address: Address | None = None) -> None:
        super().__init__(client, address or client.config.output_settler, load_abi("output_settler"))

    async def fill_record(self, order_id: IntentId, output_hash: Bytes32, block: BlockTag = "latest") -> Bytes32 | None:
        """keccak256(solver, uint32 timestamp) of the fill that stood at `block`; None when there was none."""
        (record,) = await self._call("getFillRecord", order_id, output_hash, block=block)
        return None if record == ZERO_WORD else Bytes32(record)

    async def is_proven(
        self, remote_chain_id: int, remote_oracle: Bytes32, application: Bytes32, data_hash: Bytes32
    ) -> bool:
        """Whether the settler, as its own oracle, vouches for a fill on its own chain."""
        (proven,) = await self._call("isProven", remote_chain_id, remote_oracle, application, data_hash)
        return bool(proven)

    async def find_fills(self, order_id: IntentId, from_block: int, to_block: int | None = None) -> list[FillEvidence]:
        """All fills under this order id, oldest first. Anyone may fill anything under any id and any deadline, so the
        reader compares `output_hash` and `timestamp` with the order."""
        return [self._fill(log) for log in await self._events("OutputFilled", order_id, from_block, to_block)]

    async def find_recorded(
        self, order_id: IntentId, records: Mapping[Bytes32, Bytes32], from_block: int, to_block: int
    ) -> dict[Bytes32, FillEvidence]:
        """Of the fill records of some outputs, by output hash: the fills that made them, as far as they are there.

        Looked for from the newest block back, since each was made once.
        """
        found: dict[Bytes32, FillEvidence] = {}

        def suffice(logs: Sequence[Log]) -> bool:
            for fill in map(self._fill, logs):
                if records.get(fill.output_hash) == fill_record_hash(fill.solver, fill.timestamp):
                    found[fill.output_hash] = fill
            return len(found) == len(records)

        await self._events("OutputFilled", order_id, from_block, to_block, suffice)
        return found

    def encode_fill(
        self,
        order_id: IntentId,
        output: OrderOutput,
        fill_deadline: int,
        solver: Bytes32,
        offered_amount: int | None = None,
    ) -> bytes:
        """Pays one output from the sender: the least amount, or the offered one.

        Raises ValueError for an offer where the settler takes none (`output_settler_accepts_surplus`).
        """
        filler_data = self._filler_data(solver, () if offered_amount is None else (offered_amount,))
        return self._encode("fill", order_id, output_struct(output), fill_deadline, filler_data)

    def encode_fill_outputs(
        self,
        order_id: IntentId,
        outputs: Sequence[OrderOutput],
        fill_deadline: int,
        solver: Bytes32,
        offered_amounts: Sequence[int] | None = None,
    ) -> bytes:
        """Pays all outputs of the order on this chain; reverts AlreadyFilled when the first is another's.

        Raises ValueError as `encode_fill`, or when the amounts are not one per output.
        """
        if offered_amounts is not None and len(offered_amounts) != len(outputs):
            raise ValueError(f"{len(offered_amounts)} amounts for {len(outputs)} outputs")
        filler_data = self._filler_data(solver, offered_amounts or ())
        return self._encode("fillOrderOutputs", order_id, output_structs(outputs), fill_deadline, filler_data)

    def encode_set_attestation(self, order_id: IntentId, solver: Bytes32, timestamp: int, output: OrderOutput) -> bytes:
        """Makes a fill provable on its own chain."""
        return self._encode("setAttestation", order_id, solver, timestamp, output_struct(output))

    def _filler_data(self, solver: Bytes32, amounts: Sequence[int]) -> bytes:
        if amounts and not self.client.config.output_settler_accepts_surplus:
            raise ValueError("this output settler pays the least amount only")
        return solver + b"".join(amount.to_bytes(32, "big") for amount in amounts)

    def _fill(self, log: Log) -> FillEvidence:
        solver, timestamp, struct, final_amount = self._decode("OutputFilled", log)
        output = read_output(struct)
        return FillEvidence(
            log.transaction_hash,
            log.block_number,
            log.block_hash,
            log.index,
            output=output,
            output_hash=output_hash(output),
            solver=Bytes32(solver),
            timestamp=timestamp,
            final_amount=final_amount,
        )
