"""One chain: heads, receipts, logs, calls and raw transactions, over whichever of its endpoints answers."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from intentmesh.chain import wire
from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.chain.endpoints import EndpointPool
from intentmesh.chain.errors import ChainUnavailable, EndpointError
from intentmesh.chain.records import BlockRef, BlockTag, Evidence, Fees, Log, Receipt, SeenTransaction, TransactionHash
from intentmesh.chain.reverts import revert_of
from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import Address, Bytes32, ChainId, format_address
from intentmesh.v1.error_pb2 import ErrorReason

# Where a node suggests no priority fee.
DEFAULT_PRIORITY_FEE_WEI = 1_000_000_000
# How providers word that a range of blocks or its result is too large; there is no code for it.
_TOO_MUCH = re.compile(r"range|limit|too (many|large|wide)|more than|exceed|max", re.IGNORECASE)

Read = TypeVar("Read")


class ChainClient:
    """Every method raises ChainUnavailable when no endpoint answers: then nothing is known."""

    def __init__(self, config: ChainConfig) -> None:
        self.config = config
        self._endpoints = EndpointPool(config.chain_id, config.rpc_urls, config.rpc_timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def chain_id(self) -> ChainId:
        return self.config.chain_id

    async def close(self) -> None:
        await self._endpoints.close()

    # --- blocks ---

    async def head(self) -> BlockRef:
        """The newest block."""
        block = await self.block("latest")
        if block is None:
            raise ChainUnavailable(self.chain_id, "no block yet")
        return block

    async def block(self, number: BlockTag) -> BlockRef | None:
        """The canonical block at this height, None while there is none."""
        found = await self._request("eth_getBlockByNumber", wire.block_tag(number), False)
        return None if found is None else self._read(wire.block, found)

    async def final_block(self) -> BlockRef | None:
        """The newest block that is as deep as `ChainConfig.final_depth`; None while the chain is too short."""
        head = await self.head()
        number = head.number - self.config.final_depth + 1
        return await self.block(number) if number >= 0 else None

    async def depth(self, evidence: Evidence | Receipt) -> int:
        """How deep its block is, 1 at the head; 0 when that block is not canonical (any more)."""
        head, block = await asyncio.gather(self.head(), self.block(evidence.block_number))
        if block is None or block.hash != evidence.block_hash:
            return 0
        # The two answers may come from endpoints that are a block apart.
        return max(head.number - evidence.block_number + 1, 1)

    # --- transactions and events ---

    async def receipt(self, transaction_hash: TransactionHash) -> Receipt | None:
        """The outcome; None while the transaction is not included."""
        found = await self._request("eth_getTransactionReceipt", wire.data(transaction_hash))
        return None if found is None else self._read(wire.receipt, found)

    async def transaction(self, transaction_hash: TransactionHash) -> SeenTransaction | None:
        """What the nodes know of it, included or pending; None when nothing."""
        found = await self._request("eth_getTransactionByHash", wire.data(transaction_hash))
        return None if found is None else self._read(wire.transaction, found)

    async def holder(self, sender: Address, nonce: int) -> SeenTransaction | None:
        """The included transaction with this nonce; None while there is none.

        Read from the block itself, so it is there as soon as the block is, whatever the node's indices know. Nodes need
        the state of the blocks back to it: raises EndpointError where they no longer have it.
        """
        since, step = (await self.head()).number, 1
        if await self.nonce(sender, since) <= nonce:
            return None
        # Most are in the newest blocks: back in growing steps, then between the last two.
        while (before := max(since - step, -1)) >= 0 and await self.nonce(sender, before) > nonce:
            since, step = before, 2 * step
        while since - before > 1:
            middle = (before + since) // 2
            if await self.nonce(sender, middle) > nonce:
                since = middle
            else:
                before = middle
        block = await self._request("eth_getBlockByNumber", wire.block_tag(since), True)
        included = [] if block is None else self._read(wire.transactions_of, block)
        return next((one for one in included if (one.sender, one.nonce) == (sender, nonce)), None)

    async def logs(
        self,
        address: Address,
        topics: Sequence[Bytes32 | None],
        from_block: int,
        to_block: int | None = None,
        *,
        suffice: Callable[[Sequence[Log]], bool] | None = None,
    ) -> list[Log]:
        """All canonical events of a contract, oldest first; `to_block` None is the head. None in `topics` fits any.

        The newest blocks are asked for first, and older ones no more once `suffice` says so of the events of a window.
        """
        end = (await self.head()).number if to_block is None else to_block
        window = self.config.log_window_blocks
        first = max(from_block, self.config.start_block)
        windows: list[list[Log]] = []
        while end >= first:
            start = max(end - window + 1, first)
            try:
                windows.append(await self._log_window(address, topics, start, end))
            except EndpointError as error:
                if window == 1 or not _TOO_MUCH.search(error.text):
                    raise
                window = max(window // 2, 1)
                continue
            if suffice is not None and suffice(windows[-1]):
                break
            end = start - 1
        return [log for found in reversed(windows) for log in found]

    async def send_raw(self, raw: bytes) -> TransactionHash:
        """Hands a signed transaction to the chain. Raises EndpointError with the node's own words when refused."""
        found = await self._request("eth_sendRawTransaction", wire.data(raw), first_error_counts=True)
        return TransactionHash(self._read(wire.read_data, found))

    # --- calls ---

    async def call(
        self, to: Address, data: bytes, block: BlockTag = "latest", *, sender: Address | None = None, value: int = 0
    ) -> bytes:
        """What the contract returns at that block. Raises Reverted."""
        message = _message(to, data, sender, value)
        found = await self._execute("eth_call", message, wire.block_tag(block))
        return self._read(wire.read_data, found)

    async def estimate_gas(self, sender: Address, to: Address, data: bytes, value: int = 0) -> int:
        """Gas that the transaction needs now. Raises Reverted."""
        found = await self._execute("eth_estimateGas", _message(to, data, sender, value))
        return self._read(wire.quantity, found)

    async def code(self, address: Address) -> bytes:
        """The contract's code; empty for other accounts."""
        return self._read(wire.read_data, await self._request("eth_getCode", format_address(address), "latest"))

    # --- accounts and fees ---

    async def nonce(self, address: Address, block: BlockTag = "latest") -> int:
        """Number of transactions of the account; "pending" counts those in the pool as well."""
        found = await self._request("eth_getTransactionCount", format_address(address), wire.block_tag(block))
        return self._read(wire.quantity, found)

    async def balance(self, address: Address, block: BlockTag = "latest") -> int:
        """Native currency, in wei."""
        found = await self._request("eth_getBalance", format_address(address), wire.block_tag(block))
        return self._read(wire.quantity, found)

    async def fees(self) -> Fees:
        """What the chain asks now."""
        block, tip = await asyncio.gather(
            self._request("eth_getBlockByNumber", "latest", False), self._priority_fee(), return_exceptions=False
        )
        return Fees(base_fee=self._read(wire.base_fee, block), priority_fee=tip)

    async def _priority_fee(self) -> int:
        try:
            return self._read(wire.quantity, await self._request("eth_maxPriorityFeePerGas"))
        except EndpointError:
            return DEFAULT_PRIORITY_FEE_WEI

    async def _log_window(
        self, address: Address, topics: Sequence[Bytes32 | None], from_block: int, to_block: int
    ) -> list[Log]:
        query = {
            "address": format_address(address),
            "topics": [None if topic is None else wire.data(topic) for topic in topics],
            "fromBlock": hex(from_block),
            "toBlock": hex(to_block),
        }
        return self._read(wire.logs, await self._request("eth_getLogs", query))

    async def _execute(self, method: str, *params: object) -> object:
        try:
            return await self._request(method, *params)
        except EndpointError as error:
            revert = revert_of(error)
            if revert is None:
                raise
            raise revert from None

    async def _request(self, method: str, *params: object, first_error_counts: bool = False) -> object:
        return await self._endpoints.request(method, *params, first_error_counts=first_error_counts)

    def _read(self, reader: Callable[[Any], Read], found: object) -> Read:
        try:
            return reader(found)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ChainUnavailable(self.chain_id, f"an answer cannot be read: {error!r}") from error


class ChainClients:
    """The clients of all served chains."""

    def __init__(self, network: NetworkConfig) -> None:
        self.network = network
        self._clients = {chain.chain_id: ChainClient(chain) for chain in network.chains}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def all(self) -> Mapping[ChainId, ChainClient]:
        return self._clients

    def of(self, chain_id: int) -> ChainClient:
        """Raises InvalidArgument UNSUPPORTED_CHAIN."""
        client = self._clients.get(ChainId(chain_id))
        if client is None:
            raise InvalidArgument(
                f"chain {chain_id} is not served",
                reason=ErrorReason.ERROR_REASON_UNSUPPORTED_CHAIN,
                metadata={"chain_id": str(chain_id)},
            )
        return client

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()


def _message(to: Address, data: bytes, sender: Address | None, value: int) -> dict[str, str]:
    message = {"to": format_address(to), "data": wire.data(data)}
    if sender is not None:
        message["from"] = format_address(sender)
    if value:
        message["value"] = hex(value)
    return message
