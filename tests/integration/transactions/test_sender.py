"""The sender on a real chain with a real ledger; only the moment of a crash is staged."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest
from intentmesh.chain.client import ChainClient
from intentmesh.chain.config import ChainConfig, NetworkConfig
from intentmesh.chain.errors import ChainUnavailable, EndpointError
from intentmesh.chain.records import BlockTag, Receipt, SeenTransaction, TransactionHash
from intentmesh.chain.tokens import Token
from intentmesh.domain.types import Address, format_address
from intentmesh.embedded.anvil import AnvilChain
from intentmesh.embedded.deployment import local_accounts
from intentmesh.embedded.probes import json_rpc
from intentmesh.store.migrations import migrate
from intentmesh.store.pool import open_pool
from intentmesh.transactions.ledger import MIGRATIONS, SCHEMA
from intentmesh.transactions.model import (
    KeyReused,
    ResultStatus,
    SenderSettings,
    SignerBusy,
    SignerOutOfFunds,
    TransactionRequest,
    TransactionResult,
)
from intentmesh.transactions.sender import TransactionSender
from intentmesh.transactions.signers import Signer

from tests.fixtures.servers import LocalChains

SIGNER = Signer(local_accounts("solver")[0].private_key)
RECIPIENT = Address(bytes.fromhex("00000000000000000000000000000000000000aa"))
QUICK = SenderSettings(poll_seconds=0.02, recheck_seconds=0.05, replace_after_seconds=60.0, lease_wait_seconds=0.5)
WAIT_SECONDS = 10.0
# Transactions before the one in question, and far fewer than that.
MANY = 40
FEW = 4
# Code that gives the selector 0x2916ae33 as its only reason.
REVERTS_INVALID_ORDER_STATUS = "0x632916ae3360e01b5f5260045ffd"


@dataclass
class Bench:
    """One chain, one ledger, and senders on them."""

    anvil: AnvilChain
    config: ChainConfig
    client: ChainClient
    pool: "asyncpg.Pool[asyncpg.Record]"
    token: Token

    def sender(
        self,
        settings: SenderSettings = QUICK,
        client: ChainClient | None = None,
        signer: Signer = SIGNER,
    ) -> TransactionSender:
        return TransactionSender(self.pool, client or self.client, signer, settings)

    def transfer(self, key: str, amount: int = 5, deadline: float | None = None) -> TransactionRequest:
        return TransactionRequest(
            key, self.token.address, self.token.encode_transfer(RECIPIENT, amount), deadline=deadline
        )

    async def rpc(self, method: str, *params: object) -> Any:
        return await json_rpc(self.anvil.port, method, *params)

    async def attempts(self) -> list[asyncpg.Record]:
        return await self.pool.fetch("SELECT * FROM transactions.attempts ORDER BY id")

    async def received(self) -> int:
        return await self.token.balance_of(RECIPIENT)

    async def until(self, count: int, state: str = "BROADCAST") -> list[asyncpg.Record]:
        """Waits for that many attempts in a state."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(found := [row for row in await self.attempts() if row["state"] == state]) < count:  # noqa: ASYNC110 (another process's)
                await asyncio.sleep(0.02)
        return found


@pytest.fixture
async def bench(network: NetworkConfig, chains: LocalChains, fresh_database: str) -> AsyncIterator[Bench]:
    config = network.chains[0]
    await migrate(fresh_database, MIGRATIONS, SCHEMA)
    pool = await open_pool(fresh_database)
    async with ChainClient(config) as client:
        token = Token(client, config.tokens["USDC"].address)
        yield Bench(chains.alpha, config, client, pool, token)
        await json_rpc(chains.alpha.port, "evm_setAutomine", True)
        await json_rpc(chains.alpha.port, "anvil_dropAllTransactions")
    # A sender that a failed test left behind keeps a connection: closing politely would wait for it.
    pool.terminate()


@asynccontextmanager
async def running(sender: TransactionSender) -> AsyncIterator[TransactionSender]:
    try:
        yield sender
    finally:
        await sender.close()


@asynccontextmanager
async def sending(bench: Bench, sender: TransactionSender) -> AsyncIterator["asyncio.Task[TransactionResult]"]:
    """It has a transaction pending, so it sends for the signer; blocks have to be mined for it, until the end."""
    await bench.rpc("evm_setAutomine", False)
    call = asyncio.create_task(sender.execute(bench.transfer("one")))
    try:
        await bench.until(1)
        yield call
    finally:
        call.cancel()
        await asyncio.wait([call])
        await bench.rpc("evm_setAutomine", True)


class DyingClient(ChainClient):
    """Its process dies before anything is sent."""

    async def send_raw(self, raw: bytes) -> TransactionHash:  # noqa: ARG002 (never gets that far)
        await asyncio.Event().wait()
        raise AssertionError


class StaleClient(ChainClient):
    """Told an old nonce once, as by an endpoint that lags behind."""

    stale: int | None = None

    async def nonce(self, address: Address, block: BlockTag = "latest") -> int:
        if block == "pending" and self.stale is not None:
            stale, self.stale = self.stale, None
            return stale
        return await super().nonce(address, block)


class LaggingClient(ChainClient):
    """As by an endpoint that is so many transactions behind, in the answers that are named. Counts what is sent."""

    behind = 0
    lies_about = frozenset({"pending"})
    sent = 0

    async def nonce(self, address: Address, block: BlockTag = "latest") -> int:
        count = await super().nonce(address, block)
        return max(count - self.behind, 0) if block in self.lies_about else count

    async def receipt(self, transaction_hash: TransactionHash) -> Receipt | None:
        return None if self.behind and "receipt" in self.lies_about else await super().receipt(transaction_hash)

    async def transaction(self, transaction_hash: TransactionHash) -> SeenTransaction | None:
        return None if self.behind and "receipt" in self.lies_about else await super().transaction(transaction_hash)

    async def send_raw(self, raw: bytes) -> TransactionHash:
        self.sent += 1
        return await super().send_raw(raw)


class BoastingClient(ChainClient):
    """As by an endpoint that counts so many transactions too many, in the answers that are named."""

    ahead = 0
    lies_about = frozenset({"pending"})

    async def nonce(self, address: Address, block: BlockTag = "latest") -> int:
        return await super().nonce(address, block) + (self.ahead if block in self.lies_about else 0)


class PoolBlindClient(LaggingClient):
    """Counts no transaction of the pool."""

    async def nonce(self, address: Address, block: BlockTag = "latest") -> int:  # noqa: ARG002 (that is the lie)
        return await super().nonce(address)


class CountingClient(ChainClient):
    """Tells how often receipts were looked for."""

    asked = 0

    async def receipt(self, transaction_hash: TransactionHash) -> Receipt | None:
        self.asked += 1
        return await super().receipt(transaction_hash)

    async def looks(self, count: int) -> None:
        """Returns after that many more."""
        until = self.asked + count
        async with asyncio.timeout(WAIT_SECONDS):
            while self.asked < until:  # noqa: ASYNC110 (the sender rings no bell)
                await asyncio.sleep(0.02)


async def test_execute__a_transfer__is_included_and_written_down(bench: Bench) -> None:
    async with running(bench.sender()) as sender:
        result = await sender.execute(bench.transfer("one"))
    assert result.status is ResultStatus.CONFIRMED
    assert result.receipt is not None
    assert result.receipt.transaction_hash == result.hash
    assert await bench.received() == 5
    (row,) = await bench.attempts()
    assert (row["state"], row["hash"], row["purpose"]) == ("CONFIRMED", result.hash, "CALL")


async def test_execute__the_same_key_many_times__one_transaction(bench: Bench) -> None:
    before = await bench.client.nonce(SIGNER.address)
    async with running(bench.sender()) as sender:
        together = await asyncio.gather(*(sender.execute(bench.transfer("one")) for _ in range(5)))
        later = await sender.execute(bench.transfer("one"))
    async with running(bench.sender()) as restarted:
        after_restart = await restarted.execute(bench.transfer("one"))
    assert len({result.hash for result in (*together, later, after_restart)}) == 1
    assert after_restart.status is ResultStatus.CONFIRMED
    assert await bench.client.nonce(SIGNER.address) == before + 1
    assert await bench.received() == 5


async def test_execute__a_key_for_something_else__is_refused(bench: Bench) -> None:
    async with running(bench.sender()) as sender:
        await sender.execute(bench.transfer("one", 5))
        with pytest.raises(KeyReused):
            await sender.execute(bench.transfer("one", 6))
    assert await bench.received() == 5


async def test_execute__many_at_once__nonces_are_dense(bench: Bench) -> None:
    before = await bench.client.nonce(SIGNER.address)
    async with running(bench.sender()) as sender:
        results = await asyncio.gather(*(sender.execute(bench.transfer(f"key {n}", 1)) for n in range(12)))
    assert all(result.succeeded for result in results)
    assert sorted(row["nonce"] for row in await bench.attempts()) == list(range(before, before + 12))
    assert await bench.received() == 12


async def test_recover__killed_between_ledger_and_broadcast__the_same_raw_transaction_is_sent(bench: Bench) -> None:
    async with DyingClient(bench.config) as dying:
        sender = bench.sender(client=dying)
        call = asyncio.create_task(sender.execute(bench.transfer("one")))
        (written,) = await bench.until(1)
        await sender.close()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert await bench.client.transaction(TransactionHash(written["hash"])) is None

    async with running(bench.sender()) as restarted:
        assert await restarted.recover() == ["one"]
        result = await restarted.execute(bench.transfer("one"))
    assert result.hash == written["hash"]
    (row,) = await bench.attempts()
    assert (row["state"], row["raw"]) == ("CONFIRMED", written["raw"])
    assert await bench.received() == 5


@pytest.mark.parametrize("taken_up_by", ["itself", "recovery", "another"])
async def test_killed_before_the_broadcast__deadline_has_passed__is_not_sent_any_more(
    bench: Bench, taken_up_by: str
) -> None:
    request = bench.transfer("one", 5, time.time() + 1)
    async with DyingClient(bench.config) as dying:
        sender = bench.sender(client=dying)
        call = asyncio.create_task(sender.execute(request))
        await bench.until(1)
        await sender.close()
        await asyncio.wait([call])
    await asyncio.sleep(max(0.0, request.deadline - time.time()))

    async with running(bench.sender()) as restarted:
        if taken_up_by == "another":
            # Which waits for the nonce before its own.
            assert (await restarted.execute(bench.transfer("two", 100))).succeeded
        if taken_up_by == "recovery":
            assert await restarted.recover() == ["one"]
        assert await restarted.execute(request) == TransactionResult(None, ResultStatus.EXPIRED)
    assert await bench.received() == (100 if taken_up_by == "another" else 0)
    assert [row["purpose"] for row in await bench.attempts() if row["key"] == "one"] == ["CALL", "CANCEL"]


async def test_recover__sent_and_killed__already_known_counts_as_sent(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    sender = bench.sender()
    call = asyncio.create_task(sender.execute(bench.transfer("one")))
    (written,) = await bench.until(1)
    await wait_for_pool(bench, written["hash"])
    await sender.close()
    assert call.cancelled() or await asyncio.wait([call])
    # As if the answer to the first send had been lost.
    await bench.pool.execute("UPDATE transactions.attempts SET state = 'INDETERMINATE'")

    async with running(bench.sender()) as restarted:
        again = asyncio.create_task(restarted.execute(bench.transfer("one")))
        await bench.until(1)
        await bench.rpc("anvil_mine", "0x1")
        result = await again
    assert result.hash == written["hash"]
    assert len(await bench.attempts()) == 1
    assert await bench.received() == 5


async def test_execute__nonce_too_low__resynchronises_and_is_sent_once(bench: Bench) -> None:
    used = await bench.client.nonce(SIGNER.address)
    await self_transfer(bench)
    async with StaleClient(bench.config) as client:
        client.stale = used
        async with running(bench.sender(client=client)) as sender:
            result = await sender.execute(bench.transfer("one"))
    assert result.succeeded
    assert [(row["nonce"], row["state"]) for row in await bench.attempts()] == [
        (used, "REJECTED"),
        (used + 1, "CONFIRMED"),
    ]
    assert await bench.received() == 5


@pytest.mark.parametrize("lies_about", [{"pending"}, {"pending", "latest"}], ids=["pending", "both counts"])
async def test_next_nonce__endpoint_counts_far_too_few__what_is_included_is_not_sent_again(
    bench: Bench, lies_about: set[str]
) -> None:
    async with LaggingClient(bench.config) as client, running(bench.sender(client=client)) as sender:
        client.lies_about = frozenset(lies_about)
        await asyncio.gather(*(sender.execute(bench.transfer(f"key {n}", 1)) for n in range(MANY)))
        client.behind, client.sent = MANY - 1, 0
        assert (await sender.execute(bench.transfer("another", 1))).succeeded
        assert client.sent < FEW
    assert await bench.received() == MANY + 1


async def test_next_nonce__endpoint_counts_too_few_of_what_the_ledger_does_not_know__is_sent_once(bench: Bench) -> None:
    for _ in range(5):
        await self_transfer(bench)
    async with LaggingClient(bench.config) as client, running(bench.sender(client=client)) as sender:
        client.behind = 5
        assert (await sender.execute(bench.transfer("one"))).succeeded
        assert client.sent < FEW
    assert await bench.received() == 5


async def test_next_nonce__endpoint_knows_nothing_of_what_is_included__few_are_sent_and_the_trouble_is_told(
    bench: Bench,
) -> None:
    patient = replace(QUICK, recheck_seconds=3600.0)
    async with LaggingClient(bench.config) as client, running(bench.sender(patient, client)) as sender:
        await asyncio.gather(*(sender.execute(bench.transfer(f"key {n}", 1)) for n in range(MANY)))
        client.lies_about = frozenset({"pending", "latest", "receipt"})
        client.behind, client.sent = MANY - 1, 0
        with pytest.raises(ChainUnavailable):
            await sender.execute(bench.transfer("another", 1, deadline=time.time() + 60))
        assert client.sent < MANY / 2
    assert await bench.received() == MANY


async def test_next_nonce__endpoint_counts_far_too_many_in_its_pool__is_not_believed(bench: Bench) -> None:
    before = await bench.client.nonce(SIGNER.address)
    async with BoastingClient(bench.config) as client, running(bench.sender(client=client)) as sender:
        client.ahead = 300
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await sender.execute(bench.transfer("one"))).succeeded
    assert [row["nonce"] for row in await bench.attempts()] == [before]
    assert await bench.received() == 5


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("lies_about", [{"pending"}, {"pending", "latest"}], ids=["pending", "both counts"])
async def test_next_nonce__endpoint_counts_a_few_too_many__the_gap_is_filled(
    bench: Bench, lies_about: set[str], late: bool
) -> None:
    before = await bench.client.nonce(SIGNER.address)
    impatient = replace(QUICK, replace_after_seconds=0.3)
    passed = 0
    async with BoastingClient(bench.config) as client:
        sender = TransactionSender(bench.pool, client, SIGNER, impatient, clock=lambda: time.time() + passed)
        async with running(sender), asyncio.timeout(WAIT_SECONDS):
            client.lies_about, client.ahead = frozenset(lies_about), 3
            call = asyncio.create_task(sender.execute(bench.transfer("one", deadline=time.time() + 3600)))
            (written,) = await bench.until(1)
            assert written["nonce"] == before + 3
            client.ahead = 0
            passed = 7200 if late else 0
            result = await call
            if not late:
                # Later calls wait for nothing.
                assert (await sender.execute(bench.transfer("two"))).succeeded
    assert result.status is (ResultStatus.EXPIRED if late else ResultStatus.CONFIRMED)
    assert await bench.received() == (0 if late else 10)


async def test_next_nonce__endpoint_counts_no_pool__what_is_in_it_is_not_sent_again(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    async with PoolBlindClient(bench.config) as client, running(bench.sender(client=client)) as sender:
        calls = [asyncio.create_task(sender.execute(bench.transfer(f"key {n}", 1))) for n in range(MANY // 2)]
        for written in await bench.until(MANY // 2):
            await wait_for_pool(bench, written["hash"])
        # A few for each of them at most; with all that are before it they would be some two hundred.
        assert client.sent < FEW * MANY // 2
        await bench.rpc("anvil_mine", "0x1")
        assert all(result.succeeded for result in await asyncio.gather(*calls))
    assert await bench.received() == MANY // 2


async def test_next_nonce__chain_lost_very_many__all_are_sent_again_in_small_numbers(bench: Bench) -> None:
    snapshot = await bench.rpc("evm_snapshot")
    async with LaggingClient(bench.config) as client, running(bench.sender(client=client)) as sender:
        await asyncio.gather(*(sender.execute(bench.transfer(f"key {n}", 1)) for n in range(MANY)))
        await bench.rpc("evm_revert", snapshot)
        client.sent = 0
        assert (await sender.execute(bench.transfer("another", 1))).succeeded
        assert client.sent < FEW * MANY
    assert await bench.received() == MANY + 1


class LateReceipts(ChainClient):
    """Counts a transaction long before it shows its receipt, as nodes do whose indices lag behind."""

    hidden = 40

    async def receipt(self, transaction_hash: TransactionHash) -> Receipt | None:
        if self.hidden:
            self.hidden -= 1
            return None
        return await super().receipt(transaction_hash)


async def test_execute__receipt_comes_long_after_the_count__is_waited_for_and_sent_once(bench: Bench) -> None:
    async with LateReceipts(bench.config) as client, running(bench.sender(client=client)) as sender:
        result = await sender.execute(bench.transfer("one"))
        assert client.hidden == 0
    assert result.succeeded
    assert [row["state"] for row in await bench.attempts()] == ["CONFIRMED"]
    assert await bench.received() == 5


async def test_execute__nonce_went_to_another__is_planned_anew_only_once_that_is_final(bench: Bench) -> None:
    reorganisable = bench.config.model_copy(update={"max_reorg_depth": 3})
    now = time.time()
    await bench.rpc("evm_setAutomine", False)
    async with (
        CountingClient(reorganisable) as client,
        running(TransactionSender(bench.pool, client, SIGNER, QUICK, clock=lambda: now)) as sender,
    ):
        call = asyncio.create_task(sender.execute(bench.transfer("one")))
        (written,) = await bench.until(1)
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_dropAllTransactions")
        await self_transfer(bench)
        await bench.rpc("anvil_mine", "0x3")
        now += 10 * QUICK.replace_after_seconds
        await client.looks(20)
        # A reorganisation could still undo it, and include ours instead; a higher price would not.
        assert [row["state"] for row in await bench.attempts()] == ["BROADCAST"]
        await bench.rpc("evm_setAutomine", True)
        await bench.rpc("anvil_mine", "0x1")
        result = await call
    assert result.succeeded
    assert [(row["nonce"] - written["nonce"], row["state"]) for row in await bench.attempts()] == [
        (0, "REJECTED"),
        (1, "CONFIRMED"),
    ]
    assert await bench.received() == 5


async def test_execute__would_revert__is_named_and_not_sent(bench: Bench) -> None:
    before = await bench.client.nonce(SIGNER.address)
    too_much = await bench.token.balance_of(SIGNER.address) + 1
    async with running(bench.sender()) as sender:
        refused = await sender.execute(bench.transfer("one", too_much))
        assert refused == TransactionResult(None, ResultStatus.REJECTED, revert="ERC20InsufficientBalance")
        assert await bench.attempts() == []
        assert await bench.client.nonce(SIGNER.address) == before
        mint = bench.token.encode_mint(SIGNER.address, 1)
        assert (await sender.execute(TransactionRequest("mint", bench.token.address, mint))).succeeded
        # What the contract refused may be right later: the key is not used up.
        assert (await sender.execute(bench.transfer("one", too_much))).succeeded


async def test_execute__out_of_funds__pauses_until_there_is_money(bench: Bench) -> None:
    await bench.rpc("anvil_setBalance", format_address(SIGNER.address), hex(10**9))
    async with running(bench.sender()) as sender:
        with pytest.raises(SignerOutOfFunds):
            await sender.execute(bench.transfer("late", deadline=time.time() + 3))
        assert sender.paused is not None
        waiting = asyncio.create_task(sender.execute(bench.transfer("one")))
        await asyncio.wait([waiting], timeout=0.2)
        assert not waiting.done()
        await bench.rpc("anvil_setBalance", format_address(SIGNER.address), hex(10**18))
        assert (await waiting).succeeded
        assert sender.paused is None
    assert await bench.received() == 5


async def test_execute__stuck__is_replaced_at_the_same_nonce_for_at_least_13_percent_more(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    settings = replace(QUICK, replace_after_seconds=0.3)
    async with running(bench.sender(settings)) as sender:
        call = asyncio.create_task(sender.execute(bench.transfer("one")))
        first, second = (await bench.until(2))[:2]
        await wait_for_pool(bench, second["hash"])
        await bench.rpc("anvil_mine", "0x1")
        result = await call
    assert result.succeeded
    assert second["nonce"] == first["nonce"]
    assert second["replacement_of"] == first["id"]
    assert second["max_fee"] * 100 >= first["max_fee"] * 113
    assert second["priority_fee"] * 100 >= first["priority_fee"] * 113
    states = [row["state"] for row in await bench.attempts()]
    assert states.count("CONFIRMED") == 1
    assert states.count("REPLACED") == len(states) - 1
    assert await bench.received() == 5


async def test_execute__deadline_passes_while_pending__a_self_transfer_takes_the_nonce(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    async with running(bench.sender()) as sender:
        call = asyncio.create_task(sender.execute(bench.transfer("one", deadline=time.time() + 3)))
        written = await bench.until(2)
        assert [row["purpose"] for row in written] == ["CALL", "CANCEL"]
        await wait_for_pool(bench, written[1]["hash"])
        await bench.rpc("anvil_mine", "0x1")
        assert await call == TransactionResult(None, ResultStatus.EXPIRED)
    assert [row["state"] for row in await bench.attempts()] == ["REPLACED", "CONFIRMED"]
    assert await bench.received() == 0


async def test_execute__lost_and_late_while_fees_are_above_the_cap__a_self_transfer_may_pay_more(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    above = QUICK.max_fee_cap * 6 // 5
    # More than the chain takes, less than the double that it suggests.
    settings = replace(QUICK, max_cancel_fee_cap=above * 3 // 2)
    now = time.time()
    sender = TransactionSender(bench.pool, bench.client, SIGNER, settings, clock=lambda: now)
    async with running(sender):
        call = asyncio.create_task(sender.execute(bench.transfer("one", deadline=now + 60)))
        (written,) = await bench.until(1)
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_dropAllTransactions")
        await mine_at_base_fee(bench, above)
        now += 3600
        cancel = next(row for row in await bench.until(2) if row["purpose"] == "CANCEL")
        await wait_for_pool(bench, cancel["hash"])
        await bench.rpc("anvil_mine", "0x1")
        assert await call == TransactionResult(None, ResultStatus.EXPIRED)
        # Nothing is left in the way of what comes next.
        await mine_at_base_fee(bench, 10**9)
        await bench.rpc("evm_setAutomine", True)
        assert (await sender.execute(bench.transfer("two", 7))).succeeded
    assert await bench.received() == 7


async def test_execute__lost_and_late_while_fees_are_above_all_caps__no_self_transfer_until_they_fall(
    bench: Bench,
) -> None:
    await bench.rpc("evm_setAutomine", False)
    settings = replace(QUICK, max_cancel_fee_cap=QUICK.max_fee_cap)
    now = time.time()
    async with (
        CountingClient(bench.config) as client,
        running(TransactionSender(bench.pool, client, SIGNER, settings, clock=lambda: now)) as sender,
    ):
        call = asyncio.create_task(sender.execute(bench.transfer("one", deadline=now + 60)))
        (written,) = await bench.until(1)
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_dropAllTransactions")
        await mine_at_base_fee(bench, QUICK.max_fee_cap * 6 // 5)
        for _ in range(3):
            now += 3600
            await client.looks(3)
        assert len(await bench.attempts()) == 1
        await mine_at_base_fee(bench, 10**9)
        now += 3600
        cancel = (await bench.until(2))[1]
        await wait_for_pool(bench, cancel["hash"])
        await bench.rpc("anvil_mine", "0x1")
        assert await call == TransactionResult(None, ResultStatus.EXPIRED)


async def test_execute__reverts_when_included__is_told_with_its_name_and_for_good(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    async with running(bench.sender()) as sender:
        call = asyncio.create_task(sender.execute(bench.transfer("one")))
        (written,) = await bench.until(1)
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_setCode", format_address(bench.token.address), REVERTS_INVALID_ORDER_STATUS)
        await bench.rpc("anvil_mine", "0x1")
        result = await call
        assert (result.status, result.revert, result.hash) == (
            ResultStatus.REVERTED,
            "InvalidOrderStatus",
            written["hash"],
        )
        assert (await sender.execute(bench.transfer("one"))).status is ResultStatus.REVERTED
    assert [row["state"] for row in await bench.attempts()] == ["REVERTED"]


async def test_execute__dropped_from_the_pool__is_sent_again(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    async with running(bench.sender()) as sender:
        call = asyncio.create_task(sender.execute(bench.transfer("one")))
        (written,) = await bench.until(1)
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_dropAllTransactions")
        await wait_for_pool(bench, written["hash"])
        await bench.rpc("anvil_mine", "0x1")
        assert (await call).hash == written["hash"]
    assert len(await bench.attempts()) == 1


async def test_next_nonce__chain_fell_back__what_it_lost_is_sent_again_first(bench: Bench) -> None:
    snapshot = await bench.rpc("evm_snapshot")
    async with running(bench.sender()) as sender:
        lost = await sender.execute(bench.transfer("one", 5))
        await bench.rpc("evm_revert", snapshot)
        assert await bench.received() == 0
        assert (await sender.execute(bench.transfer("two", 7))).succeeded
        assert await bench.received() == 12
        assert (await sender.execute(bench.transfer("one", 5))).hash == lost.hash


async def test_lease__another_process_sends_for_the_signer__one_at_a_time(bench: Bench) -> None:
    first, second = bench.sender(), bench.sender()
    async with running(second):
        async with running(first), sending(bench, first) as call:
            with pytest.raises(SignerBusy):
                await second.execute(bench.transfer("two", deadline=time.time() + 3))
            await bench.rpc("anvil_mine", "0x1")
            # The outcome of the other process is told; a transaction of one's own has to wait.
            assert (await second.execute(bench.transfer("one"))).hash == (await call).hash
        assert (await second.execute(bench.transfer("two"))).succeeded


async def test_lease__another_process_has_nothing_left_to_do__is_free(bench: Bench) -> None:
    async with running(bench.sender()) as first, running(bench.sender()) as second:
        assert await first.recover() == []
        for number in range(3):
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await second.execute(bench.transfer(f"second {number}"))).succeeded
                assert (await first.execute(bench.transfer(f"first {number}"))).succeeded
    assert await bench.received() == 30


async def test_lease__held_by_another__is_told_long_before_the_deadline(bench: Bench) -> None:
    async with running(bench.sender()) as first, running(bench.sender()) as second, sending(bench, first):
        async with asyncio.timeout(WAIT_SECONDS):
            with pytest.raises(SignerBusy):
                await second.execute(bench.transfer("two", deadline=time.time() + 3600))
        assert [row["key"] for row in await bench.attempts()] == ["one"]


async def test_lease__held_by_another_that_does_not_go_on_with_the_same_call__is_told_and_sent_once(
    bench: Bench,
) -> None:
    async with DyingClient(bench.config) as hanging, running(bench.sender()) as second:
        async with running(bench.sender(client=hanging)) as first:
            call = asyncio.create_task(first.execute(bench.transfer("one")))
            await bench.until(1)
            async with asyncio.timeout(WAIT_SECONDS):
                with pytest.raises(SignerBusy):
                    await second.execute(bench.transfer("one"))
        await asyncio.wait([call])
        assert (await second.execute(bench.transfer("one"))).succeeded
    assert len(await bench.attempts()) == 1
    assert await bench.received() == 5


async def test_lease__held_by_another_while_the_deadline_passes_in_a_rest__is_told_as_that(bench: Bench) -> None:
    now = time.time()

    async def rest_for_too_long(_: float) -> None:
        nonlocal now
        now += 60

    late = TransactionSender(bench.pool, bench.client, SIGNER, QUICK, clock=lambda: now, sleep=rest_for_too_long)
    async with running(bench.sender()) as first, running(late), sending(bench, first):
        with pytest.raises(SignerBusy):
            await late.execute(bench.transfer("two", deadline=now + 2 * QUICK.recheck_seconds))


async def test_ledger__a_final_row__never_changes(bench: Bench) -> None:
    async with running(bench.sender()) as sender:
        await sender.execute(bench.transfer("one"))
    with pytest.raises(asyncpg.IntegrityConstraintViolationError, match="for good"):
        await bench.pool.execute("UPDATE transactions.attempts SET state = 'BROADCAST'")


async def wait_for_pool(bench: Bench, transaction_hash: bytes) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while await bench.client.transaction(TransactionHash(transaction_hash)) is None:  # noqa: ASYNC110 (another process's)
            await asyncio.sleep(0.02)


async def self_transfer(bench: Bench) -> None:
    """A transaction of the signer that the ledger knows nothing of."""
    sender = format_address(SIGNER.address)
    await bench.rpc("eth_sendTransaction", {"from": sender, "to": sender, "value": "0x0"})


async def mine_at_base_fee(bench: Bench, fee: int) -> None:
    """A block with this base fee, in wei per gas: the next one's differs by an eighth at most."""
    await bench.rpc("anvil_setNextBlockBaseFeePerGas", hex(fee))
    await bench.rpc("anvil_mine", "0x1")


class RefusingReplacements(ChainClient):
    """Takes the first transaction and no other."""

    taken = False

    async def send_raw(self, raw: bytes) -> TransactionHash:
        if self.taken:
            raise EndpointError(self.chain_id, -32000, "insufficient funds for gas * price + value")
        self.taken = True
        return await super().send_raw(raw)


async def test_execute__node_refuses_the_cancellation__is_not_flooded_with_others(bench: Bench) -> None:
    await bench.rpc("evm_setAutomine", False)
    async with RefusingReplacements(bench.config) as client, running(bench.sender(client=client)) as sender:
        pending = asyncio.create_task(sender.execute(bench.transfer("k", deadline=time.time() + 0.2)))
        await bench.until(1, "REJECTED")
        # Only time can show that something does not happen.
        await asyncio.sleep(1.0)
        assert len(await bench.attempts()) == 2
        await bench.rpc("evm_mine")
        assert (await pending).status is ResultStatus.CONFIRMED
