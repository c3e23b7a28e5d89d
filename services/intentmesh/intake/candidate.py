"""A submission that is well formed: what the checks look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.domain.order import Order, order_id
from intentmesh.domain.signatures import Erc3009Signatures, Permit2Signature
from intentmesh.domain.types import ADDRESS_BYTES, WORD_BYTES, Address, Bytes32, ChainId, IntentId
from intentmesh.intake.findings import Finding
from intentmesh.v1.intent_pb2 import IntentType

_UPPER_BYTES = bytes(WORD_BYTES - ADDRESS_BYTES)

OrderSignature = Permit2Signature | Erc3009Signatures
# A token on its chain.
Funds = tuple[ChainId, Address]


# Not frozen, though nobody changes them: freezing triples what making one costs, and each order makes several.
@dataclass(slots=True)
class Candidate:
    """A signed order as submitted, its own structure checked and nothing else.

    `signature` is None where its bytes are no order signature; `intent_id` and `origin` are None where the origin chain
    is not served. Both are violations, and what depends on them is skipped. `form`: what is wrong beside the order.
    """

    order: Order
    declared_type: "IntentType.ValueType"
    raw_signature: bytes
    signature: OrderSignature | None
    signature_fault: str
    origin: ChainConfig | None
    destination: ChainConfig | None
    intent_id: IntentId | None
    form: Sequence[Finding] = ()

    def admissible(self) -> "Admissible | None":
        """Itself with everything known; None where that is not so."""
        if (
            self.form
            or self.signature is None
            or self.origin is None
            or self.destination is None
            or self.intent_id is None
        ):
            return None
        return Admissible(
            order=self.order,
            intent_type=self.declared_type,
            raw_signature=self.raw_signature,
            signature=self.signature,
            origin=self.origin,
            destination=self.destination,
            intent_id=self.intent_id,
            takes=_takes_of(self.order),
        )


@dataclass(slots=True)
class Admissible:
    """A candidate whose shape was found right, so that everything about it is known. `takes`: the sum of its inputs."""

    order: Order
    intent_type: "IntentType.ValueType"
    raw_signature: bytes
    signature: OrderSignature
    origin: ChainConfig
    destination: ChainConfig
    intent_id: IntentId
    takes: Mapping[Funds, int]

    @property
    def permit2_nonce(self) -> int | None:
        """The nonce this intent holds at Permit2; None for ERC-3009, whose nonce is the order id."""
        return self.order.nonce if isinstance(self.signature, Permit2Signature) else None


def find_origin(network: NetworkConfig, order: Order) -> ChainConfig | None:
    """The chain on which the order is escrowed, if it is served."""
    return network.find(order.origin_chain_id)


def find_destination(network: NetworkConfig, order: Order) -> ChainConfig | None:
    """The one chain of all outputs, if there is one and it is served."""
    if len(order.outputs) == 1:
        return network.find(order.outputs[0].chain_id)
    chain_ids: set[ChainId] = {output.chain_id for output in order.outputs}
    return network.find(chain_ids.pop()) if len(chain_ids) == 1 else None


def intent_id_of(order: Order, origin: ChainConfig | None) -> IntentId | None:
    """The order's id at the settler of its origin chain."""
    return None if origin is None else order_id(order, origin.input_settler)


def is_clean(word: Bytes32) -> bool:
    """Whether the word is an address."""
    return word.startswith(_UPPER_BYTES)


def _takes_of(order: Order) -> dict[Funds, int]:
    takes: dict[Funds, int] = {}
    for item in order.inputs:
        funds = (order.origin_chain_id, item.token)
        takes[funds] = takes.get(funds, 0) + item.amount
    return takes
