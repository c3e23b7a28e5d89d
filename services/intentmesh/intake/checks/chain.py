"""Layers 4 and 6, on chain: contract wallets' signatures, and whether the user can give what the order takes.

Bounded by a deadline of its own; answers are cached for a moment. A chain that does not answer is UNAVAILABLE: nothing
is known then, and nothing is stored.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from intentmesh.chain.client import ChainClient, ChainClients
from intentmesh.chain.errors import ChainUnavailable, EndpointError, Reverted
from intentmesh.chain.input_settler import InputSettler, OrderStatus
from intentmesh.chain.permit2 import NONCES_PER_WORD, Permit2
from intentmesh.chain.reverts import tells_of_a_halt
from intentmesh.chain.tokens import Token
from intentmesh.domain.order import abi_bytes, word
from intentmesh.domain.types import Address, ChainId, IntentId, format_address
from intentmesh.intake.candidate import Admissible, Funds
from intentmesh.intake.checks.security import check_signature, signatures_of, signed_digests
from intentmesh.intake.findings import Finding
from intentmesh.intake.metrics import CACHE_READS
from intentmesh.intake.open_orders import FRESH_SECONDS, UserOrders
from intentmesh.intake.ttl_cache import TtlCache
from intentmesh.v1.error_pb2 import ErrorReason

# isValidSignature(bytes32,bytes): selector, and the answer of a wallet that agrees.
_ERC1271_MAGIC = bytes.fromhex("1626ba7e")
_CACHE_ENTRIES = 100_000
WALLETS_AT_A_TIME = 16
"""Of a chain's requests in flight: a contract computes for as long as it likes, and others have questions as well."""
_HITS = CACHE_READS.labels("all", "hit")

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ChainCheckSettings:
    """Durations in seconds."""

    timeout: float = 2.0
    # Balances, allowances and spent Permit2 nonces. A refusal is never told from the cache, and what changes after the
    # check is looked at again before an award.
    funds_cache: float = 10.0
    # Whether an account has code, which seldom changes. No refusal is told from this either: a wallet may have been
    # deployed a moment ago.
    code_cache: float = 60.0


class ChainChecks:
    """Every method raises ChainUnavailable when the chain does not answer in time."""

    def __init__(self, clients: ChainClients, settings: ChainCheckSettings) -> None:
        self._clients = clients
        self._timeout = settings.timeout
        self._funds: TtlCache[tuple[ChainId, str, Address, Address], int] = TtlCache(
            settings.funds_cache, _CACHE_ENTRIES
        )
        self._bitmaps: TtlCache[tuple[ChainId, Address, int], int] = TtlCache(settings.funds_cache, _CACHE_ENTRIES)
        self._contracts: TtlCache[tuple[ChainId, Address], bool] = TtlCache(settings.code_cache, _CACHE_ENTRIES)
        self._wallet_turns: defaultdict[ChainId, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(WALLETS_AT_A_TIME)
        )

    async def is_contract(self, chain_id: ChainId, account: Address) -> bool:
        """Whether the account has code; then it, not its key, decides what is its signature.

        Only a yes comes from memory, and the wallet is asked next: who asks this refuses on a no. That costs a question
        for each account without code in FRESH_SECONDS, however many signatures are brought for it.
        """
        if self._contracts.peek((chain_id, account)):
            return True
        client = self._clients.of(chain_id)
        return await self._bounded(client, lambda: self._is_contract(client, account, max_age=FRESH_SECONDS))

    async def wallet_agrees(self, chain_id: ChainId, account: Address, digest: bytes, signature: bytes) -> bool:
        """Whether the contract wallet says (ERC-1271) that this is its signature."""
        client = self._clients.of(chain_id)
        data = _ERC1271_MAGIC + digest + word(64) + abi_bytes(signature)

        async def ask() -> bool:
            async with self._wallet_turns[chain_id]:
                try:
                    return (await client.call(account, data))[:4] == _ERC1271_MAGIC
                except Reverted:
                    return False
                except EndpointError as error:
                    if tells_of_a_halt(error):
                        return False
                    raise

        return await self._bounded(client, ask)

    async def is_opened(self, chain_id: ChainId, settler: Address, order_id: IntentId) -> bool:
        """Whether the order is, or was, in escrow at the newest block."""
        client = self._clients.of(chain_id)
        status = await self._bounded(client, lambda: InputSettler(client, settler).order_status(order_id))
        return status is not OrderStatus.NONE

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

    def funds_suffice_now(self, admissible: Admissible, open_orders: UserOrders, times: int = 1) -> bool:
        """Whether all is well as far as memory tells; False where the chain has to be asked.

        `times`: how many times over the funds must be there.
        """
        nonce = admissible.permit2_nonce
        if nonce is None:
            return False
        chain_id, user, intent_id = admissible.origin.chain_id, admissible.order.user, admissible.intent_id
        if self._contracts.peek((chain_id, user)) is not False:
            return _missed("code")
        word, bit = divmod(nonce, NONCES_PER_WORD)
        bitmap = self._bitmaps.peek((chain_id, user, word))
        if bitmap is None or bitmap >> bit & 1:
            return _missed("nonce")
        for funds, amount in admissible.takes.items():
            balance = self._funds.peek((chain_id, "balance", funds[1], user))
            allowance = self._funds.peek((chain_id, "allowance", funds[1], user))
            if balance is None or allowance is None:
                return _missed("funds")
            reserved, permitted = open_orders.reserves_without(intent_id, funds)
            if balance < times * (amount + reserved) or allowance < times * (amount + permitted):
                return False
        _HITS.inc()
        return True

    async def check_funds(self, admissible: Admissible, open_orders: UserOrders) -> list[Finding]:
        """INSUFFICIENT_BALANCE, INSUFFICIENT_ALLOWANCE, NONCE_USED, INVALID_EIP1271_SIGNATURE.

        What the user has open is looked at last, after all that is waited for: it is true when this returns.
        """
        client = self._clients.of(admissible.origin.chain_id)
        return await self._bounded(client, lambda: self._check_funds(client, admissible, open_orders))

    async def _check_funds(self, client: ChainClient, admissible: Admissible, open_orders: UserOrders) -> list[Finding]:
        held, answers = await asyncio.gather(
            self._held(client, admissible), asyncio.gather(*self._yes_or_no(client, admissible))
        )
        lacking = _lacking(admissible, held, open_orders)
        if lacking:
            # A refusal is not told from memory.
            held = await self._held(client, admissible, max_age=FRESH_SECONDS)
            lacking = _lacking(admissible, held, open_orders)
        return [*lacking, *(finding for answer in answers for finding in answer)]

    async def _held(
        self, client: ChainClient, admissible: Admissible, max_age: float = math.inf
    ) -> dict[Funds, tuple[int, int | None]]:
        """Of each token that the order takes the user's balance, and the allowance where Permit2 is to take it."""
        user, permit2 = admissible.order.user, admissible.origin.permit2
        by_permit2 = admissible.permit2_nonce is not None

        async def ask(funds: Funds) -> tuple[int, int | None]:
            token = Token(client, funds[1])
            balance = self._funds.get(
                (client.chain_id, "balance", funds[1], user), lambda: token.balance_of(user), max_age
            )
            if not by_permit2:
                return await balance, None
            allowance = self._funds.get(
                (client.chain_id, "allowance", funds[1], user), lambda: token.allowance(user, permit2), max_age
            )
            held, allowed = await asyncio.gather(balance, allowance)
            return held, allowed

        takes = list(admissible.takes)
        return dict(zip(takes, await asyncio.gather(*map(ask, takes)), strict=True))

    def _yes_or_no(self, client: ChainClient, admissible: Admissible) -> list[Awaitable[list[Finding]]]:
        if admissible.permit2_nonce is None:
            asked = [self._authorisation_is_unused(client, admissible, funds[1]) for funds in admissible.takes]
        else:
            asked = [self._nonce_is_unused(client, admissible, admissible.permit2_nonce)]
        return [*asked, self._wallet_still_signs(client, admissible)]

    async def _nonce_is_unused(self, client: ChainClient, admissible: Admissible, nonce: int) -> list[Finding]:
        permit2, user = Permit2(client, admissible.origin.permit2), admissible.order.user
        word, bit = divmod(nonce, NONCES_PER_WORD)
        bitmap = await self._bitmaps.get((client.chain_id, user, word), lambda: permit2.nonce_bitmap(user, word))
        # Spent nonces stay spent, so this one answer needs no second look.
        if not bitmap >> bit & 1:
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
        user = admissible.order.user
        if not await self._is_contract(client, user):
            return []
        findings = await self.check_wallet_signature(admissible)
        if findings and not await self._is_contract(client, user, max_age=FRESH_SECONDS):
            # Its code is gone since it was looked at, and its key decides again.
            return check_signature(admissible)
        return findings

    async def _is_contract(self, client: ChainClient, account: Address, max_age: float = math.inf) -> bool:
        async def load() -> bool:
            return bool(await client.code(account))

        return await self._contracts.get((client.chain_id, account), load, max_age)

    async def _bounded(self, client: ChainClient, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await ask()
        except TimeoutError:
            raise ChainUnavailable(client.chain_id, f"no answer within {self._timeout:g} s") from None


def _lacking(
    admissible: Admissible, held: Mapping[Funds, tuple[int, int | None]], open_orders: UserOrders
) -> list[Finding]:
    """INSUFFICIENT_BALANCE and INSUFFICIENT_ALLOWANCE, with what the user has open as of now."""
    balances, allowances = [], []
    for funds, amount in admissible.takes.items():
        balance, allowance = held[funds]
        reserved, permitted = open_orders.reserves_without(admissible.intent_id, funds)
        token, field = format_address(funds[1]), _field(admissible, funds[1])
        if balance < amount + reserved:
            needed = amount + reserved
            balances.append(
                Finding(
                    field,
                    ErrorReason.ERROR_REASON_INSUFFICIENT_BALANCE,
                    f"The user holds {balance} of token {token} and needs {needed}{_for_others(reserved)}.",
                    {"token": token, "balance": str(balance), "needed": str(needed)},
                )
            )
        if allowance is not None and allowance < amount + permitted:
            needed = amount + permitted
            allowances.append(
                Finding(
                    field,
                    ErrorReason.ERROR_REASON_INSUFFICIENT_ALLOWANCE,
                    f"The user allows Permit2 {allowance} of token {token} and needs {needed}{_for_others(permitted)}.",
                    {"token": token, "allowance": str(allowance), "needed": str(needed)},
                )
            )
    return [*balances, *allowances]


def _field(admissible: Admissible, token: Address) -> str:
    index = next(index for index, item in enumerate(admissible.order.inputs) if item.token == token)
    return f"order.inputs[{index}]"


def _for_others(reserved: int) -> str:
    return f", {reserved} of it for other open intents" if reserved else ""


def _missed(cache: str) -> bool:
    CACHE_READS.labels(cache, "miss").inc()
    return False


def _nonce_used(field: str, message: str) -> Finding:
    return Finding(field, ErrorReason.ERROR_REASON_NONCE_USED, message)
