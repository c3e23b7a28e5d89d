"""The escrow on the origin chain: opening, paying out, refunding, and the evidence of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import load_abi
from intentmesh.chain.contract import Contract, evidence_of
from intentmesh.chain.records import BlockTag, Evidence
from intentmesh.chain.structs import SolveParams, order_struct
from intentmesh.domain.order import Order
from intentmesh.domain.types import Address, Bytes32, IntentId


class OrderStatus(IntEnum):
    """Where an order stands in the escrow. CLAIMED and REFUNDED are final."""

    NONE = 0
    DEPOSITED = 1
    CLAIMED = 2
    REFUNDED = 3


@dataclass(frozen=True, slots=True)
class FinalisedEvidence(Evidence):
    """The inputs were paid to `destination` for `solver`."""

    solver: Bytes32
    destination: Bytes32


class InputSettler(Contract):
    """The input settler of a chain. Reads raise ChainUnavailable.

    Each event of an order happens once at most, so it is looked for from the newest block back.
    """

    def __init__(self, client: ChainClient, address: Address | None = None) -> None:
        super().__init__(client, address or client.config.input_settler, load_abi("input_settler"))

    async def order_status(self, order_id: IntentId, block: BlockTag = "latest") -> OrderStatus:
        (status,) = await self._call("orderStatus", order_id, block=block)
        return OrderStatus(status)

    async def order_identifier(self, order: Order) -> IntentId:
        """The order's id as the contract itself computes it."""
        (identifier,) = await self._call("orderIdentifier", order_struct(order))
        return IntentId(identifier)

    async def find_open(self, order_id: IntentId, from_block: int, to_block: int | None = None) -> Evidence | None:
        """The event that put the inputs into escrow."""
        logs = await self._events("Open", order_id, from_block, to_block, suffice=bool)
        return evidence_of(logs[0]) if logs else None

    async def find_finalised(
        self, order_id: IntentId, from_block: int, to_block: int | None = None
    ) -> FinalisedEvidence | None:
        """The event that paid the solver."""
        logs = await self._events("Finalised", order_id, from_block, to_block, suffice=bool)
        if not logs:
            return None
        log = logs[0]
        solver, destination = self._decode("Finalised", log)
        return FinalisedEvidence(
            log.transaction_hash, log.block_number, log.block_hash, log.index, Bytes32(solver), Bytes32(destination)
        )

    async def find_refunded(self, order_id: IntentId, from_block: int, to_block: int | None = None) -> Evidence | None:
        """The event that gave the inputs back to the user."""
        logs = await self._events("Refunded", order_id, from_block, to_block, suffice=bool)
        return evidence_of(logs[0]) if logs else None

    def encode_open(self, order: Order) -> bytes:
        """Escrows the inputs from the sender, who has approved the settler."""
        return self._encode("open", order_struct(order))

    def encode_open_for(self, order: Order, sponsor: Address, signature: bytes) -> bytes:
        """Escrows the inputs from `sponsor`; the first byte of the signature tells its kind."""
        return self._encode("openFor", order_struct(order), sponsor, signature)

    def encode_finalise(
        self, order: Order, params: Sequence[SolveParams], destination: Bytes32, call: bytes = b""
    ) -> bytes:
        """Pays the inputs to `destination`; one entry of `params` per output. The sender is the first solver."""
        return self._encode("finalise", order_struct(order), list(params), destination, call)

    def encode_refund(self, order: Order) -> bytes:
        """Gives the inputs back to the user after `expires`."""
        return self._encode("refund", order_struct(order))
