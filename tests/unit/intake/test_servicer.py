"""What the handlers have in common."""

from typing import NoReturn, cast

import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from intentmesh.intake.admission import Admission
from intentmesh.intake.caller import Caller
from intentmesh.intake.cancel import Canceller
from intentmesh.intake.rate_limits import Budget, RateLimiter
from intentmesh.intake.reading import Reader
from intentmesh.intake.servicer import IntakeServicer
from intentmesh.intake.turns import LONG_TURN, SHORT_TURN
from intentmesh.v1 import intake_service_pb2 as pb


class _Seen(Exception):
    pass


class _Limiter:
    """Every handler counts first of all: looks how long the turns of streams are then."""

    servicer: IntakeServicer
    turn = 0

    async def count(self, _: Budget, __: Caller) -> NoReturn:
        self.turn = await self.servicer.turns.take(1000)
        raise _Seen


class _Context:
    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


@pytest.fixture
def limiter() -> _Limiter:
    limiter = _Limiter()
    limiter.servicer = IntakeServicer(
        cast("Admission", None), cast("Canceller", None), cast("Reader", None), cast("RateLimiter", limiter)
    )
    return limiter


CALLS = [
    method
    for method in pb.DESCRIPTOR.services_by_name["IntakeService"].methods
    if not (method.client_streaming or method.server_streaming)
]


@pytest.mark.parametrize("method", CALLS, ids=lambda method: method.name)
async def test_call__streams_are_busy__have_short_turns_meanwhile(limiter: _Limiter, method: MethodDescriptor) -> None:
    assert await limiter.servicer.turns.take(1000) == LONG_TURN
    with pytest.raises(_Seen):
        await getattr(limiter.servicer, method.name)(GetMessageClass(method.input_type)(), _Context())
    assert limiter.turn == SHORT_TURN
