"""What all bindings share: one contract, its interface, and the client that reaches it."""

from collections.abc import Callable, Sequence
from typing import Any

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import Abi, MalformedData
from intentmesh.chain.errors import ChainUnavailable
from intentmesh.chain.records import BlockTag, Evidence, Log
from intentmesh.domain.types import Address, Bytes32


class Contract:
    """One contract at one address of one chain."""

    def __init__(self, client: ChainClient, address: Address, abi: Abi) -> None:
        self.client = client
        self.address = address
        self._abi = abi

    def _encode(self, function: str, *arguments: object) -> bytes:
        return self._abi.function(function).encode(*arguments)

    async def _call(self, function: str, *arguments: object, block: BlockTag = "latest") -> tuple[Any, ...]:
        """What a view function returns. Raises Reverted, and ChainUnavailable when the answer makes no sense."""
        returned = await self.client.call(self.address, self._encode(function, *arguments), block)
        try:
            return self._abi.function(function).decode(returned)
        except MalformedData as error:
            raise ChainUnavailable(self.client.chain_id, f"the contract answered oddly: {error}") from error

    async def _events(
        self,
        event: str,
        key: bytes,
        from_block: int,
        to_block: int | None = None,
        suffice: Callable[[Sequence[Log]], bool] | None = None,
    ) -> list[Log]:
        """All events of a kind whose first indexed argument is `key`, oldest first; `suffice` as `ChainClient.logs`."""
        topics = (self._abi.event(event).topic, Bytes32(key))
        return await self.client.logs(self.address, topics, from_block, to_block, suffice=suffice)

    def _decode(self, event: str, log: Log) -> tuple[Any, ...]:
        try:
            return self._abi.event(event).decode(log.data)
        except MalformedData as error:
            raise ChainUnavailable(self.client.chain_id, f"an event cannot be read: {error}") from error


def evidence_of(log: Log) -> Evidence:
    return Evidence(log.transaction_hash, log.block_number, log.block_hash, log.index)
