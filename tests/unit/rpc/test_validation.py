"""The protos' rules: what is longer than they allow is told as such, and costs no more than what is not."""

import pytest
from google.protobuf.message import Message
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import (
    ListIntentsRequest,
    SubmitIntentItem,
    SubmitIntentRequest,
    SubmitIntentsRequest,
)
from intentmesh.v1.order_pb2 import Order, OrderInput, OrderOutput
from intentmesh.v1.status_service_pb2 import WatchIntentsRequest

VALIDATOR = RequestValidator()
TOO_MANY = 20_000
_BAD_ORDER = Order(inputs=[OrderInput()] * TOO_MANY, outputs=[OrderOutput()] * TOO_MANY)


@pytest.mark.parametrize(
    ("message", "fields", "most"),
    [
        (ListIntentsRequest(statuses=[99] * TOO_MANY), {"statuses"}, 10),
        (WatchIntentsRequest(intent_ids=["x"] * TOO_MANY), {"intent_ids"}, 1_010),
        (SubmitIntentRequest(order=_BAD_ORDER), {"order.inputs", "order.outputs"}, 200),
        (
            SubmitIntentsRequest(items=[SubmitIntentItem(intent=SubmitIntentRequest(order=_BAD_ORDER))]),
            {"items[0].intent.order.inputs", "items[0].intent.order.outputs"},
            200,
        ),
    ],
    ids=["statuses", "ids", "in a message", "in an element"],
)
def test_violations__list_of_far_too_many_bad_elements__is_not_looked_at_to_its_end(
    message: Message, fields: set[str], most: int
) -> None:
    as_sent = message.SerializeToString()
    violations = VALIDATOR.violations(message)
    too_large = {v.field for v in violations if v.reason == ErrorReason.ERROR_REASON_TOO_LARGE}
    assert too_large == fields
    assert len(violations) < most
    assert message.SerializeToString() == as_sent
