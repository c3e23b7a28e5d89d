"""Sends transactions of one signer on one chain: each request at most once, whatever crashes in between.

    simulate → plan and sign → ledger: BROADCAST → send → wait for inclusion, replacing what gets stuck

Planning and the first send happen one at a time, so a transaction that no pool took always holds the last nonce handed
out, and its nonce can be taken back. Waiting happens side by side.
"""

import asyncio
import math
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import asyncpg
import structlog

from intentmesh.chain.client import ChainClient
from intentmesh.chain.errors import ChainUnavailable, Reverted
from intentmesh.domain.types import format_address
from intentmesh.transactions.classification import ErrorClass, classify
from intentmesh.transactions.inclusion import TRANSFER_GAS, Inclusion
from intentmesh.transactions.lease import Connection, LeaseTaken, PatientLease, Pool, SignerLease
from intentmesh.transactions.ledger import Ledger
from intentmesh.transactions.model import (
    Attempt,
    AttemptState,
    GasCapExceeded,
    KeyReused,
    Price,
    Purpose,
    ResultStatus,
    SenderSettings,
    SignerBusy,
    SignerOutOfFunds,
    TransactionRequest,
    TransactionResult,
)
from intentmesh.transactions.signers import Signer

_log = structlog.get_logger(__name__)

# At a time, of what the chain seems to have lost: an endpoint that is far behind makes everything look like that.
MOST_SENT_AGAIN = 16
# Of transactions in a pool that the ledger does not know. Where there are none after all, what is sent next has a gap
# before it, and to fill that costs gas.
MOST_BELIEVED = 16
# Nonces of a gap at a time.
MOST_FILLED = 16

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


class TransactionSender:
    """The sender of one signer on one chain. The pool is of the ledger's database and needs two connections or more.

    `clock` gives Unix seconds.
    """

    def __init__(
        self,
        pool: Pool,
        client: ChainClient,
        signer: Signer,
        settings: SenderSettings | None = None,
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._pool = pool
        self._client = client
        self._signer = signer
        self._settings = settings or SenderSettings()
        self._clock = clock
        self._sleep = sleep
        self._ledger = Ledger(client.chain_id, signer.address)
        self._lease = SignerLease(pool, client.chain_id, signer.address)
        self._turn = asyncio.Lock()
        self._running: dict[str, _Running] = {}
        self._letting_go: asyncio.Task[None] | None = None
        self._paused: str | None = None

    @property
    def signer(self) -> Signer:
        return self._signer

    @property
    def paused(self) -> str | None:
        """Why the signer rests at the moment; None when it does not."""
        return self._paused

    async def execute(self, request: TransactionRequest) -> TransactionResult:
        """Sees the request through to its result.

        A second call with the same key attaches to the first, or returns its result. Cancelling a call does not stop
        the transaction. Raises KeyReused, GasCapExceeded, SignerOutOfFunds, SignerBusy (soon, whatever the deadline),
        and ChainUnavailable when the deadline passes without any word from the chain; after each of these the same call
        may be made again.
        """
        running = self._running.get(request.key)
        if running is None:
            return await asyncio.shield(self._start(request))
        if running.request.names_another_than(request):
            raise KeyReused(f"the key {request.key} stands for another transaction")
        return await asyncio.shield(running.task)

    async def recover(self) -> list[str]:
        """Takes up what an earlier run left unfinished; returns the keys. The results come by `execute`.

        Raises LeaseTaken when another process sends for this signer: then nothing was left.
        """
        async with self._turn:
            left = await self._take_up_what_is_left(await self._lease.connection())
        self._let_go_when_idle()
        return left

    async def close(self) -> None:
        """Stops waiting; what was sent stays sent, and `recover` of a later run takes it up."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._letting_go is not None:
            await self._letting_go
        await self._lease.release()

    async def _take_up_what_is_left(self, connection: Connection) -> list[str]:
        left = await self._ledger.unfinished(connection)
        for request in left:
            if request.key not in self._running:
                self._start(request)
        return [request.key for request in left]

    def _start(self, request: TransactionRequest) -> "asyncio.Task[TransactionResult]":
        task = asyncio.create_task(self._see_through(request), name=f"transaction {request.key}")
        self._running[request.key] = _Running(request, task)
        task.add_done_callback(partial(self._forget, request.key))
        return task

    def _forget(self, key: str, task: "asyncio.Task[TransactionResult]") -> None:
        self._running.pop(key, None)
        # Whoever attached has seen the error; after a recovery nobody has.
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("transaction_not_sent", key=key, chain_id=self._client.chain_id, error=str(error))
        self._let_go_when_idle()

    def _let_go_when_idle(self) -> None:
        """Another process may have something to send, and is told that the signer is busy while this one holds on."""
        if not self._running and self._letting_go is None:
            self._letting_go = asyncio.create_task(self._let_go(), name="release of the signer's lease")

    async def _let_go(self) -> None:
        try:
            async with self._turn:
                if not self._running:
                    await self._lease.release()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The connection is broken, and the lease gone with it.
            _log.warning("signer_lease_not_released", error=str(error))
        finally:
            self._letting_go = None

    # --- one request ---

    async def _see_through(self, request: TransactionRequest) -> TransactionResult:
        lease = PatientLease(self._lease, self._settings.lease_wait_seconds, self._clock)
        for _ in range(self._settings.max_rejections):
            begun = await self._take_up(request) or await self._begin(request, lease)
            if isinstance(begun, TransactionResult):
                return begun
            result = await self._inclusion(request, begun, lease).wait()
            if result is not None:
                return result
            # Its nonce went to a transaction that is not ours, or no pool took it: priced and sent anew.
            await self._sleep(self._settings.poll_seconds)
        return TransactionResult(None, ResultStatus.REJECTED)

    async def _take_up(self, request: TransactionRequest) -> list[Attempt]:
        """What was signed for this key before and is, or may get, included."""
        async with self._pool.acquire() as connection:
            await self._ledger.register(connection, request)
            return _standing(await self._ledger.lineage(connection, request.key))

    async def _begin(self, request: TransactionRequest, lease: PatientLease) -> list[Attempt] | TransactionResult:
        """The first attempt, given to a node; or the result when it cannot come to one."""
        trouble: Exception | None = None
        while True:
            if self._is_over(request):
                # A rest may last longer than it should.
                if trouble is not None:
                    raise trouble
                return TransactionResult(None, ResultStatus.EXPIRED)
            try:
                gas_limit = await self._simulate(request)
                price = await self._price()
                if await self._can_pay(request, gas_limit, price):
                    async with self._turn:
                        return await self._plan_and_send(request, lease, gas_limit, price)
                trouble = await self._rest(request, SignerOutOfFunds("the signer cannot pay for gas"))
            except Reverted as revert:
                _log.info("transaction_would_revert", key=request.key, revert=revert.name, rule=classify(revert).value)
                return TransactionResult(None, ResultStatus.REJECTED, revert=revert.name)
            except LeaseTaken:
                trouble = await self._rest(request, SignerBusy("another process sends for this signer"))
                # Which may be sending just this.
                if standing := await self._take_up(request):
                    return standing
            except ChainUnavailable as error:
                trouble = await self._rest(request, self._judge(error))

    def _judge(self, error: ChainUnavailable) -> Exception:
        """What to tell if the deadline passes while the trouble lasts. Raises it when no waiting helps."""
        match classify(error):
            case ErrorClass.PROGRAMMING_ERROR:
                raise error
            case ErrorClass.OUT_OF_FUNDS:
                self._pause(error.cause)
                return SignerOutOfFunds("the signer cannot pay for gas")
            case _:
                return error

    async def _simulate(self, request: TransactionRequest) -> int:
        """The gas limit to give it. Raises Reverted, GasCapExceeded."""
        needed = await self._client.estimate_gas(self._signer.address, request.to, request.data, request.value)
        if needed > self._settings.gas_cap:
            raise GasCapExceeded(f"{request.key} needs {needed} gas; the cap is {self._settings.gas_cap}")
        return min(math.ceil(needed * self._settings.gas_margin), self._settings.gas_cap)

    async def _price(self) -> Price:
        fees = await self._client.fees()
        cap = self._settings.max_fee_cap
        return Price(min(fees.max_fee, cap), min(fees.priority_fee, cap))

    async def _can_pay(self, request: TransactionRequest, gas_limit: int, price: Price) -> bool:
        """Looks before a node refuses; pauses the signer and wakes it up again."""
        needed = gas_limit * price.max_fee + request.value
        balance = await self._client.balance(self._signer.address)
        if balance >= needed:
            if self._paused is not None:
                _log.info("signer_resumed", signer=format_address(self._signer.address))
            self._paused = None
            return True
        self._pause(f"holds {balance} wei, needs {needed}")
        return False

    async def _plan_and_send(
        self, request: TransactionRequest, lease: PatientLease, gas_limit: int, price: Price
    ) -> list[Attempt]:
        connection = await lease.connection()
        # Another process may have done it before we had the lease.
        if standing := _standing(await self._ledger.lineage(connection, request.key)):
            return standing
        nonce = await self._next_nonce(connection)
        attempt = await self._write_down(connection, request, nonce, gas_limit, price)
        return [await self._inclusion(request, [attempt], lease).broadcast(connection, attempt)]

    async def _next_nonce(self, connection: Connection) -> int:
        """The nonce for a new transaction: never below what was handed out, unless nobody holds that nonce any more.

        An endpoint may count in its pool what is nowhere else: only a little of that is taken for another's use of the
        key. Raises ChainUnavailable when very many transactions seem to be lost: some are sent again, the others next
        time.
        """
        handed_out = await self._ledger.next_nonce(connection)
        pending = await self._client.nonce(self._signer.address, "pending")
        if pending == handed_out:
            return pending
        latest = await self._client.nonce(self._signer.address)
        if pending > handed_out:
            certain = max(handed_out, latest)
            return pending if pending - certain <= MOST_BELIEVED else certain
        # Some were lost, or the endpoint is behind.
        await self._take_up_what_is_left(connection)
        used = await self._used(connection, max(pending, latest))
        if used >= handed_out:
            return used
        nonce = next(iter(await self._ledger.free(connection, used, handed_out, 1)), handed_out)
        await self._send_lost_again(connection, used, nonce)
        return nonce

    async def _used(self, connection: Connection, counted: int) -> int:
        """How many nonces the chain has used for certain: what an endpoint counted, or more where it shows the receipt
        of one behind that. A nonce is only ever used after all before it."""
        included = await self._ledger.included_from(connection, counted)
        first, end = 0, len(included)
        while first < end:
            # The last one is nearly always the answer.
            middle = end - 1 if end == len(included) else (first + end) // 2
            if await self._client.receipt(included[middle].hash) is None:
                end = middle
            else:
                first = middle + 1
        return included[first - 1].nonce + 1 if first else counted

    async def _send_lost_again(self, connection: Connection, used: int, nonce: int) -> None:
        """Sends again what the chain lost between the two (a restarted pool, a reorganisation), since nothing behind it
        could ever be included.

        What is late is not: its request gives the nonce to a transfer to oneself. Where the nodes know the first, the
        endpoint does not count its pool: what was lost behind that is sent again by its own request.
        """
        held = await self._ledger.held(connection, used, nonce, MOST_SENT_AGAIN + 1)
        looked = False
        for attempt in held[:MOST_SENT_AGAIN]:
            if await self._is_late(connection, attempt):
                continue
            if not looked and await self._client.transaction(attempt.hash) is not None:
                return
            looked = True
            if attempt.state is AttemptState.PLANNED:
                await self._ledger.mark(connection, [attempt], AttemptState.BROADCAST)
            try:
                await self._client.send_raw(attempt.raw)
            except ChainUnavailable as error:
                _log.warning("lost_transaction_not_taken", nonce=attempt.nonce, cause=error.cause)
        if len(held) > MOST_SENT_AGAIN:
            raise ChainUnavailable(self._client.chain_id, f"does not know very many transactions from nonce {used} on")

    async def _is_late(self, connection: Connection, attempt: Attempt) -> bool:
        """Whether it is a call that has not been included and whose deadline has passed."""
        if attempt.purpose is not Purpose.CALL or attempt.state in (AttemptState.CONFIRMED, AttemptState.REVERTED):
            return False
        request = await self._ledger.request(connection, attempt.key)
        return request is not None and self._is_over(request)

    async def _write_down(
        self, connection: Connection, request: TransactionRequest, nonce: int, gas_limit: int, price: Price
    ) -> Attempt:
        signed = self._signer.sign_transaction(
            chain_id=self._client.chain_id,
            nonce=nonce,
            to=request.to,
            data=request.data,
            value=request.value,
            gas_limit=gas_limit,
            price=price,
        )
        async with connection.transaction():
            return await self._ledger.plan(connection, request.key, nonce, Purpose.CALL, signed, gas_limit, price)

    # --- waiting ---

    async def _fill_gap(self, lease: PatientLease, nonce: int) -> bool:
        """Transfers to oneself take nonces before this one that nobody holds, some at a time; False: there are none.

        Only an endpoint that counted too many leaves such a gap, and nothing behind it could ever be included.
        """
        price = await self._price()
        async with self._turn:
            connection = await lease.connection()
            used = await self._client.nonce(self._signer.address)
            missing = await self._ledger.free(connection, used, nonce, MOST_FILLED)
            for free in missing:
                request = TransactionRequest(f"gap:{uuid.uuid4().hex}", self._signer.address, b"")
                await self._ledger.register(connection, request)
                await self._write_down(connection, request, free, TRANSFER_GAS, price)
                self._start(request)
        if missing:
            _log.warning("nonce_gap", chain_id=self._client.chain_id, before=nonce, filled=len(missing))
        return bool(missing)

    def _inclusion(self, request: TransactionRequest, lineage: list[Attempt], lease: PatientLease) -> Inclusion:
        return Inclusion(
            request,
            lineage,
            client=self._client,
            signer=self._signer,
            ledger=self._ledger,
            pool=self._pool,
            lease=lease,
            turn=self._turn,
            fill_gap=partial(self._fill_gap, lease),
            settings=self._settings,
            clock=self._clock,
            sleep=self._sleep,
        )

    def _is_over(self, request: TransactionRequest) -> bool:
        return request.deadline is not None and self._clock() >= request.deadline

    async def _rest(self, request: TransactionRequest, reason: Exception) -> Exception:
        """Waits a little, and returns `reason`. Raises it when the deadline would pass meanwhile."""
        pause = self._settings.recheck_seconds
        if request.deadline is not None and self._clock() + pause >= request.deadline:
            raise reason
        await self._sleep(pause)
        return reason

    def _pause(self, why: str) -> None:
        if self._paused is None:
            _log.error("signer_paused", signer=format_address(self._signer.address), why=why)
        self._paused = why


@dataclass(frozen=True, slots=True)
class _Running:
    request: TransactionRequest
    task: "asyncio.Task[TransactionResult]"


def _standing(lineage: list[Attempt]) -> list[Attempt]:
    """The lineage, unless a cancellation has taken its nonce: then the request may be planned anew."""
    cancelled = any(a.purpose is Purpose.CANCEL and a.state is AttemptState.CONFIRMED for a in lineage)
    return [] if cancelled else lineage
