"""Calls to solvers end by themselves, whatever becomes of the roster meanwhile."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from intentmesh.solver_registry.asking import SolverCaller, SolverChannels
from intentmesh.v1.solver_service_pb2 import GetCapabilitiesResponse


class SlowSolver:
    """Answers GetCapabilities when it is told to."""

    def __init__(self) -> None:
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.endpoint = ""

    async def get_capabilities(self, _request: bytes, _context: Any) -> bytes:
        self.asked.set()
        await self.answers.wait()
        return GetCapabilitiesResponse(solver="0x01").SerializeToString()


@pytest.fixture
async def solver() -> AsyncIterator[SlowSolver]:
    slow, server = SlowSolver(), grpc.aio.server()
    methods = {"GetCapabilities": grpc.unary_unary_rpc_method_handler(slow.get_capabilities)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("intentmesh.v1.SolverService", methods),))
    slow.endpoint = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    yield slow
    await server.stop(None)


async def test_capabilities__solver_is_dropped_from_the_roster_meanwhile__are_read_all_the_same(
    solver: SlowSolver,
) -> None:
    """A solver that registers is on no roster yet, and the roster's upkeep closes what is not on it."""
    channels = SolverChannels()
    asking = asyncio.create_task(SolverCaller(channels, 0.5, 2.0).capabilities(solver.endpoint))
    await solver.asked.wait()
    dropping = asyncio.create_task(channels.keep_only(()))
    await asyncio.sleep(0)
    solver.answers.set()
    answer = await asking
    assert answer is not None
    assert answer.solver == "0x01"
    await dropping
