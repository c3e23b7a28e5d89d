"""IntakeService: each handler counts, calls the room's own parts and words the answer; the rest is theirs."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, TypeVar

import grpc

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import IntentId, format_address, format_intent_id, parse_intent_id
from intentmesh.intake import answers
from intentmesh.intake.admission import Admission
from intentmesh.intake.caller import Caller, user_agent_of
from intentmesh.intake.cancel import Canceller
from intentmesh.intake.rate_limits import Budget, RateLimiter
from intentmesh.intake.reading import Reader
from intentmesh.intake.submissions import Submissions
from intentmesh.intake.turns import Turns
from intentmesh.rpc.principals import client_address, current_principal
from intentmesh.rpc.rate_limits import metadata_of
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1 import intake_service_pb2 as pb
from intentmesh.v1 import intake_service_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Request = TypeVar("Request")
Response = TypeVar("Response")
Handler = Callable[["IntakeServicer", Request, Context], Awaitable[Response]]

# What a request costs that cannot be read. A message of a stream ends it, and streams are counted as they open.
_BUDGETS: Mapping[str, tuple[Budget, ...]] = MappingProxyType(
    {
        "SubmitIntent": (Budget.REQUESTS, Budget.NEW_INTENTS),
        "ValidateIntent": (Budget.REQUESTS,),
        "CancelIntent": (Budget.REQUESTS,),
        "ListIntents": (Budget.REQUESTS,),
        "GetIntent": (Budget.READS,),
    }
)


def _beside_streams(handler: Handler[Request, Response]) -> Handler[Request, Response]:
    """A call that somebody waits for: busy streams take short turns meanwhile."""

    @wraps(handler)
    async def serve(self: "IntakeServicer", request: Request, context: Context) -> Response:
        with self.turns.call():
            return await handler(self, request, context)

    return serve


class IntakeServicer(pb_grpc.IntakeServiceServicer):
    """The RPC surface of the intake."""

    def __init__(self, admission: Admission, canceller: Canceller, reader: Reader, limiter: RateLimiter) -> None:
        self._admission = admission
        self._canceller = canceller
        self._reader = reader
        self._limiter = limiter
        self._validator = RequestValidator()
        self.turns = Turns()

    @_beside_streams
    async def SubmitIntent(self, request: pb.SubmitIntentRequest, context: Context) -> pb.SubmitIntentResponse:
        caller = _caller(context)
        try:
            await self._count(caller, context, Budget.REQUESTS, Budget.NEW_INTENTS)
            acceptance = await self._admission.submit(request, caller, partial(answers.count, request.type))
        except Exception as error:
            answers.count(request.type, error)
            raise
        answers.count(request.type, acceptance)
        return answers.accepted(acceptance)

    async def SubmitIntents(
        self, request_iterator: AsyncIterator[pb.SubmitIntentsRequest], context: Context
    ) -> AsyncIterator[pb.SubmitIntentsResponse]:
        self.turns.begun()
        submissions = Submissions(self._admission, self._limiter, self._validator, self.turns, _caller(context))
        try:
            async with aclosing(submissions.answers(request_iterator)) as messages:
                async for message in messages:
                    yield message
        finally:
            if submissions.grant is not None:
                context.set_trailing_metadata(metadata_of(submissions.grant))

    @_beside_streams
    async def ValidateIntent(self, request: pb.ValidateIntentRequest, context: Context) -> pb.ValidateIntentResponse:
        caller = _caller(context)
        await self._count(caller, context, Budget.REQUESTS)
        verdict = await self._admission.validate(request.intent, caller)
        return pb.ValidateIntentResponse(
            violations=[
                pb.Violation(reason=finding.reason, field=finding.field, message=finding.message)
                for finding in verdict.findings
            ],
            intent_id="" if verdict.intent_id is None else format_intent_id(verdict.intent_id),
        )

    @_beside_streams
    async def CancelIntent(self, request: pb.CancelIntentRequest, context: Context) -> pb.CancelIntentResponse:
        await self._count(_caller(context), context, Budget.REQUESTS)
        done = await self._canceller.cancel(_intent_id(request.intent_id), request.signature, request.valid_until)
        response = pb.CancelIntentResponse(status=done.state.status, phase=done.state.phase, sequence=done.sequence)
        if done.invalidation is not None:
            response.invalidation.chain_id = done.invalidation.chain_id
            response.invalidation.to = format_address(done.invalidation.to)
            response.invalidation.data = done.invalidation.data
        return response

    @_beside_streams
    async def GetIntent(self, request: pb.GetIntentRequest, context: Context) -> pb.GetIntentResponse:
        caller = _caller(context)
        await self._count(caller, context, Budget.READS)
        return pb.GetIntentResponse(intent=await self._reader.get(_intent_id(request.intent_id), caller.principal))

    @_beside_streams
    async def ListIntents(self, request: pb.ListIntentsRequest, context: Context) -> pb.ListIntentsResponse:
        caller = _caller(context)
        await self._count(caller, context, Budget.REQUESTS)
        intents, next_page_token = await self._reader.list(request, caller.principal)
        return pb.ListIntentsResponse(intents=intents, next_page_token=next_page_token)

    async def count_refused(self, method: str, context: Context) -> None:
        """A request that its handler never sees costs its caller what any other does. Raises LimitReached."""
        await self._count(_caller(context), context, *_BUDGETS.get(method, ()))

    async def _count(self, caller: Caller, context: Context, *budgets: Budget) -> None:
        """Counts, and tells in the answer's metadata what is left of the last one. Raises LimitReached."""
        grant = None
        for budget in budgets:
            grant = await self._limiter.count(budget, caller)
        if grant is not None:
            context.set_trailing_metadata(metadata_of(grant))


def _caller(context: Context) -> Caller:
    return Caller(current_principal(), client_address(), user_agent_of(context.invocation_metadata() or ()))


def _intent_id(text: str) -> IntentId:
    try:
        return parse_intent_id(text)
    except ValueError as error:
        raise InvalidArgument(f"intent_id: {error}") from None
