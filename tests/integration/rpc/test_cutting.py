"""Calls are ended one by one, whoever else is being served."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from intentmesh.rpc.cutting import Task, cut_off

DEADLINE_SECONDS = 15.0
Call = tuple[Any, Task]


class _Endless(grpc.GenericRpcHandler):
    """Streams that say one word and then nothing, until they are ended."""

    def __init__(self) -> None:
        self.handlers: asyncio.Queue[Task] = asyncio.Queue()

    def service(self, _: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(self._serve)

    async def _serve(self, _: bytes, context: Any) -> None:
        await context.write(b"here")
        handler = asyncio.current_task()
        assert handler is not None
        self.handlers.put_nowait(handler)
        del context
        await asyncio.Event().wait()


@asynccontextmanager
async def _calls(count: int) -> AsyncIterator[list[Call]]:
    endless = _Endless()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((endless,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch: Any = channel.unary_stream("/endless/Watch")
        calls = []
        for _ in range(count):
            call = watch(b"")
            assert await call.read() == b"here"
            calls.append((call, await endless.handlers.get()))
        try:
            yield calls
        finally:
            for call, _ in calls:
                call.cancel()
            await server.stop(None)


async def test_cut_off__some_of_many_calls__the_others_go_on() -> None:
    async with _calls(6) as calls:
        assert await cut_off([handler for _, handler in calls[1:3]]) == 2
        for call, handler in calls[1:3]:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asyncio.wait_for(call.read(), DEADLINE_SECONDS)
            assert caught.value.code() is grpc.StatusCode.CANCELLED
            assert handler.done()
        for call, handler in calls[:1] + calls[3:]:
            assert not call.done()
            assert not handler.done()


async def test_cut_off__handler_that_has_ended__is_not_counted() -> None:
    async with _calls(2) as ((call, ended), _):
        ended.cancel()
        await asyncio.wait([ended])
        assert await cut_off([ended]) == 0
        assert not call.done()


async def test_cut_off__thousands_of_tasks__others_have_their_turn_meanwhile() -> None:
    turns = 0

    async def take_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def wait() -> None:
        await asyncio.Event().wait()

    others = [asyncio.create_task(wait()) for _ in range(5_000)] + [asyncio.create_task(take_turns())]
    await asyncio.sleep(0)
    before = turns
    assert await cut_off([]) == 0
    assert turns - before >= 5
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
