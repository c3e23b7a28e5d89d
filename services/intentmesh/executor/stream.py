"""One attachment to a solver's work: reads the updates of one Execute call in the background.

Updates are news, not evidence: they only make the executor look at the chains sooner. One is news if it tells of a
stage that no update of the call has told before, so however much a solver says, it is looked after a few times a call.
"""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from intentmesh.domain.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    MeshError,
    NotFound,
    PermissionDenied,
    Unauthenticated,
)
from intentmesh.executor.attempts import StreamEnd
from intentmesh.executor.gateway import Solvers
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.solver_service_pb2 import ExecuteRequest, ExecuteResponse, ExecuteStage

log = structlog.get_logger(__name__)

MAX_WORDS_CHARACTERS = 512
# Enums are open on the wire: a solver may send any number. A bug of the mesh is nothing that it could tell of.
_KNOWN_REASONS = frozenset(ErrorReason.values()) - {ErrorReason.ERROR_REASON_INTERNAL}
# The same call would be refused again.
_REFUSALS = (InvalidArgument, FailedPrecondition, PermissionDenied, Unauthenticated)
_LAST_STAGES = {
    ExecuteStage.EXECUTE_STAGE_SETTLED: StreamEnd.SETTLED,
    ExecuteStage.EXECUTE_STAGE_RELEASED: StreamEnd.RELEASED,
    ExecuteStage.EXECUTE_STAGE_FAILED: StreamEnd.FAILED,
}


@dataclass(frozen=True, slots=True)
class Ending:
    """How the call ended and what was said."""

    end: StreamEnd
    reason: ErrorReason.ValueType
    message: str


class Attachment:
    """An Execute call that is being read. Use as a context; leaving it drops the call."""

    def __init__(self, solvers: Solvers, solver_id: str, request: ExecuteRequest, news: asyncio.Event) -> None:
        self._solvers = solvers
        self._solver_id = solver_id
        self._request = request
        self._news = news
        self._task: asyncio.Task[Ending] | None = None
        # The solver has answered under this award.
        self.delivered = False
        self._furthest = -1

    @property
    def award_number(self) -> int:
        return self._request.award_number

    @property
    def ending(self) -> Ending | None:
        """How the call ended; None while it runs."""
        if self._task is None or not self._task.done():
            return None
        return self._task.result()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._read())
        self._task.add_done_callback(lambda _task: self._news.set())
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _read(self) -> Ending:
        try:
            async with self._solvers.execute(self._solver_id, self._request) as updates:
                async for update in updates:
                    self.delivered = True
                    self._tell_if_news(update)
                    log.debug("solver_update", stage=_stage_name(update), message=update.message)
                    if update.stage in _LAST_STAGES:
                        return _told(update)
            return _ending(self._unclear(), ErrorReason.ERROR_REASON_UNSPECIFIED, "the solver ended the stream")
        except NotFound as error:
            return _ending(StreamEnd.UNREACHED, error.reason, error.message)
        except _REFUSALS as error:
            log.warning("solver_refused_award", solver_id=self._solver_id, reason=ErrorReason.Name(error.reason))
            return _ending(StreamEnd.REFUSED, error.reason, error.message)
        except DeadlineExceeded as error:
            return _ending(self._unclear(), error.reason, error.message)
        except MeshError as error:
            return _ending(self._unclear(), error.reason, error.message)

    def _tell_if_news(self, update: ExecuteResponse) -> None:
        if update.stage > self._furthest and update.stage in ExecuteStage.values():
            self._furthest = update.stage
            self._news.set()

    def _unclear(self) -> StreamEnd:
        return StreamEnd.CUT if self.delivered else StreamEnd.UNREACHED


def _ending(end: StreamEnd, reason: ErrorReason.ValueType, words: str) -> Ending:
    """What a stranger said, as our records may hold it: reasons that exist, and a short printable sentence."""
    known = reason if reason in _KNOWN_REASONS else ErrorReason.ERROR_REASON_UNSPECIFIED
    return Ending(end, known, "".join(filter(str.isprintable, words[:MAX_WORDS_CHARACTERS])))


def _told(update: ExecuteResponse) -> Ending:
    return _ending(_LAST_STAGES[update.stage], update.reason, update.message)


def _stage_name(update: ExecuteResponse) -> str:
    return ExecuteStage.Name(update.stage) if update.stage in ExecuteStage.values() else str(update.stage)
