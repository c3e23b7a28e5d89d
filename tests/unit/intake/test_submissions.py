"""What a stream does with an order that trips over a bug; what it does with the rest is shown on real parts."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Sequence
from typing import cast

from intentmesh.domain.types import IntentId
from intentmesh.intake.admission import Admission
from intentmesh.intake.caller import Caller
from intentmesh.intake.rate_limits import Budget, RateLimiter
from intentmesh.intake.submissions import Submissions
from intentmesh.intake.turns import Turns
from intentmesh.intake.waiting import Acceptance, Done
from intentmesh.rpc.leases import Grant, Limit
from intentmesh.rpc.principals import Principal, PrincipalKind
from intentmesh.rpc.tracing import start_trace
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1 import intake_service_pb2 as pb
from intentmesh.v1.error_pb2 import ErrorReason

CALLER = Caller(Principal(PrincipalKind.ANONYMOUS, ""), "127.0.0.1", "")
POISON = "poison"


class _Admission:
    """Accepts everything; a check has a bug that one order brings out."""

    def assess_all(self, requests: Sequence[pb.SubmitIntentRequest], _: Caller) -> list[pb.SubmitIntentRequest]:
        if any(request.request_id == POISON for request in requests):
            raise ZeroDivisionError("secret")
        return list(requests)

    def admit_now(self, _: pb.SubmitIntentRequest, __: Caller) -> bool:
        return True

    def begin(self, _: pb.SubmitIntentRequest, __: Caller, done: Done) -> None:
        done(Acceptance(IntentId(bytes(32)), 1, 1, created=True))


class _BrokenWriter(_Admission):
    """Accepts nothing: its writer, which belongs to no call, has a bug."""

    def begin(self, _: pb.SubmitIntentRequest, __: Caller, done: Done) -> None:
        asyncio.get_running_loop().call_soon(done, ZeroDivisionError("secret"), context=contextvars.Context())


class _Unlimited:
    async def count(self, _: Budget, __: Caller) -> None:
        return

    async def take(self, _: Budget, __: Caller, wanted: int) -> Grant:
        return Grant(wanted, Limit(wanted, 1), 0, 1.0)


def _stream(admission: _Admission) -> Submissions:
    return Submissions(
        cast("Admission", admission), cast("RateLimiter", _Unlimited()), RequestValidator(), Turns(), CALLER
    )


async def test_message__a_check_fails_on_one_order__the_others_are_accepted_and_its_own_result_is_internal() -> None:
    async def messages() -> AsyncIterator[pb.SubmitIntentsRequest]:
        yield pb.SubmitIntentsRequest(
            items=[
                pb.SubmitIntentItem(item_id=number, intent=pb.SubmitIntentRequest(request_id=request_id))
                for number, request_id in enumerate(("a", POISON, "b"))
            ]
        )

    stream = _stream(_Admission())
    results = {result.item_id: result async for answer in stream.answers(messages()) for result in answer.results}

    assert results[0].accepted.created
    assert results[2].accepted.created
    assert results[1].refused.reason == ErrorReason.ERROR_REASON_INTERNAL
    assert "secret" not in results[1].refused.message


async def test_message__the_writer_has_a_bug__the_result_gives_the_trace_id_of_the_call() -> None:
    async def messages() -> AsyncIterator[pb.SubmitIntentsRequest]:
        yield pb.SubmitIntentsRequest(items=[pb.SubmitIntentItem(item_id=1)])

    trace_id = start_trace()
    (result,) = [result async for answer in _stream(_BrokenWriter()).answers(messages()) for result in answer.results]

    assert result.refused.reason == ErrorReason.ERROR_REASON_INTERNAL
    assert result.refused.metadata["trace_id"] == trace_id
    assert "secret" not in str(result)
