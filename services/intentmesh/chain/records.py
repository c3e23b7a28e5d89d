"""What a chain tells, as values. Hashes are raw bytes; amounts are wei; times are Unix seconds."""

from dataclasses import dataclass
from typing import Literal, NewType

from intentmesh.domain.types import Address, Bytes32

TransactionHash = NewType("TransactionHash", bytes)
BlockHash = NewType("BlockHash", bytes)

# A height, or a name that nodes know.
BlockTag = int | Literal["latest", "pending", "safe", "finalized", "earliest"]


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block of the chain as it was seen."""

    number: int
    hash: BlockHash
    timestamp: int


@dataclass(frozen=True, slots=True)
class Log:
    """One event of a contract."""

    address: Address
    topics: tuple[Bytes32, ...]
    data: bytes
    block_number: int
    block_hash: BlockHash
    transaction_hash: TransactionHash
    index: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """The outcome of an included transaction. `to` is None when it created a contract."""

    transaction_hash: TransactionHash
    block_number: int
    block_hash: BlockHash
    succeeded: bool
    gas_used: int
    effective_gas_price: int
    sender: Address
    to: Address | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class SeenTransaction:
    """A transaction that a node knows, included or not (`block_number` None)."""

    transaction_hash: TransactionHash
    sender: Address
    nonce: int
    block_number: int | None


@dataclass(frozen=True, slots=True)
class Fees:
    """EIP-1559 fees per gas, in wei, as the chain suggests them now."""

    base_fee: int
    priority_fee: int

    @property
    def max_fee(self) -> int:
        """Enough for the base fee to double (six full blocks) before the transaction gets stuck."""
        return 2 * self.base_fee + self.priority_fee


@dataclass(frozen=True, slots=True)
class Evidence:
    """An event found on chain. It holds for the block it was found in: ask again whether that is still canonical."""

    transaction_hash: TransactionHash
    block_number: int
    block_hash: BlockHash
    log_index: int
