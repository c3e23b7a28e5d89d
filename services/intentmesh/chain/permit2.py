"""Permit2's unordered nonces: 256 of them share a word."""

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import load_abi
from intentmesh.chain.contract import Contract
from intentmesh.chain.records import BlockTag
from intentmesh.domain.types import Address

NONCES_PER_WORD = 256


class Permit2(Contract):
    """Permit2 of a chain. Reads raise ChainUnavailable."""

    def __init__(self, client: ChainClient, address: Address | None = None) -> None:
        super().__init__(client, address or client.config.permit2, load_abi("permit2"))

    async def nonce_used(self, user: Address, nonce: int, block: BlockTag = "latest") -> bool:
        """Whether the nonce was spent, by a transfer or by invalidation: no signature with it works any more."""
        word, bit = divmod(nonce, NONCES_PER_WORD)
        return bool(await self.nonce_bitmap(user, word, block) >> bit & 1)

    async def nonce_bitmap(self, user: Address, word: int, block: BlockTag = "latest") -> int:
        """Which of the nonces word · 256 … word · 256 + 255 are spent; bit 0 is the first of them."""
        (bitmap,) = await self._call("nonceBitmap", user, word, block=block)
        return int(bitmap)

    async def domain_separator(self) -> bytes:
        (separator,) = await self._call("DOMAIN_SEPARATOR")
        return bytes(separator)

    def encode_invalidate_nonce(self, nonce: int) -> bytes:
        """Spends a nonce of the sender, so that what they signed with it is void."""
        word, bit = divmod(nonce, NONCES_PER_WORD)
        return self._encode("invalidateUnorderedNonces", word, 1 << bit)
