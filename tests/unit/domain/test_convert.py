import pytest
from hypothesis import given
from intentmesh.domain.convert import InvalidOrder, order_from_proto, order_to_proto, output_from_proto, output_to_proto
from intentmesh.domain.types import UINT256_MAX
from intentmesh.v1 import order_pb2
from intentmesh.v1.error_pb2 import ErrorReason

from tests.unit.domain.strategies import orders, outputs

_ADDRESS = "0x" + "11" * 20


def _valid() -> order_pb2.Order:
    return order_pb2.Order(
        user=_ADDRESS,
        nonce="1",
        origin_chain_id=31337,
        expires=2,
        fill_deadline=1,
        input_oracle=_ADDRESS,
        inputs=[order_pb2.OrderInput(token=_ADDRESS, amount="1")],
        outputs=[
            order_pb2.OrderOutput(
                oracle=_ADDRESS, settler=_ADDRESS, chain_id=1, token=_ADDRESS, amount="1", recipient=_ADDRESS
            )
        ],
    )


@given(orders)
def test_order_to_proto__any_order__comes_back(order):
    assert order_from_proto(order_to_proto(order)) == order
    parsed = order_pb2.Order.FromString(order_to_proto(order).SerializeToString())
    assert order_from_proto(parsed) == order


@given(outputs)
def test_output_to_proto__any_output__comes_back(output):
    assert output_from_proto(output_to_proto(output)) == output


def test_order_from_proto__upper_case_hex__is_the_same_order():
    upper = _valid()
    upper.user = "0x" + "AB" * 20
    lower = _valid()
    lower.user = "0x" + "ab" * 20
    assert order_from_proto(upper) == order_from_proto(lower)


def test_order_from_proto__empty__names_every_required_field():
    with pytest.raises(InvalidOrder) as caught:
        order_from_proto(order_pb2.Order())
    assert {violation.field for violation in caught.value.violations} == {
        "order.user",
        "order.nonce",
        "order.origin_chain_id",
        "order.expires",
        "order.fill_deadline",
        "order.input_oracle",
        "order.inputs",
        "order.outputs",
    }
    assert caught.value.reason == ErrorReason.ERROR_REASON_MISSING_FIELD


@pytest.mark.parametrize(
    ("field", "change", "reason"),
    [
        ("order.user", lambda o: setattr(o, "user", "0x12"), ErrorReason.ERROR_REASON_INVALID_FIELD),
        ("order.nonce", lambda o: setattr(o, "nonce", str(UINT256_MAX + 1)), ErrorReason.ERROR_REASON_INVALID_FIELD),
        (
            "order.inputs[0].amount",
            lambda o: setattr(o.inputs[0], "amount", "-1"),
            ErrorReason.ERROR_REASON_INVALID_FIELD,
        ),
        (
            "order.outputs[0].recipient",
            lambda o: setattr(o.outputs[0], "recipient", "me"),
            ErrorReason.ERROR_REASON_INVALID_FIELD,
        ),
        (
            "order.outputs[0].callback_data",
            lambda o: setattr(o.outputs[0], "callback_data", bytes(8193)),
            ErrorReason.ERROR_REASON_TOO_LARGE,
        ),
        ("order.outputs", lambda o: o.outputs.extend([o.outputs[0]] * 16), ErrorReason.ERROR_REASON_TOO_LARGE),
    ],
)
def test_order_from_proto__one_bad_field__is_named(field, change, reason):
    pb = _valid()
    change(pb)
    with pytest.raises(InvalidOrder) as caught:
        order_from_proto(pb)
    assert [(violation.field, violation.reason) for violation in caught.value.violations] == [(field, reason)]
