"""Layers 4 and 6, on chain: contract wallets' signatures, and whether the user can give what the order takes.

Bounded by a deadline of its own; answers are cached for a moment. A chain that does not answer is UNAVAILABLE: nothing
is known then, and nothing is stored.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from intentmesh.chain.client import ChainClient, ChainClients
from intentmesh.chain.errors import ChainUnavailable, Reverted
from intentmesh.chain.permit2 import Permit2
from intentmesh.chain.tokens import Token
from intentmesh.domain.order import abi_bytes, word
from intentmesh.domain.types import Address, ChainId, format_address
from intentmesh.intake.candidate import Admissible
from intentmesh.intake.checks.security import signatures_of, signed_digests
from intentmesh.intake.findings import Finding
from intentmesh.intake.ttl_cache import TtlCache
from intentmesh.v1.error_pb2 import ErrorReason

# isValidSignature(bytes32,bytes): selector, and the answer of a wallet that agrees.
_ERC1271_MAGIC = bytes.fromhex("1626ba7e")
_CACHE_ENTRIES = 50_000

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ChainCheckSettings:
    """Durations in seconds."""

    timeout: float = 2.0
    # Balances and allowances.
    funds_cache: float = 1.0
    # Whether an account has code: changes once in its life, if ever.
    code_cache: float = 60.0


class ChainChecks:
    """Every method raises ChainUnavailable when the chain does not answer in time."""

    def __init__(self, clients: ChainClients, settings: ChainCheckSettings) -> None:
        self._clients = clients
        self._timeout = settings.timeout
        self._funds: TtlCache[tuple[ChainId, str, Address, Address], int] = TtlCache(
            settings.funds_cache, _CACHE_ENTRIES
        )
        self._contracts: TtlCache[tuple[ChainId, Address], bool] = TtlCache(settings.code_cache, _CACHE_ENTRIES)

    async def is_contract(self, chain_id: ChainId, account: Address) -> bool:
        """Whether the account has code; then it, not its key, decides what is its signature."""
        client = self._clients.of(chain_id)
        return await self._bounded(client, lambda: self._is_contract(client, account))

    async def wallet_agrees(self, chain_id: ChainId, account: Address, digest: bytes, signature: bytes) -> bool:
        """Whether the contract wallet says (ERC-1271) that this is its signature."""
        client = self._clients.of(chain_id)
        data = _ERC1271_MAGIC + digest + word(64) + abi_bytes(signature)

        async def ask() -> bool:
            try:
                return (await client.call(account, data))[:4] == _ERC1271_MAGIC
            except Reverted:
                return False

        return await self._bounded(client, ask)

    async def check_wallet_signature(self, admissible: Admissible) -> list[Finding]:
        """INVALID_EIP1271_SIGNATURE where the user's contract does not agree with what is said to be its signature."""
        chain_id, user = admissible.origin.chain_id, admissible.order.user
        digests, signatures = signed_digests(admissible), signatures_of(admissible)
        if len(digests) == len(signatures):
            agreed = await asyncio.gather(
                *(
                    self.wallet_agrees(chain_id, user, digest, signature)
                    for digest, signature in zip(digests, signatures, strict=True)
                )
            )
            if all(agreed):
                return []
        return [
            Finding(
                "signature",
                ErrorReason.ERROR_REASON_INVALID_EIP1271_SIGNATURE,
                f"The contract wallet {format_address(user)} does not confirm the signature.",
            )
        ]

    async def check_funds(self, admissible: Admissible) -> list[Finding]:
        """INSUFFICIENT_BALANCE, INSUFFICIENT_ALLOWANCE, NONCE_USED, INVALID_EIP1271_SIGNATURE."""
        client = self._clients.of(admissible.origin.chain_id)
        needed: dict[Address, int] = defaultdict(int)
        for item in admissible.order.inputs:
            needed[item.token] += item.amount
        return await self._bounded(client, lambda: self._check_funds(client, admissible, needed))

    async def _check_funds(
        self, client: ChainClient, admissible: Admissible, needed: dict[Address, int]
    ) -> list[Finding]:
        questions = [self._has_balance(client, admissible, token, amount) for token, amount in needed.items()]
        if admissible.permit2_nonce is None:
            questions += [self._authorisation_is_unused(client, admissible, token) for token in needed]
        else:
            questions += [self._has_allowance(client, admissible, token, amount) for token, amount in needed.items()]
            questions.append(self._nonce_is_unused(client, admissible, admissible.permit2_nonce))
        questions.append(self._wallet_still_signs(client, admissible))
        answers = await asyncio.gather(*questions)
        return [finding for answer in answers for finding in answer]

    async def _has_balance(
        self, client: ChainClient, admissible: Admissible, token: Address, needed: int
    ) -> list[Finding]:
        user = admissible.order.user
        balance = await self._funds.get(
            (client.chain_id, "balance", token, user), lambda: Token(client, token).balance_of(user)
        )
        if balance >= needed:
            return []
        return [
            Finding(
                _field(admissible, token),
                ErrorReason.ERROR_REASON_INSUFFICIENT_BALANCE,
                f"The user holds {balance} of token {format_address(token)}; the order needs {needed}.",
                {"token": format_address(token), "balance": str(balance), "needed": str(needed)},
            )
        ]

    async def _has_allowance(
        self, client: ChainClient, admissible: Admissible, token: Address, needed: int
    ) -> list[Finding]:
        user, permit2 = admissible.order.user, admissible.origin.permit2
        allowance = await self._funds.get(
            (client.chain_id, "allowance", token, user), lambda: Token(client, token).allowance(user, permit2)
        )
        if allowance >= needed:
            return []
        return [
            Finding(
                _field(admissible, token),
                ErrorReason.ERROR_REASON_INSUFFICIENT_ALLOWANCE,
                f"The user allows Permit2 {allowance} of token {format_address(token)}; the order needs {needed}.",
                {"token": format_address(token), "allowance": str(allowance), "needed": str(needed)},
            )
        ]

    async def _nonce_is_unused(self, client: ChainClient, admissible: Admissible, nonce: int) -> list[Finding]:
        if not await Permit2(client, admissible.origin.permit2).nonce_used(admissible.order.user, nonce):
            return []
        return [_nonce_used("order.nonce", "The Permit2 nonce is used on chain already.")]

    async def _authorisation_is_unused(
        self, client: ChainClient, admissible: Admissible, token: Address
    ) -> list[Finding]:
        if not await Token(client, token).authorization_used(admissible.order.user, admissible.intent_id):
            return []
        return [_nonce_used(_field(admissible, token), "The token's authorisation is used or cancelled already.")]

    async def _wallet_still_signs(self, client: ChainClient, admissible: Admissible) -> list[Finding]:
        # An account with code is asked by Permit2 and by tokens even if its key has signed (EIP-7702).
        if not await self._is_contract(client, admissible.order.user):
            return []
        return await self.check_wallet_signature(admissible)

    async def _is_contract(self, client: ChainClient, account: Address) -> bool:
        async def load() -> bool:
            return bool(await client.code(account))

        return await self._contracts.get((client.chain_id, account), load)

    async def _bounded(self, client: ChainClient, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await ask()
        except TimeoutError:
            raise ChainUnavailable(client.chain_id, f"no answer within {self._timeout:g} s") from None


def _field(admissible: Admissible, token: Address) -> str:
    index = next(index for index, item in enumerate(admissible.order.inputs) if item.token == token)
    return f"order.inputs[{index}]"


def _nonce_used(field: str, message: str) -> Finding:
    return Finding(field, ErrorReason.ERROR_REASON_NONCE_USED, message)
