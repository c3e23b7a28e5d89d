from datetime import UTC, datetime

import pytest
from intentmesh.domain.events import build_event
from intentmesh.domain.lifecycle import accepted
from intentmesh.domain.types import Address, IntentId
from intentmesh.v1 import event_pb2, intent_pb2

_COMMON = {
    "intent_id": IntentId(b"\xab" * 32),
    "sequence": 1,
    "type": event_pb2.INTENT_EVENT_TYPE_TRANSITION,
    "state": accepted(),
    "intent_type": intent_pb2.INTENT_TYPE_SWAP,
    "user": Address(b"\x11" * 20),
    "message": "Accepted.",
}


def test_build_event__accepted__tells_the_state():
    at = datetime(2030, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    event = build_event(**_COMMON, at=at)
    assert event.intent_id == "0x" + "ab" * 32
    assert event.status == intent_pb2.INTENT_STATUS_PENDING
    assert event.phase == intent_pb2.INTENT_PHASE_ACCEPTED
    assert event.create_time.ToDatetime(tzinfo=UTC) == at
    assert event.WhichOneof("detail") is None


@pytest.mark.parametrize(
    ("detail", "field"),
    [
        (event_pb2.AwardDetail(solver_id="a"), "award"),
        (event_pb2.AuctionDetail(asked=2), "auction"),
        (event_pb2.RetryDetail(attempt=3), "retry"),
        (intent_pb2.ChainTransaction(chain_id=4), "transaction"),
    ],
)
def test_build_event__with_detail__carries_it(detail, field):
    event = build_event(**_COMMON, at=datetime.now(UTC), detail=detail)
    assert event.WhichOneof("detail") == field
    assert getattr(event, field) == detail


def test_build_event__time_without_zone__is_refused():
    with pytest.raises(ValueError, match="time zone"):
        build_event(**_COMMON, at=datetime(2030, 1, 1))  # noqa: DTZ001 - that is the case
