"""The client against servers that break, lie, fall silent and come back."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from intentmesh.client import MeshClient
from intentmesh.client.retry import RetryPolicy
from intentmesh.client.watching import WatchGapError, WatchPolicy
from intentmesh.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from intentmesh.v1 import intake_service_pb2, order_pb2, status_service_pb2
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.event_pb2 import IntentEvent
from intentmesh.v1.intake_service_pb2_grpc import IntakeServiceServicer, add_IntakeServiceServicer_to_server
from intentmesh.v1.intent_pb2 import Intent, IntentType
from intentmesh.v1.status_service_pb2_grpc import StatusServiceServicer

from tests.integration.rpc.serving import INTENT_ID, status_server

QUICK = RetryPolicy(base_seconds=0.01, cap_seconds=0.05)
Message = status_service_pb2.WatchIntentResponse
Turn = list[Any]
"""What one stream does: messages to send, exceptions to raise, `silence`."""


async def silence() -> None:
    await asyncio.sleep(60)


def events(*sequences: int) -> Message:
    return Message(events=[IntentEvent(intent_id=INTENT_ID, sequence=s) for s in sequences])


class Scripted(StatusServiceServicer):
    """Each stream does what the next turn says, and remembers what was asked."""

    def __init__(self, *turns: Turn) -> None:
        self.turns = list(turns)
        self.requests: list[Any] = []

    async def _play(self, request: Any) -> Any:
        self.requests.append(request)
        for step in self.turns.pop(0):
            if isinstance(step, Exception):
                raise step
            if step is silence:
                await silence()
            else:
                yield step

    async def WatchIntent(self, request, context):  # noqa: N802, ARG002
        async for message in self._play(request):
            yield message

    async def WatchIntents(self, request, context):  # noqa: N802, ARG002
        async for message in self._play(request):
            yield message


async def watched(servicer: Scripted, *, after: int = 0, **policy: Any) -> list[int]:
    watch = WatchPolicy(retry=QUICK, **policy)
    async with status_server(servicer) as running, MeshClient(running.target, watch=watch) as client:
        return [event.sequence async for event in client.watch(INTENT_ID, after)]


async def test_watch__breaks_and_repetitions__yields_each_event_once_in_order() -> None:
    closed = Unavailable("planned", reason=ErrorReason.ERROR_REASON_STREAM_CLOSED, retry_after=0.01)
    slow = ResourceExhausted("slow", reason=ErrorReason.ERROR_REASON_SLOW_READER)
    servicer = Scripted(
        [events(1, 2), closed],
        [Message(), events(2, 3), slow],
        [Unavailable("away")],
        [events(3), events(4, 5)],
    )
    assert await watched(servicer) == [1, 2, 3, 4, 5]
    assert [r.after_sequence for r in servicer.requests] == [0, 2, 3, 3]


@pytest.mark.parametrize("reason", [ErrorReason.ERROR_REASON_RATE_LIMITED, ErrorReason.ERROR_REASON_OVERLOADED])
async def test_watch__refused_for_a_while__comes_back_when_it_may(reason: ErrorReason.ValueType) -> None:
    refused = ResourceExhausted("busy", reason=reason, retry_after=0.3)
    servicer = Scripted([events(1), Unavailable("away")], [refused], [refused], [events(2)])
    started = time.monotonic()
    assert await watched(servicer) == [1, 2]
    assert [r.after_sequence for r in servicer.requests] == [0, 1, 1, 1]
    assert 0.6 <= time.monotonic() - started < 5


async def test_watch__refused_without_a_time_to_come_back__is_raised_at_once() -> None:
    servicer = Scripted([ResourceExhausted("no", reason=ErrorReason.ERROR_REASON_TOO_LARGE)])
    with pytest.raises(ResourceExhausted):
        await watched(servicer)
    assert len(servicer.requests) == 1


async def test_watch__after_a_sequence__asks_and_yields_from_there() -> None:
    servicer = Scripted([events(3, 4)])
    assert await watched(servicer, after=2) == [3, 4]
    assert servicer.requests[0].after_sequence == 2


async def test_watch__silence_of_two_heartbeats__takes_the_stream_for_dead() -> None:
    servicer = Scripted([events(1), silence], [events(2)])
    started = time.monotonic()
    assert await watched(servicer, silence_seconds=0.3) == [1, 2]
    assert 0.3 <= time.monotonic() - started < 5


async def test_watch__a_gap__is_an_error_and_no_silent_loss() -> None:
    with pytest.raises(WatchGapError, match="event 2"):
        await watched(Scripted([events(1, 3)]))


@pytest.mark.parametrize("error", [NotFound("no such intent"), InvalidArgument("bad")])
async def test_watch__an_error_that_stays__is_raised_at_once(error: MeshError) -> None:
    servicer = Scripted([error])
    with pytest.raises(type(error)):
        await watched(servicer)
    assert len(servicer.requests) == 1


async def test_watch__breaks_without_end__gives_up_with_the_last_error() -> None:
    servicer = Scripted(*[[Unavailable("away")] for _ in range(4)])
    with pytest.raises(Unavailable, match="away"):
        await watched(servicer, attempts=3)
    assert len(servicer.requests) == 4


async def test_watch__server_restarted_on_its_port__goes_on() -> None:
    first = Scripted([events(1), silence])
    got: list[int] = []
    one = asyncio.Event()

    async def follow(target: str) -> None:
        async with MeshClient(target, watch=WatchPolicy(retry=QUICK, attempts=200)) as client:
            async for event in client.watch(INTENT_ID):
                got.append(event.sequence)
                one.set()

    async with status_server(first, grace_seconds=0.1) as running:
        follower = asyncio.create_task(follow(running.target))
        await one.wait()
    async with status_server(Scripted([events(2, 3)]), listen=running.target):
        await asyncio.wait_for(follower, 20)
    assert got == [1, 2, 3]


async def test_watch_all__a_break__resumes_with_the_last_token() -> None:
    bookmark = status_service_pb2.WatchIntentsResponse
    servicer = Scripted(
        [bookmark(resume_token="a"), bookmark(resume_token="b"), Unavailable("x")], [bookmark(resume_token="c")]
    )
    request = status_service_pb2.WatchIntentsRequest(user="0x" + "1" * 40, from_start=True)
    watch = WatchPolicy(retry=QUICK)
    async with status_server(servicer) as running, MeshClient(running.target, watch=watch) as client:
        tokens = [message.resume_token async for message in client.watch_all(request)]
    assert tokens == ["a", "b", "c"]
    assert [(r.resume_token, r.from_start) for r in servicer.requests] == [("", True), ("b", False)]
    assert all(r.user == request.user for r in servicer.requests)


async def test_watch_all__token_of_another_database__is_raised() -> None:
    error = FailedPrecondition("re-read", reason=ErrorReason.ERROR_REASON_EPOCH_CHANGED)
    async with status_server(Scripted([error])) as running, MeshClient(running.target) as client:
        with pytest.raises(FailedPrecondition) as caught:
            _ = [message async for message in client.watch_all(token="old")]
    assert caught.value.reason == ErrorReason.ERROR_REASON_EPOCH_CHANGED


class Flaky(StatusServiceServicer):
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    async def GetIntentStatus(self, request, context):  # noqa: N802, ARG002
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return status_service_pb2.GetIntentStatusResponse(intent_id=request.intent_id, sequence=request.min_sequence)


async def ask(servicer: Flaky, **options: Any) -> status_service_pb2.GetIntentStatusResponse:
    async with status_server(servicer) as running, MeshClient(running.target, retry=QUICK, **options) as client:
        return await client.get_status(INTENT_ID, min_sequence=4)


async def test_call__unavailable_for_a_while__is_tried_again_after_the_time_asked_for() -> None:
    servicer = Flaky(Unavailable("a", retry_after=0.2), Unavailable("b"))
    started = time.monotonic()
    assert (await ask(servicer)).sequence == 4
    assert servicer.calls == 3
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(
    ("make", "calls"),
    [
        (lambda: Unavailable("always"), 4),
        (lambda: InvalidArgument("never"), 1),
        (lambda: ResourceExhausted("limit", retry_after=60), 1),
        (lambda: Unavailable("too long a wait", retry_after=60), 1),
    ],
)
async def test_call__that_keeps_failing__raises_the_typed_error(make: Callable[[], MeshError], calls: int) -> None:
    servicer = Flaky(*[make() for _ in range(10)])
    with pytest.raises(type(make())):
        await ask(servicer)
    assert servicer.calls == calls


async def test_call__nobody_listens__is_unavailable_within_the_deadline() -> None:
    async with MeshClient("127.0.0.1:1", retry=QUICK, timeout_seconds=5) as client:
        with pytest.raises(Unavailable):
            await client.get_status(INTENT_ID)


class Intake(IntakeServiceServicer):
    async def SubmitIntent(self, request, context):  # noqa: N802, ARG002
        return intake_service_pb2.SubmitIntentResponse(intent_id=request.request_id, created=True)

    async def ListIntents(self, request, context):  # noqa: N802, ARG002
        page = int(request.page_token or "0")
        intents = [Intent(intent_id=f"{page}.{i}") for i in range(2)]
        more = str(page + 1) if page < 2 else ""
        return intake_service_pb2.ListIntentsResponse(intents=intents, next_page_token=more)


def order() -> order_pb2.Order:
    address, word = "0x" + "1" * 40, "0x" + "2" * 64
    output = order_pb2.OrderOutput(oracle=word, settler=word, chain_id=1, token=word, amount="1", recipient=address)
    return order_pb2.Order(
        user=address,
        nonce="0",
        origin_chain_id=1,
        expires=2,
        fill_deadline=1,
        input_oracle=address,
        inputs=[order_pb2.OrderInput(token=address, amount="1")],
        outputs=[output],
    )


async def test_client__submit_and_list__speak_to_their_own_targets() -> None:
    async with (
        status_server(Flaky(), lambda server: add_IntakeServiceServicer_to_server(Intake(), server)) as intake,
        status_server(Flaky()) as status,
        MeshClient(intake.target, status_target=status.target) as client,
    ):
        answer = await client.submit(order(), b"\x00" * 66, IntentType.INTENT_TYPE_SWAP, request_id="r")
        assert (answer.intent_id, answer.created) == ("r", True)
        assert (await client.get_status(INTENT_ID)).intent_id == INTENT_ID
        listed = [intent.intent_id async for intent in client.list_intents()]
        assert listed == ["0.0", "0.1", "1.0", "1.1", "2.0", "2.1"]
        with pytest.raises(MeshError) as caught:
            await client.solvers()
        assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)
