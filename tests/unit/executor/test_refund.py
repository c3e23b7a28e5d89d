import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from intentmesh.executor import refund as module
from intentmesh.executor.alerts import Alert
from intentmesh.executor.refund import RefundStep
from intentmesh.transactions.model import (
    ResultStatus,
    SignerBusy,
    SignerOutOfFunds,
    TransactionRequest,
    TransactionResult,
)

from tests.unit.executor.orders import EXPIRES, ORIGIN, order

QUICK = ["refund", "refund:2", "refund:3", "refund:4", "refund:5"]
HOUR = 3600.0


class Sender:
    """The outcomes of requests by key, as a ledger keeps them; what is asked anew is included."""

    paused: str | None = None

    def __init__(self, ended: dict[str, ResultStatus] | None = None, *, fails: Exception | None = None) -> None:
        self.ended = ended or {}
        self._fails = fails
        self.keys: list[str] = []

    async def execute(self, request: TransactionRequest) -> TransactionResult:
        key = request.key.partition(":")[2]
        self.keys.append(key)
        if self._fails is not None:
            raise self._fails
        return TransactionResult(None, self.ended.get(key, ResultStatus.CONFIRMED))


class Waiting(Sender):
    """For what never comes: the lease of another process, an inclusion, funds."""

    async def execute(self, request: TransactionRequest) -> TransactionResult:
        self.keys.append(request.key.partition(":")[2])
        await asyncio.Event().wait()
        raise AssertionError("it never comes")


class Refunds:
    """The step of one process, at a time of the test's choosing, and the alerts it raised."""

    def __init__(self, sender: Sender) -> None:
        self.now = float(EXPIRES)
        self.alerts: list[Alert] = []
        self.sender = sender
        config: Any = SimpleNamespace(input_settler=b"\x01" * 20)
        clients: Any = SimpleNamespace(of=lambda _: SimpleNamespace(config=config))
        alerts: Any = SimpleNamespace(raise_alert=self.alerts.append)
        fake: Any = sender
        self._step = RefundStep({ORIGIN: fake}, clients, alerts, lambda: self.now)

    async def look(self, after: float = 0.0, intent: str = "0x01") -> tuple[Sequence[str], Sequence[str]]:
        """What was asked of the sender, and the names of the alerts, so many seconds later."""
        self.now += after
        self.sender.keys.clear()
        self.alerts.clear()
        work: Any = SimpleNamespace(text_id=intent, order=order(), row=SimpleNamespace(input_settler=b"\x01" * 20))
        await self._step.refund(work)
        return list(self.sender.keys), [alert.name for alert in self.alerts]


async def test_refund__first_one_reverted__is_tried_under_another_key() -> None:
    # The key of a reverted transaction is spent: under it alone the user's funds would stay where they are.
    assert await Refunds(Sender({"refund": ResultStatus.REVERTED})).look() == (["refund", "refund:2"], [])


async def test_refund__would_revert__is_left_for_the_next_look() -> None:
    assert await Refunds(Sender({"refund": ResultStatus.REJECTED})).look() == (["refund"], [])


async def test_refund__reverted_time_and_again__is_told_and_tried_once_an_hour() -> None:
    refunds = Refunds(Sender(dict.fromkeys(QUICK, ResultStatus.REVERTED)))
    assert await refunds.look() == (QUICK, ["RefundFailing"])
    # Alerts are told once by their own doing. What is spent is not asked about again.
    assert await refunds.look(HOUR / 2) == ([], ["RefundFailing"])
    refunds.sender.ended["refund:6"] = ResultStatus.REVERTED
    assert await refunds.look(HOUR / 2) == (["refund:6"], ["RefundFailing"])
    assert await refunds.look(HOUR / 2) == ([], ["RefundFailing"])
    keys, _ = await refunds.look(HOUR / 2)
    assert keys == ["refund:7"], "the trouble may pass"


async def test_refund__reverted_time_and_again_under_another_process__is_taken_up_where_that_was() -> None:
    sender = Sender(dict.fromkeys([*QUICK, "refund:6"], ResultStatus.REVERTED))
    assert await Refunds(sender).look(HOUR * 1.5) == ([*QUICK, "refund:6"], ["RefundFailing"])


@pytest.mark.parametrize(
    "sender",
    [
        pytest.param(Sender({"refund": ResultStatus.REJECTED}), id="the contract refuses"),
        pytest.param(Sender({"refund": ResultStatus.EXPIRED}), id="not included in time"),
        pytest.param(Sender(fails=SignerOutOfFunds("no gas")), id="no funds"),
    ],
)
async def test_refund__not_done_long_after_the_order_expired__is_told(sender: Sender) -> None:
    refunds = Refunds(sender)
    assert await refunds.look() == (["refund"], [])
    assert await refunds.look(HOUR) == (["refund"], ["RefundFailing"])


async def test_refund__takes_its_time__the_intent_rests_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.01)
    refunds = Refunds(Waiting())
    async with asyncio.timeout(30):
        assert await refunds.look(HOUR) == (["refund"], [])
        # It waits for funds, which nobody else will tell of.
        refunds.sender.paused = "holds 0 wei"
        assert await refunds.look() == (["refund"], ["RefundFailing"])


@pytest.mark.parametrize(
    "sender", [pytest.param(Waiting(), id="inclusion"), pytest.param(Sender(fails=SignerBusy("taken")), id="lease")]
)
async def test_refund__under_way_for_too_long__is_told(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WAIT_SECONDS", 0.01)
    refunds = Refunds(sender)
    # The executor may have been away: that the order expired long ago says nothing yet.
    assert await refunds.look(2 * HOUR) == (["refund"], [])
    assert await refunds.look(HOUR) == (["refund"], ["RefundFailing"])


async def test_refund__many_of_a_signer_without_funds__one_finds_out_and_the_others_take_no_time() -> None:
    sender = Waiting()
    sender.paused = "holds 0 wei"
    refunds = Refunds(sender)
    finds_out = asyncio.create_task(refunds.look(HOUR))
    await asyncio.sleep(0)
    async with asyncio.timeout(module._WAIT_SECONDS / 2):
        for number in range(2, 50):
            assert await refunds.look(intent=f"0x{number}") == ([], ["RefundFailing"])
    finds_out.cancel()
    await asyncio.gather(finds_out, return_exceptions=True)
    another = asyncio.create_task(refunds.look(intent="0x02"))
    await asyncio.sleep(0)
    assert sender.keys == ["refund"], "whoever found out is gone"
    another.cancel()
