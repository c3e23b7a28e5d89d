"""From a signed transaction to its inclusion: sending, sending again, replacing at the same nonce, cancelling.

All attempts of a lineage share one nonce, so at most one of them is ever included.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace

import asyncpg
import structlog

from intentmesh.chain.client import ChainClient
from intentmesh.chain.errors import ChainUnavailable, Reverted
from intentmesh.chain.records import Receipt
from intentmesh.transactions.classification import ErrorClass, classify
from intentmesh.transactions.lease import Connection, LeaseTaken, PatientLease, Pool
from intentmesh.transactions.ledger import Ledger
from intentmesh.transactions.model import (
    Attempt,
    AttemptState,
    Price,
    Purpose,
    ResultStatus,
    SenderSettings,
    TransactionRequest,
    TransactionResult,
)
from intentmesh.transactions.signers import Signer

_log = structlog.get_logger(__name__)

TRANSFER_GAS = 21_000
RESEND_SECONDS = 2.0


class Inclusion:
    """Waits for one lineage. `wait` returns None when none of its transactions can be included any more.

    `fill_gap` sees to the nonces before the one it is given that nobody holds, and tells whether there were any.
    """

    def __init__(
        self,
        request: TransactionRequest,
        lineage: list[Attempt],
        *,
        client: ChainClient,
        signer: Signer,
        ledger: Ledger,
        pool: Pool,
        lease: PatientLease,
        turn: asyncio.Lock,
        fill_gap: Callable[[int], Awaitable[bool]],
        settings: SenderSettings,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._request = request
        self._lineage = lineage
        self._client = client
        self._signer = signer
        self._ledger = ledger
        self._pool = pool
        self._lease = lease
        self._turn = turn
        self._fill_gap = fill_gap
        self._settings = settings
        self._clock = clock
        self._sleep = sleep
        self._priced_at = clock()
        self._sent_at = clock()
        self._cancel_at = 0.0

    async def broadcast(self, connection: Connection, attempt: Attempt) -> Attempt:
        """Writes BROADCAST, then sends. Returns the attempt in the state that the node's answer gives it.

        `connection` is the lease's. Never raises for what the node says: the state tells.
        """
        written = attempt.state
        if attempt.state is AttemptState.PLANNED:
            written = AttemptState.BROADCAST
            await self._ledger.mark(connection, [attempt], written)
        state, note = AttemptState.BROADCAST, ""
        try:
            await self._client.send_raw(attempt.raw)
        except ChainUnavailable as error:
            state, note = await self._after_refusal(connection, attempt, classify(error)), error.cause
            _log.info("transaction_refused", key=attempt.key, nonce=attempt.nonce, state=state.value, cause=note)
        if state is not written:
            await self._ledger.mark(connection, [attempt], state, note)
        return replace(attempt, state=state)

    async def wait(self) -> TransactionResult | None:
        """The result; None when the nonce is lost or free, so that the request has to be planned anew.

        Raises SignerBusy when something is to be sent, which another process alone may do, and it does not show.
        """
        first = True
        while True:
            try:
                if all(attempt.state is AttemptState.REJECTED for attempt in self._lineage):
                    return None
                included = await self._find_included()
                if included is not None:
                    return await self._settle(*included)
                if await self._is_used():
                    # Whoever has the nonce, nothing more can be sent at it.
                    if await self._is_lost():
                        await self._give_up()
                        return None
                elif self._is_over() and self._lineage[-1].purpose is Purpose.CALL:
                    # It may never have left: what is late is not sent again.
                    if self._is_stuck():
                        await self._replace()
                elif first or await self._is_forgotten():
                    await self._send_again()
                elif self._is_stuck():
                    await self._replace()
                first = False
            except (ChainUnavailable, LeaseTaken, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                # Nothing is known: neither a reason to give up nor to send something else.
                _log.warning("inclusion_unknown", key=self._request.key, cause=str(error))
            await self._sleep(self._settings.poll_seconds)

    # --- looking ---

    async def _find_included(self) -> tuple[Attempt, Receipt] | None:
        for attempt in reversed(self._lineage):
            receipt = await self._client.receipt(attempt.hash)
            if receipt is None:
                continue
            wanted = self._settings.confirmations
            if wanted <= 1 or await self._client.depth(receipt) >= wanted:
                return attempt, receipt
        return None

    async def _is_used(self) -> bool:
        return await self._client.nonce(self._signer.address) > self._lineage[0].nonce

    async def _is_lost(self) -> bool:
        """Whether another transaction, none of ours, has the used nonce for good.

        Only that transaction itself is proof: receipts may come long after the count, and until its block is final a
        reorganisation may include one of ours instead.
        """
        for attempt in self._lineage:
            # Included, if not deep enough yet: the cheap answer to what is asked most.
            if await self._client.receipt(attempt.hash) is not None:
                return False
        holder = await self._client.holder(self._signer.address, self._lineage[0].nonce)
        if holder is None or holder.block_number is None:
            return False
        if holder.transaction_hash in {attempt.hash for attempt in self._lineage}:
            return False
        head = await self._client.head()
        return head.number - holder.block_number + 1 >= self._client.config.final_depth

    async def _is_forgotten(self) -> bool:
        """Looked at now and then: a node that refuses it will not have changed its mind a moment later."""
        if self._clock() - self._sent_at < RESEND_SECONDS:
            return False
        self._sent_at = self._clock()
        return await self._client.transaction(self._lineage[-1].hash) is None

    def _is_stuck(self) -> bool:
        if self._is_over() and self._lineage[-1].purpose is Purpose.CALL:
            return self._clock() >= self._cancel_at
        return self._clock() - self._priced_at >= self._settings.replace_after_seconds

    def _is_over(self) -> bool:
        return self._request.deadline is not None and self._clock() >= self._request.deadline

    # --- acting ---

    async def _send_again(self) -> None:
        """The newest raw transaction, as it is: it may never have left, or the pool forgot it."""
        if self._lineage[-1].state is AttemptState.BROADCAST and await self._client.transaction(self._lineage[-1].hash):
            return
        async with self._turn:
            self._lineage[-1] = await self.broadcast(await self._lease.connection(), self._lineage[-1])

    async def _replace(self) -> None:
        """The same nonce at a higher price: the same call, or nothing at all once the deadline has passed."""
        newest = self._lineage[-1]
        purpose = Purpose.CANCEL if self._is_over() else Purpose.CALL
        # What a node refused now it will not take a moment later.
        self._cancel_at = self._clock() + RESEND_SECONDS
        # What is late has to become a transfer to oneself first: it must not be included once the gap is filled.
        if newest.purpose is purpose and await self._fill_gap(newest.nonce):
            # No price gets anything included before those are.
            self._priced_at = self._clock()
            return
        cap = self._settings.max_cancel_fee_cap if purpose is Purpose.CANCEL else self._settings.max_fee_cap
        price = await self._higher_price(newest.price, cap)
        if price is None:
            _log.warning("transaction_stuck_at_fee_cap", key=self._request.key, nonce=newest.nonce)
            self._priced_at = self._clock()
            return
        async with self._turn:
            connection = await self._lease.connection()
            attempt = await self._plan_replacement(connection, newest, purpose, price)
            sent = await self.broadcast(connection, attempt)
        self._priced_at = self._clock()
        if sent.state is not AttemptState.REJECTED:
            self._lineage.append(sent)
        _log.info("transaction_replaced", key=self._request.key, nonce=newest.nonce, purpose=purpose.value)

    async def _plan_replacement(
        self, connection: Connection, newest: Attempt, purpose: Purpose, price: Price
    ) -> Attempt:
        cancels = purpose is Purpose.CANCEL
        gas_limit = TRANSFER_GAS if cancels else newest.gas_limit
        signed = self._signer.sign_transaction(
            chain_id=self._client.chain_id,
            nonce=newest.nonce,
            to=self._signer.address if cancels else self._request.to,
            data=b"" if cancels else self._request.data,
            value=0 if cancels else self._request.value,
            gas_limit=gas_limit,
            price=price,
        )
        async with connection.transaction():
            return await self._ledger.plan(
                connection, self._request.key, newest.nonce, purpose, signed, gas_limit, price, replaces=newest
            )

    async def _higher_price(self, old: Price, cap: int) -> Price | None:
        """At least the factor more, and what the chain asks now as far as the cap goes; None when it leaves no room."""
        now = await self._client.fees()
        factor = self._settings.replacement_factor
        max_fee = max(math.ceil(old.max_fee * factor), min(now.max_fee, cap))
        if not now.base_fee <= max_fee <= cap:
            return None
        return Price(max_fee, min(max(math.ceil(old.priority_fee * factor), now.priority_fee), max_fee))

    async def _after_refusal(self, connection: Connection, attempt: Attempt, error_class: ErrorClass) -> AttemptState:
        match error_class:
            case ErrorClass.ALREADY_IN_POOL:
                return AttemptState.BROADCAST
            case ErrorClass.DEFINITELY_REJECTED | ErrorClass.OUT_OF_FUNDS | ErrorClass.PROGRAMMING_ERROR:
                return await self._reject(connection, attempt)
            case _:
                # Also "nonce too low" and "replacement underpriced": ours, or one before it, may be in. Look first.
                return AttemptState.INDETERMINATE

    async def _reject(self, connection: Connection, attempt: Attempt) -> AttemptState:
        """Refused before any pool took it. Its nonce is taken back where that is certain; an attempt that may have
        been sent before, by a run that crashed or through another endpoint, stays undecided."""
        if attempt.state is not AttemptState.PLANNED:
            return AttemptState.INDETERMINATE
        if attempt.id == self._lineage[0].id:
            pending = await self._pending_nonce()
            if pending is None or pending > attempt.nonce:
                return AttemptState.INDETERMINATE
            await self._ledger.reclaim(connection, attempt.nonce)
        return AttemptState.REJECTED

    async def _pending_nonce(self) -> int | None:
        try:
            return await self._client.nonce(self._signer.address, "pending")
        except ChainUnavailable:
            return None

    # --- ending ---

    async def _settle(self, included: Attempt, receipt: Receipt) -> TransactionResult:
        others = [attempt for attempt in self._lineage if attempt.id != included.id]
        state = AttemptState.CONFIRMED if receipt.succeeded else AttemptState.REVERTED
        async with self._pool.acquire() as connection, connection.transaction():
            await self._ledger.mark(connection, [included], state)
            await self._ledger.mark(connection, others, AttemptState.REPLACED)
        _log.info(
            "transaction_included",
            key=self._request.key,
            chain_id=self._client.chain_id,
            hash="0x" + receipt.transaction_hash.hex(),
            succeeded=receipt.succeeded,
            gas_used=receipt.gas_used,
        )
        if included.purpose is Purpose.CANCEL:
            return TransactionResult(None, ResultStatus.EXPIRED)
        if receipt.succeeded:
            return TransactionResult(receipt.transaction_hash, ResultStatus.CONFIRMED, receipt)
        revert = await self._revert_of(receipt)
        return TransactionResult(receipt.transaction_hash, ResultStatus.REVERTED, receipt, revert)

    async def _revert_of(self, receipt: Receipt) -> str:
        """Receipts do not say why; the same call on the state of that block does, nearly always."""
        try:
            await self._client.call(
                self._request.to,
                self._request.data,
                receipt.block_number,
                sender=self._signer.address,
                value=self._request.value,
            )
        except Reverted as revert:
            return revert.name
        except ChainUnavailable:
            return ""
        return ""

    async def _give_up(self) -> None:
        async with self._pool.acquire() as connection:
            await self._ledger.mark(
                connection, self._lineage, AttemptState.REJECTED, "its nonce went to a transaction not of this ledger"
            )
        _log.warning("nonce_lost", key=self._request.key, nonce=self._lineage[0].nonce)
