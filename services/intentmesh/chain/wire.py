"""JSON-RPC values read into records, and written. Readers raise KeyError, TypeError or ValueError on anything odd."""

from typing import Any

from intentmesh.chain.records import BlockHash, BlockRef, BlockTag, Log, Receipt, SeenTransaction, TransactionHash
from intentmesh.domain.types import Address, Bytes32


def data(value: bytes) -> str:
    return "0x" + value.hex()


def block_tag(block: BlockTag) -> str:
    return hex(block) if isinstance(block, int) else block


def quantity(found: Any) -> int:
    return int(found, 16)


def read_data(found: Any) -> bytes:
    if not found.startswith("0x"):
        raise ValueError("hex without 0x")
    return bytes.fromhex(found[2:])


def block(found: Any) -> BlockRef:
    return BlockRef(quantity(found["number"]), BlockHash(read_data(found["hash"])), quantity(found["timestamp"]))


def base_fee(found: Any) -> int:
    """Zero on chains from before EIP-1559."""
    return quantity(found.get("baseFeePerGas") or "0x0")


def log(found: Any) -> Log:
    return Log(
        address=Address(read_data(found["address"])),
        topics=tuple(Bytes32(read_data(topic)) for topic in found["topics"]),
        data=read_data(found["data"]),
        block_number=quantity(found["blockNumber"]),
        block_hash=BlockHash(read_data(found["blockHash"])),
        transaction_hash=TransactionHash(read_data(found["transactionHash"])),
        index=quantity(found["logIndex"]),
    )


def logs(found: Any) -> list[Log]:
    """Without those that a reorganisation took back."""
    return [log(one) for one in found if not one.get("removed")]


def receipt(found: Any) -> Receipt:
    to = found.get("to")
    return Receipt(
        transaction_hash=TransactionHash(read_data(found["transactionHash"])),
        block_number=quantity(found["blockNumber"]),
        block_hash=BlockHash(read_data(found["blockHash"])),
        succeeded=quantity(found["status"]) == 1,
        gas_used=quantity(found["gasUsed"]),
        effective_gas_price=quantity(found.get("effectiveGasPrice") or "0x0"),
        sender=Address(read_data(found["from"])),
        to=None if to is None else Address(read_data(to)),
        logs=tuple(log(one) for one in found["logs"]),
    )


def transactions_of(found: Any) -> list[SeenTransaction]:
    """Of a block that was asked for with its transactions in full."""
    return [transaction(one) for one in found["transactions"]]


def transaction(found: Any) -> SeenTransaction:
    number = found.get("blockNumber")
    return SeenTransaction(
        transaction_hash=TransactionHash(read_data(found["hash"])),
        sender=Address(read_data(found["from"])),
        nonce=quantity(found["nonce"]),
        block_number=None if number is None else quantity(number),
    )
