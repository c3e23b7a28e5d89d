import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from intentmesh.executor.attempts import StreamEnd
from intentmesh.executor.stream import Attachment, Ending
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage

# Numbers of a newer protocol, or of a solver that means harm.
UNKNOWN_STAGE: Any = 999
UNKNOWN_REASON: Any = 999_999


async def end_of(*updates: ExecuteResponse) -> Ending:
    """How a call ends in which a solver says just this."""

    @asynccontextmanager
    async def execute(_solver_id: str, _request: ExecuteRequest) -> AsyncIterator[AsyncIterator[ExecuteResponse]]:
        async def stream() -> AsyncIterator[ExecuteResponse]:
            for update in updates:
                yield update

        yield stream()

    class Solvers:
        def __init__(self) -> None:
            self.execute = execute

    solvers: Any = Solvers()
    news = asyncio.Event()
    async with Attachment(solvers, "solver", ExecuteRequest(award_number=1), news) as attachment:
        while attachment.ending is None:
            news.clear()
            async with asyncio.timeout(5):
                await news.wait()
        return attachment.ending


async def test_attachment__unknown_stage__is_passed_over() -> None:
    released = ExecuteResponse(stage=ExecuteStage.EXECUTE_STAGE_RELEASED)
    assert (await end_of(ExecuteResponse(stage=UNKNOWN_STAGE), released)).end is StreamEnd.RELEASED


async def test_attachment__unknown_reason__is_told_as_none() -> None:
    failed = ExecuteResponse(stage=ExecuteStage.EXECUTE_STAGE_FAILED, reason=UNKNOWN_REASON)
    ending = await end_of(failed)
    assert (ending.end, ending.reason) == (StreamEnd.FAILED, ErrorReason.ERROR_REASON_UNSPECIFIED)
