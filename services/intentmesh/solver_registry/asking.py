"""Asking solvers: all at once, each within its time, all within the auction's, and no longer than needed."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import grpc

from intentmesh.domain.errors import InvalidArgument
from intentmesh.rpc.channels import open_channel
from intentmesh.solver_registry.eligibility import Candidate
from intentmesh.v1 import solver_service_pb2_grpc
from intentmesh.v1.auction_pb2 import Quote, QuoteOutcome
from intentmesh.v1.solver_service_pb2 import GetCapabilitiesRequest, GetCapabilitiesResponse, QuoteRequest

MILLISECONDS = 1000
CAPABILITIES_TIMEOUT_SECONDS = 2.0
MAX_DECLINE_CHARACTERS = 256
MAX_ANSWER_BYTES = 65_536
"""A solver is somebody else's program: what it sends is bounded."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from one solver. Without a quote, `outcome` says why."""

    candidate: Candidate
    outcome: QuoteOutcome.ValueType
    latency_ms: int
    quote: Quote | None = None
    message: str = ""
    waited_for: bool = True
    """False: the auction ended before the solver's time was up, which says nothing about the solver."""

    @property
    def missed(self) -> bool:
        """Counts against the solver's availability."""
        failed = (QuoteOutcome.QUOTE_OUTCOME_TIMED_OUT, QuoteOutcome.QUOTE_OUTCOME_UNREACHABLE)
        return self.outcome in failed and self.waited_for


class SolverChannels:
    """Open channels to solvers by endpoint. Solvers are strangers: nothing of the mesh's identity goes to them."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    def stub(self, endpoint: str) -> "solver_service_pb2_grpc.SolverServiceAsyncStub":
        """For calls to the solver at this endpoint."""
        channel = self._channels.get(endpoint)
        if channel is None:
            options = [("grpc.max_receive_message_length", MAX_ANSWER_BYTES)]
            channel = self._channels[endpoint] = open_channel(endpoint, options=options)
        return solver_service_pb2_grpc.SolverServiceStub(channel)

    async def keep_only(self, endpoints: Collection[str]) -> None:
        """Close the channels to all others, once the calls that run on them have ended.

        A solver that registers is asked before it is on any roster, and one that leaves may be in an auction.
        """
        dropped = [self._channels.pop(known) for known in list(self._channels) if known not in endpoints]
        await asyncio.gather(*(channel.close(CAPABILITIES_TIMEOUT_SECONDS) for channel in dropped))

    async def close(self) -> None:
        """Close all."""
        await self.keep_only(())


class SolverCaller:
    """Calls solvers and never raises for what they do."""

    def __init__(self, channels: SolverChannels, quote_timeout_seconds: float, auction_timeout_seconds: float) -> None:
        self._channels = channels
        self._quote_timeout = quote_timeout_seconds
        self._auction_timeout = auction_timeout_seconds

    async def capabilities(self, endpoint: str) -> GetCapabilitiesResponse | None:
        """What the solver says it serves; None when it does not answer."""
        try:
            return await self._channels.stub(endpoint).GetCapabilities(
                GetCapabilitiesRequest(), timeout=CAPABILITIES_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError:
            return None

    async def ask_all(
        self,
        candidates: Sequence[Candidate],
        request: QuoteRequest,
        *,
        enough: int,
        counts: Callable[[Answer], bool],
    ) -> list[Answer]:
        """One answer a candidate. Ends early once `enough` of them satisfy `counts`; 0 waits for all in time."""
        asked = {asyncio.create_task(self._ask(candidate, request)): candidate for candidate in candidates}
        started = time.monotonic()
        answers: list[Answer] = []
        counted = 0
        pending = set(asked)
        try:
            while pending and not (enough and counted >= enough):
                left = started + self._auction_timeout - time.monotonic()
                done, pending = await asyncio.wait(pending, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED)
                if not done:
                    break
                new = [task.result() for task in done]
                answers += new
                counted += sum(counts(answer) for answer in new)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
        early = bool(enough) and counted >= enough
        return answers + [_not_answered(asked[task], started, early=early) for task in pending]

    async def _ask(self, candidate: Candidate, request: QuoteRequest) -> Answer:
        started = time.monotonic()

        def answer(outcome: QuoteOutcome.ValueType, quote: Quote | None = None, message: str = "") -> Answer:
            return Answer(candidate, outcome, _elapsed_ms(started), quote, message)

        try:
            response = await self._channels.stub(candidate.endpoint).Quote(request, timeout=self._quote_timeout)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                limit = f"{self._quote_timeout * MILLISECONDS:.0f} ms"
                return answer(QuoteOutcome.QUOTE_OUTCOME_TIMED_OUT, message=f"no answer within {limit}")
            # The solver's own text stays out: it is a stranger's, and this record is read by others.
            return answer(QuoteOutcome.QUOTE_OUTCOME_UNREACHABLE, message=f"the call failed: {error.code().name}")
        if not response.HasField("quote"):
            reason = response.decline_reason[:MAX_DECLINE_CHARACTERS] or "no reason given"
            return answer(QuoteOutcome.QUOTE_OUTCOME_DECLINED, message=reason)
        return answer(QuoteOutcome.QUOTE_OUTCOME_UNSPECIFIED, response.quote)


def checked_endpoint(endpoint: str) -> str:
    """The endpoint, if it is one that a solver may name. Raises InvalidArgument."""
    target = endpoint.removeprefix("dns:///")
    host, colon, port = target.rpartition(":")
    # isdigit alone lets digits of other scripts through, of which int does not know all.
    port_known = port.isascii() and port.isdigit() and 0 < int(port) <= 65_535
    if not (host and colon and port_known) or "/" in host or not host.isprintable():
        raise InvalidArgument("the endpoint must be HOST:PORT or dns:///HOST:PORT")
    return endpoint


def _not_answered(candidate: Candidate, started: float, *, early: bool) -> Answer:
    message = "not waited for: enough quotes had come" if early else "no answer before the end of the auction"
    outcome = QuoteOutcome.QUOTE_OUTCOME_TIMED_OUT
    return Answer(candidate, outcome, _elapsed_ms(started), message=message, waited_for=not early)


def _elapsed_ms(started: float) -> int:
    return int((time.monotonic() - started) * MILLISECONDS)
