"""Channels to solvers: kept while they are of use, not for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from intentmesh.domain.errors import NotFound, Unavailable
from intentmesh.executor.gateway import MAX_IDLE_CHANNELS, OWN_CONNECTION, Solvers
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse
from intentmesh.v1.solver_service_pb2_grpc import SolverServiceServicer, add_SolverServiceServicer_to_server


class _Registry:
    """Each solver has a port of its own, on which nobody listens."""

    away = False

    async def endpoint(self, solver_id: str) -> str:
        if self.away:
            raise Unavailable("The registry is away.")
        if solver_id == "unknown":
            raise NotFound("No such solver.")
        return f"127.0.0.1:{solver_id}"


class _Opened:
    """What was opened, by endpoint."""

    def __init__(self) -> None:
        self.channels: list[tuple[str, grpc.aio.Channel]] = []

    def __call__(self, target: str) -> grpc.aio.Channel:
        channel = grpc.aio.insecure_channel(target, options=OWN_CONNECTION)
        self.channels.append((target, channel))
        return channel

    def still_open(self) -> set[str]:
        return {
            target for target, channel in self.channels if channel.get_state() is not grpc.ChannelConnectivity.SHUTDOWN
        }


@pytest.fixture
def opened() -> _Opened:
    return _Opened()


@pytest.fixture
def registry() -> Any:
    return _Registry()


async def _call(solvers: Solvers, solver_id: str) -> None:
    async with solvers.execute(solver_id, ExecuteRequest()):
        pass


async def test_execute__many_solvers__keeps_those_used_last_and_those_in_use(registry: Any, opened: _Opened) -> None:
    solvers = Solvers(registry, opened, lambda: 0.0)
    async with solvers.execute("1", ExecuteRequest()):
        for number in range(2, MAX_IDLE_CHANNELS + 4):
            await _call(solvers, str(number))
        await _call(solvers, "4")
        await _call(solvers, str(MAX_IDLE_CHANNELS + 4))
        gone = {"127.0.0.1:2", "127.0.0.1:3", "127.0.0.1:5"}
        assert {target for target, _ in opened.channels} - opened.still_open() == gone
    await _call(solvers, "2")
    assert "127.0.0.1:2" in opened.still_open()
    await solvers.close()
    assert opened.still_open() == set()


async def test_execute__same_solver_twice__is_one_channel(registry: Any, opened: _Opened) -> None:
    solvers = Solvers(registry, opened, lambda: 0.0)
    async with solvers.execute("1", ExecuteRequest()):
        await _call(solvers, "1")
    await _call(solvers, "1")
    assert len(opened.channels) == 1
    await solvers.close()


async def test_execute__registry_away__goes_to_the_endpoint_that_is_known(registry: Any, opened: _Opened) -> None:
    clock = iter([0.0, 3600.0, 3600.0])
    solvers = Solvers(registry, opened, lambda: next(clock))
    await _call(solvers, "1")
    registry.away = True
    await _call(solvers, "1")
    with pytest.raises(Unavailable):
        await _call(solvers, "2")
    await solvers.close()


async def test_execute__unknown_solver__is_what_the_registry_says(registry: Any, opened: _Opened) -> None:
    solvers = Solvers(registry, opened, lambda: 0.0)
    with pytest.raises(NotFound):
        await _call(solvers, "unknown")
    assert opened.channels == []


class _Patient(SolverServiceServicer):
    """Answers each call once, and keeps it open."""

    async def Execute(  # noqa: N802 (the RPC's name)
        self, _request: ExecuteRequest, _context: Any
    ) -> AsyncIterator[ExecuteResponse]:
        yield ExecuteResponse()
        await asyncio.Event().wait()


async def test_execute__more_calls_than_a_server_takes_on_one_connection__all_reach_the_solver(
    registry: Any, opened: _Opened
) -> None:
    server = grpc.aio.server(options=[("grpc.max_concurrent_streams", 100)])
    add_SolverServiceServicer_to_server(_Patient(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    solvers = Solvers(registry, opened, lambda: 0.0)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.stop, 0)
        stack.push_async_callback(solvers.close)
        calls = [await stack.enter_async_context(solvers.execute(str(port), ExecuteRequest())) for _ in range(250)]
        async with asyncio.timeout(30):
            for updates in calls:
                await anext(updates)
    assert len(opened.channels) == 3
