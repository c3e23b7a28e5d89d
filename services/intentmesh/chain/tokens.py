"""ERC-20 tokens, with ERC-3009 where they have it."""

from intentmesh.chain.client import ChainClient
from intentmesh.chain.codec import load_abi
from intentmesh.chain.contract import Contract
from intentmesh.chain.records import BlockTag
from intentmesh.domain.digests import TokenDomain
from intentmesh.domain.types import Address, ChainId


class Token(Contract):
    """One token. Reads raise ChainUnavailable, and Reverted where the token lacks the function."""

    def __init__(self, client: ChainClient, address: Address) -> None:
        super().__init__(client, address, load_abi("token"))

    async def balance_of(self, owner: Address, block: BlockTag = "latest") -> int:
        (balance,) = await self._call("balanceOf", owner, block=block)
        return int(balance)

    async def allowance(self, owner: Address, spender: Address) -> int:
        (allowance,) = await self._call("allowance", owner, spender)
        return int(allowance)

    async def domain(self) -> TokenDomain:
        """The EIP-712 domain of its authorisations: as configured, else as the token tells (ERC-5267)."""
        configured = self.client.config.token(self.address)
        if configured is not None and configured.erc3009 is not None:
            return TokenDomain(configured.erc3009.name, configured.erc3009.version, self.client.chain_id, self.address)
        _, name, version, chain_id, contract, _, _ = await self._call("eip712Domain")
        return TokenDomain(name, version, ChainId(chain_id), Address(bytes.fromhex(contract[2:])))

    async def authorization_used(self, authorizer: Address, nonce: bytes, block: BlockTag = "latest") -> bool:
        """Whether the ERC-3009 authorisation of this nonce was used or cancelled, as of `block`."""
        (used,) = await self._call("authorizationState", authorizer, nonce, block=block)
        return bool(used)

    def encode_approve(self, spender: Address, amount: int) -> bytes:
        return self._encode("approve", spender, amount)

    def encode_transfer(self, to: Address, amount: int) -> bytes:
        return self._encode("transfer", to, amount)

    def encode_cancel_authorization(self, authorizer: Address, nonce: bytes, signature: bytes) -> bytes:
        """Makes an unused ERC-3009 authorisation void, by its authorizer's signature."""
        return self._encode("cancelAuthorization", authorizer, nonce, signature)

    def encode_mint(self, to: Address, amount: int) -> bytes:
        """For the tokens of local chains only: anyone may mint them."""
        return self._encode("mint", to, amount)
