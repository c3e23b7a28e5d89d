"""What is asked of the sender, what comes back, and what the ledger holds."""

from dataclasses import dataclass
from enum import Enum, StrEnum

from intentmesh.chain.records import Receipt, TransactionHash
from intentmesh.domain.errors import FailedPrecondition, ResourceExhausted, Unavailable
from intentmesh.domain.types import Address
from intentmesh.v1.error_pb2 import ErrorReason


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """One transaction that shall be included at most once, however often it is asked for under the same key."""

    # Names the purpose, unique for the signer on its chain: "0x…:open".
    key: str
    to: Address
    data: bytes
    # Wei.
    value: int = 0
    # Unix seconds. Afterwards nothing is sent, and what is still pending is cancelled.
    deadline: float | None = None

    def names_another_than(self, other: "TransactionRequest") -> bool:
        """Whether the two are not the same transaction; deadlines may differ."""
        return (self.to, self.data, self.value) != (other.to, other.data, other.value)


class ResultStatus(Enum):
    """How a request ended."""

    # Included and successful. Final for the key.
    CONFIRMED = "confirmed"
    # Included and reverted. Final for the key: who wants another try takes another key.
    REVERTED = "reverted"
    # Not sent: the contract, or the chain, would refuse it now. The same key may be tried again.
    REJECTED = "rejected"
    # The deadline passed, and it is certain that it was not and will not be included. The same key may be tried again.
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """The outcome. `hash` and `receipt` are those of the included transaction, None when none was."""

    hash: TransactionHash | None
    status: ResultStatus
    receipt: Receipt | None = None
    # The contract's error by name; "" when it gave none; None when it did not revert.
    revert: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.status is ResultStatus.CONFIRMED


class AttemptState(StrEnum):
    """Where one signed transaction stands. The last four are final."""

    # Written, never given to a node.
    PLANNED = "PLANNED"
    # Written before it was given to a node; from here on it may be anywhere.
    BROADCAST = "BROADCAST"
    # Given to a node, with an unknown outcome.
    INDETERMINATE = "INDETERMINATE"
    CONFIRMED = "CONFIRMED"
    REVERTED = "REVERTED"
    # No pool took it; its nonce is free.
    REJECTED = "REJECTED"
    # Its nonce went to another attempt.
    REPLACED = "REPLACED"


class Purpose(StrEnum):
    CALL = "CALL"
    CANCEL = "CANCEL"


@dataclass(frozen=True, slots=True)
class Price:
    """Fees per gas, in wei."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction of the ledger."""

    id: int
    key: str
    nonce: int
    purpose: Purpose
    state: AttemptState
    hash: TransactionHash
    raw: bytes
    gas_limit: int
    price: Price


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """How a sender behaves. Times in seconds, fees in wei per gas."""

    # Depth that an inclusion needs before it is told; 1 is the head.
    confirmations: int = 1
    poll_seconds: float = 0.25
    # How long a transaction may be pending before it is replaced by one with higher fees.
    replace_after_seconds: float = 30.0
    # Nodes want 10 % more for a replacement; some round up.
    replacement_factor: float = 1.13
    max_fee_cap: int = 500 * 10**9
    # What a transfer to oneself may pay for the nonce of a call that is too late: it is the cheapest of transactions,
    # and until it is included nothing else of the signer is.
    max_cancel_fee_cap: int = 2_000 * 10**9
    # Room for what changes between the simulation and the inclusion.
    gas_margin: float = 1.25
    gas_cap: int = 5_000_000
    # How often a rejected transaction is priced and sent anew before that is told.
    max_rejections: int = 3
    # How long to wait before the balance of a signer without funds, or a lease of somebody else, is looked at again.
    recheck_seconds: float = 1.0
    # How long a call waits for a lease of somebody else: a process that was killed has lost its own by then.
    lease_wait_seconds: float = 5.0


class SignerOutOfFunds(Unavailable):
    """The signer cannot pay for gas, and the deadline passed while it was waited for. Nothing was sent."""

    default_reason = ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE


class SignerBusy(Unavailable):
    """Another process sends for this signer, maybe just this, and did not let go of it in time. Call again: with the
    same key it is included at most once."""

    default_reason = ErrorReason.ERROR_REASON_SERVICE_UNAVAILABLE


class KeyReused(FailedPrecondition):
    """The idempotency key was used for another transaction: a bug of the caller."""

    default_reason = ErrorReason.ERROR_REASON_REQUEST_ID_REUSED


class GasCapExceeded(ResourceExhausted):
    """The transaction needs more gas than the sender may spend on one. Nothing was sent."""

    default_reason = ErrorReason.ERROR_REASON_TOO_LARGE
