"""Which transactions the chains show for an intent, and what has changed about them. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from intentmesh.executor.evidence import Depth, Evidence, Sighting
from intentmesh.v1.intent_pb2 import ChainTransaction, TransactionKind, TransactionStatus

# (chain id, hash as text)
TransactionKey = tuple[int, str]
Known = Mapping[TransactionKey, ChainTransaction]

ON_CHAIN = frozenset({TransactionStatus.TRANSACTION_STATUS_INCLUDED, TransactionStatus.TRANSACTION_STATUS_CONFIRMED})


@dataclass(frozen=True, slots=True)
class Discovery:
    """A transaction that is new, or whose standing changed. Its gas is not read yet where it is new."""

    kind: TransactionKind.ValueType
    status: TransactionStatus.ValueType
    sighting: Sighting


def key_of(sighting: Sighting) -> TransactionKey:
    """How stored transactions are told apart."""
    return int(sighting.chain_id), "0x" + sighting.transaction_hash.hex()


def discover(evidence: Evidence, known: Known) -> tuple[list[Discovery], list[ChainTransaction]]:
    """What is to be stored: transactions to look up, and known ones with a new status.

    A known one that the chains no longer show was taken back by a reorganisation: it is pending again, for all we know.
    """
    shown = {key_of(sighting): (kind, sighting) for kind, sighting in _sightings(evidence)}
    fresh: list[Discovery] = []
    changed: list[ChainTransaction] = []
    for key, (kind, sighting) in shown.items():
        status = _status(sighting.depth)
        before = known.get(key)
        if before is None or before.block_number != sighting.block_number:
            fresh.append(Discovery(kind, status, sighting))
        elif before.status != status:
            changed.append(_with_status(before, status))
    for key, before in known.items():
        if key not in shown and before.status in ON_CHAIN and before.kind in _EVIDENT:
            changed.append(_with_status(before, TransactionStatus.TRANSACTION_STATUS_PENDING))
    return fresh, changed


# Kinds that evidence always shows while they are on chain.
_EVIDENT = frozenset(
    {
        TransactionKind.TRANSACTION_KIND_OPEN,
        TransactionKind.TRANSACTION_KIND_FILL,
        TransactionKind.TRANSACTION_KIND_FINALISE,
        TransactionKind.TRANSACTION_KIND_REFUND,
    }
)


def totals(transactions: Iterable[ChainTransaction]) -> tuple[int, int]:
    """Gas used, and its cost in wei, of what is on chain."""
    counted = [t for t in transactions if t.status in ON_CHAIN]
    return sum(t.gas_used for t in counted), sum(t.gas_used * int(t.effective_gas_price or "0") for t in counted)


def gas_by_chain(transactions: Iterable[ChainTransaction]) -> dict[int, int]:
    """Gas used on each chain."""
    found: dict[int, int] = {}
    for transaction in transactions:
        if transaction.status in ON_CHAIN:
            found[transaction.chain_id] = found.get(transaction.chain_id, 0) + transaction.gas_used
    return found


_DEEDS: Mapping[TransactionKind.ValueType, str] = {
    TransactionKind.TRANSACTION_KIND_OPEN: "The inputs went into escrow",
    TransactionKind.TRANSACTION_KIND_FILL: "An output was paid",
    TransactionKind.TRANSACTION_KIND_PROVE: "The payment was proven to the escrow",
    TransactionKind.TRANSACTION_KIND_FINALISE: "The escrow paid the solver",
    TransactionKind.TRANSACTION_KIND_REFUND: "The escrow paid the user back",
    TransactionKind.TRANSACTION_KIND_CANCEL: "The order was made void",
}


def describe(transaction: ChainTransaction) -> str:
    """What the transaction did, where and for how much gas, for a person."""
    deed = _DEEDS.get(transaction.kind, "A transaction was included")
    return (
        f"{deed} on chain {transaction.chain_id} in block {transaction.block_number} "
        f"by {transaction.hash[:10]}… ({transaction.gas_used:,} gas)."
    )


def _sightings(evidence: Evidence) -> Iterable[tuple[TransactionKind.ValueType, Sighting]]:
    # One transaction may do several things; the last kind named here wins.
    for proof in evidence.proven:
        yield TransactionKind.TRANSACTION_KIND_PROVE, proof
    if evidence.finalised is not None:
        yield TransactionKind.TRANSACTION_KIND_FINALISE, evidence.finalised
    if evidence.refunded is not None:
        yield TransactionKind.TRANSACTION_KIND_REFUND, evidence.refunded
    for fill in evidence.fills:
        yield TransactionKind.TRANSACTION_KIND_FILL, fill.sighting
    if evidence.opened is not None:
        yield TransactionKind.TRANSACTION_KIND_OPEN, evidence.opened


def _status(depth: Depth) -> TransactionStatus.ValueType:
    if depth is Depth.FINAL:
        return TransactionStatus.TRANSACTION_STATUS_CONFIRMED
    return TransactionStatus.TRANSACTION_STATUS_INCLUDED


def _with_status(transaction: ChainTransaction, status: TransactionStatus.ValueType) -> ChainTransaction:
    changed = ChainTransaction()
    changed.CopyFrom(transaction)
    changed.status = status
    return changed
