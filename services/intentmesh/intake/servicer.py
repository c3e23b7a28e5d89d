"""IntakeService: each handler counts, calls the room's own parts and words the answer; the rest is theirs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from intentmesh.domain.errors import InvalidArgument, MeshError
from intentmesh.domain.types import IntentId, format_address, format_intent_id, parse_intent_id
from intentmesh.intake.accept import Acceptance
from intentmesh.intake.admission import Admission
from intentmesh.intake.caller import Caller, user_agent_of
from intentmesh.intake.cancel import Canceller
from intentmesh.intake.rate_limits import Budget, RateLimiter
from intentmesh.intake.reading import Reader
from intentmesh.rpc import metrics
from intentmesh.rpc.errors import as_mesh_error, field_violations, reason_name, status_code
from intentmesh.rpc.principals import client_address, current_principal
from intentmesh.rpc.tracing import current_trace_id
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1 import intake_service_pb2 as pb
from intentmesh.v1 import intake_service_pb2_grpc as pb_grpc
from intentmesh.v1.intent_pb2 import IntentType

# Items of one message that are worked on at a time.
_ITEMS_AT_A_TIME = 16

Context = grpc.aio.ServicerContext[Any, Any]


class IntakeServicer(pb_grpc.IntakeServiceServicer):
    """The RPC surface of the intake."""

    def __init__(self, admission: Admission, canceller: Canceller, reader: Reader, limiter: RateLimiter) -> None:
        self._admission = admission
        self._canceller = canceller
        self._reader = reader
        self._limiter = limiter
        self._validator = RequestValidator()

    async def SubmitIntent(self, request: pb.SubmitIntentRequest, context: Context) -> pb.SubmitIntentResponse:
        caller = _caller(context)
        try:
            await self._count(caller)
            acceptance = await self._submit(request, caller)
        except Exception as error:
            _count_refusal(request.type, error)
            raise
        _count_acceptance(request.type, acceptance)
        return _accepted(acceptance)

    async def SubmitIntents(
        self, request_iterator: AsyncIterator[pb.SubmitIntentsRequest], context: Context
    ) -> AsyncIterator[pb.SubmitIntentsResponse]:
        caller = _caller(context)
        async for message in request_iterator:
            self._require_items(message)
            await self._count(caller)
            room = asyncio.Semaphore(_ITEMS_AT_A_TIME)
            results = await asyncio.gather(*(self._submit_item(item, caller, room) for item in message.items))
            yield pb.SubmitIntentsResponse(results=results)

    async def ValidateIntent(self, request: pb.ValidateIntentRequest, context: Context) -> pb.ValidateIntentResponse:
        caller = _caller(context)
        await self._count(caller)
        verdict = await self._admission.validate(request.intent, caller)
        return pb.ValidateIntentResponse(
            violations=[
                pb.Violation(reason=finding.reason, field=finding.field, message=finding.message)
                for finding in verdict.findings
            ],
            intent_id="" if verdict.intent_id is None else format_intent_id(verdict.intent_id),
        )

    async def CancelIntent(self, request: pb.CancelIntentRequest, context: Context) -> pb.CancelIntentResponse:
        await self._count(_caller(context))
        done = await self._canceller.cancel(_intent_id(request.intent_id), request.signature, request.valid_until)
        response = pb.CancelIntentResponse(status=done.state.status, phase=done.state.phase, sequence=done.sequence)
        if done.invalidation is not None:
            response.invalidation.chain_id = done.invalidation.chain_id
            response.invalidation.to = format_address(done.invalidation.to)
            response.invalidation.data = done.invalidation.data
        return response

    async def GetIntent(self, request: pb.GetIntentRequest, context: Context) -> pb.GetIntentResponse:
        return pb.GetIntentResponse(intent=await self._reader.get(_intent_id(request.intent_id)))

    async def ListIntents(self, request: pb.ListIntentsRequest, context: Context) -> pb.ListIntentsResponse:
        caller = _caller(context)
        await self._count(caller)
        intents, next_page_token = await self._reader.list(request, caller.principal)
        return pb.ListIntentsResponse(intents=intents, next_page_token=next_page_token)

    async def _submit(self, request: pb.SubmitIntentRequest, caller: Caller) -> Acceptance:
        await self._limiter.count(Budget.NEW_INTENTS, caller.principal, caller.address)
        return await self._admission.submit(request, caller)

    async def _submit_item(
        self, item: pb.SubmitIntentItem, caller: Caller, room: asyncio.Semaphore
    ) -> pb.SubmitIntentResult:
        """One bad item spoils nothing: whatever goes wrong becomes its own result."""
        try:
            async with room:
                acceptance = await self._submit(item.intent, caller)
        except Exception as error:  # noqa: BLE001 (the interceptor's work, item by item)
            _count_refusal(item.intent.type, error)
            return pb.SubmitIntentResult(item_id=item.item_id, refused=_refused(error))
        _count_acceptance(item.intent.type, acceptance)
        return pb.SubmitIntentResult(item_id=item.item_id, accepted=_accepted(acceptance))

    async def _count(self, caller: Caller) -> None:
        await self._limiter.count(Budget.REQUESTS, caller.principal, caller.address)

    def _require_items(self, message: pb.SubmitIntentsRequest) -> None:
        """The items are validated one by one; here only that there are some, and not too many."""
        outline = pb.SubmitIntentsRequest(items=[pb.SubmitIntentItem(item_id=item.item_id) for item in message.items])
        self._validator.check(outline)


def _caller(context: Context) -> Caller:
    return Caller(current_principal(), client_address(), user_agent_of(context.invocation_metadata() or ()))


def _intent_id(text: str) -> IntentId:
    try:
        return parse_intent_id(text)
    except ValueError as error:
        raise InvalidArgument(f"intent_id: {error}") from None


def _accepted(acceptance: Acceptance) -> pb.SubmitIntentResponse:
    return pb.SubmitIntentResponse(
        intent_id=format_intent_id(acceptance.intent_id),
        status=acceptance.status,
        sequence=acceptance.sequence,
        created=acceptance.created,
    )


def _refused(error: Exception) -> pb.Refusal:
    told = as_mesh_error(error, current_trace_id())
    return pb.Refusal(
        code=status_code(told).value[0],
        reason=told.reason,
        message=told.message,
        field_violations=field_violations(told.violations),
        retry_after_ms=0 if told.retry_after is None else int(told.retry_after * 1000),
    )


def _count_acceptance(declared: "IntentType.ValueType", acceptance: Acceptance) -> None:
    status = "accepted" if acceptance.created else "duplicate"
    metrics.INTENTS_SUBMITTED.labels(_type_label(declared), status).inc()


def _count_refusal(declared: "IntentType.ValueType", error: Exception) -> None:
    reason = error.reason if isinstance(error, MeshError) else as_mesh_error(error, "").reason
    label = _type_label(declared)
    metrics.INTENTS_SUBMITTED.labels(label, "refused").inc()
    metrics.INTENT_ERRORS.labels(label, reason_name(reason)).inc()


def _type_label(declared: "IntentType.ValueType") -> str:
    """Callers may send any number, and labels are kept for ever."""
    known = declared in IntentType.values()
    return metrics.type_label(declared if known else IntentType.INTENT_TYPE_UNSPECIFIED)
