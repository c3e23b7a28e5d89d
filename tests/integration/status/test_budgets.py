"""Budgets for looking: generous, apart from those for acting, shared by replicas, and never gone with Valkey."""

import asyncio
from typing import Any

import grpc
import pytest
from intentmesh.client.watching import WatchPolicy, watch_intent
from intentmesh.domain.errors import MeshError, ResourceExhausted
from intentmesh.rpc.errors import mesh_error_from_rpc
from intentmesh.rpc.leases import Limit
from intentmesh.rpc.metrics import RATE_LIMITER_FALLBACKS, RATE_LIMITER_LEASES
from intentmesh.rpc.principals import PRINCIPAL_HEADER, TOKEN_HEADER
from intentmesh.status.budgets import Limits
from intentmesh.status.metrics import STREAM_CLOSES
from intentmesh.status.settings import StatusSettings
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.status_service_pb2 import GetIntentStatusRequest, WatchEnd, WatchIntentRequest, WatchIntentsRequest

from tests.fixtures.intents import COMPLETED
from tests.integration.status.replicas import DEADLINE_SECONDS, Mesh, Reader, eventually, id_of

TOKEN = "shown by the services of these tests"
SHOP = ((TOKEN_HEADER, TOKEN), (PRINCIPAL_HEADER, "service:shop"))
END = WatchEnd.WATCH_END_TERMINAL
NOWHERE = "redis://127.0.0.1:1/0"


def _limits_told(metadata: Any) -> tuple[str, str]:
    told = dict(metadata)
    assert 0 < int(told["ratelimit-reset"]) <= 60
    return told["ratelimit-limit"], told["ratelimit-remaining"]


async def _refused_read(call: Any) -> MeshError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return mesh_error_from_rpc(caught.value)


def _is_rate_limit(error: MeshError, limit: int) -> None:
    assert isinstance(error, ResourceExhausted)
    assert error.reason == ErrorReason.ERROR_REASON_RATE_LIMITED
    assert error.metadata == {"limit": str(limit), "window_seconds": "60"}
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 60


async def test_reads__over_the_budget__are_refused_by_every_replica_and_watches_are_not(mesh: Mesh) -> None:
    row = await mesh.store()
    ask = GetIntentStatusRequest(intent_id=id_of(row))
    async with mesh.replica(reads_per_minute=3) as one, mesh.replica(reads_per_minute=3) as other:
        for stub, left in ((one, "2"), (other, "1"), (one, "0")):
            call = stub.GetIntentStatus(ask)
            await call
            assert _limits_told(await call.trailing_metadata()) == ("3", left)
        for stub in (one, other):
            call = stub.GetIntentStatus(ask)
            error = await _refused_read(call)
            _is_rate_limit(error, 3)
            assert _limits_told(await call.trailing_metadata()) == ("3", "0")
            reader = Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
            await reader.until(lambda r: len(r.events) == 1)
            reader.call.cancel()


@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("method", ["GetIntentStatus", "WatchIntent", "WatchIntents"])
async def test_budgets__requests_that_cannot_be_read_or_break_rules__count_as_any(
    mesh: Mesh, method: str, noise: bool
) -> None:
    wrong = {
        "GetIntentStatus": GetIntentStatusRequest(intent_id="0x12"),
        "WatchIntent": WatchIntentRequest(intent_id="0x12"),
        "WatchIntents": WatchIntentsRequest(user="0x12"),
    }[method]
    async with mesh.replica(reads_per_minute=2, watches_per_minute=2) as stub:

        async def ask() -> MeshError:
            # The stub's own calls, with the bytes of our choice.
            call = getattr(stub, method)
            call._request_serializer = lambda _: b"\xff\xff\xff" if noise else wrong.SerializeToString()
            return await _refused_read(call(wrong) if method == "GetIntentStatus" else call(wrong).read())

        for _ in range(2):
            assert (await ask()).reason == ErrorReason.ERROR_REASON_INVALID_FIELD
        _is_rate_limit(await ask(), 2)


@pytest.mark.parametrize("of_one_intent", [True, False])
async def test_watches__opened_over_the_budget__are_refused_and_open_ones_and_reads_go_on(
    mesh: Mesh, of_one_intent: bool
) -> None:
    row = await mesh.store()

    def watch(stub: Any) -> Reader:
        if of_one_intent:
            return Reader(stub.WatchIntent(WatchIntentRequest(intent_id=id_of(row))))
        return Reader(stub.WatchIntents(WatchIntentsRequest(from_start=True)))

    method = "WatchIntent" if of_one_intent else "WatchIntents"
    refusals = STREAM_CLOSES.labels(method, "RATE_LIMITED")
    before = refusals._value.get()
    async with mesh.replica(watches_per_minute=2) as one, mesh.replica(watches_per_minute=2) as other:
        first, second = watch(one), watch(other)
        for reader in (first, second):
            await reader.until(lambda r: len(r.events) == 1)
        for stub in (one, other):
            refused = watch(stub)
            _is_rate_limit(await refused.failure(), 2)
            assert _limits_told(await refused.call.trailing_metadata()) == ("2", "0")
            assert (await stub.GetIntentStatus(GetIntentStatusRequest(intent_id=id_of(row)))).sequence == 1
        assert refusals._value.get() == before + 2
        await mesh.change(row.intent_id)
        for reader in (first, second):
            await reader.until(lambda r: len(r.events) == 2)
            reader.call.cancel()


async def test_watches__refused_for_want_of_room__use_up_no_budget(mesh: Mesh) -> None:
    row = await mesh.store()
    wanted = WatchIntentRequest(intent_id=id_of(row))
    async with mesh.replica(watches_per_minute=2, max_streams=1) as stub:
        first = Reader(stub.WatchIntent(wanted))
        await first.until(lambda r: len(r.events) == 1)
        for _ in range(3):
            error = await Reader(stub.WatchIntent(wanted)).failure()
            assert error.reason == ErrorReason.ERROR_REASON_OVERLOADED
        await mesh.change(row.intent_id, COMPLETED)
        await first.to_the_end()
        last = Reader(stub.WatchIntent(wanted))
        await last.to_the_end()
    assert last.sequences == [1, 2]


async def test_budgets__principals_of_class_service__have_their_own(mesh: Mesh) -> None:
    row = await mesh.store()
    ask, wanted = GetIntentStatusRequest(intent_id=id_of(row)), WatchIntentRequest(intent_id=id_of(row))
    await mesh.change(row.intent_id, COMPLETED)
    settings = {"internal_token": TOKEN, "reads_per_minute": 1, "watches_per_minute": 1}
    async with mesh.replica(**settings, service_reads_per_minute=3, service_watches_per_minute=3) as stub:
        for _ in range(3):
            assert (await stub.GetIntentStatus(ask, metadata=SHOP)).sequence == 2
            await Reader(stub.WatchIntent(wanted, metadata=SHOP)).to_the_end()
        _is_rate_limit(await _refused_read(stub.GetIntentStatus(ask, metadata=SHOP)), 3)
        _is_rate_limit(await Reader(stub.WatchIntent(wanted, metadata=SHOP)).failure(), 3)
        # Strangers share nothing with them.
        assert (await stub.GetIntentStatus(ask)).sequence == 2
        await Reader(stub.WatchIntent(wanted)).to_the_end()
        _is_rate_limit(await _refused_read(stub.GetIntentStatus(ask)), 1)
        _is_rate_limit(await Reader(stub.WatchIntent(wanted)).failure(), 1)


async def test_budgets__clients_behind_a_trusted_proxy__are_told_apart(mesh: Mesh) -> None:
    row = await mesh.store()
    ask = GetIntentStatusRequest(intent_id=id_of(row))
    async with mesh.replica(reads_per_minute=1, trusted_proxies=("127.0.0.0/8",)) as stub:
        for client in ("203.0.113.7", "203.0.113.8"):
            hop = (("x-forwarded-for", client),)
            await stub.GetIntentStatus(ask, metadata=hop)
            _is_rate_limit(await _refused_read(stub.GetIntentStatus(ask, metadata=hop)), 1)


async def test_budgets__valkey_away__the_replica_counts_alone(mesh: Mesh) -> None:
    row = await mesh.store()
    ask = GetIntentStatusRequest(intent_id=id_of(row))
    before = RATE_LIMITER_FALLBACKS._value.get()
    async with mesh.replica(valkey_url=NOWHERE, reads_per_minute=2) as stub:
        for _ in range(2):
            await stub.GetIntentStatus(ask)
        _is_rate_limit(await _refused_read(stub.GetIntentStatus(ask)), 2)
    assert RATE_LIMITER_FALLBACKS._value.get() == before + 3


async def test_reads__usual_budget__is_leased_so_that_most_ask_nobody(mesh: Mesh) -> None:
    row = await mesh.store()
    ask = GetIntentStatusRequest(intent_id=id_of(row))
    async with mesh.replica() as stub:
        before = RATE_LIMITER_LEASES._value.get()
        for _ in range(48):
            await stub.GetIntentStatus(ask)
        # Twelve at a time.
        assert RATE_LIMITER_LEASES._value.get() - before == 4


async def test_watch__closed_as_planned_more_often_than_the_budget_allows__waits_as_told_and_misses_nothing(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A window that a test can wait for. Who comes back at once comes back within it.
    monkeypatch.setattr(StatusSettings, "limits", lambda _: Limits(watches=Limit(1, 2)))
    row = await mesh.store()
    closes, refusals = (STREAM_CLOSES.labels("WatchIntent", why)._value for why in ("STREAM_CLOSED", "RATE_LIMITED"))
    closed_before, refused_before = closes.get(), refusals.get()
    async with mesh.replica(stream_age_seconds=0.2) as stub:

        async def watch() -> list[int]:
            return [event.sequence async for event in watch_intent(stub, WatchPolicy(), id_of(row), 0, END)]

        watching = asyncio.create_task(watch())
        for count, change in enumerate((None, COMPLETED), start=1):

            async def closed(count: int = count) -> bool:
                return watching.done() or closes.get() == closed_before + count

            await eventually(closed)
            await mesh.change(row.intent_id, change)
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert await watching == [1, 2, 3]
    assert refusals.get() >= refused_before + 2
