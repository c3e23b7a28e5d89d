"""The quick reader of submissions is as strict as the rules of the protos: what it takes breaks none of them."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from intentmesh.intake import answers
from intentmesh.intake.candidate import Candidate
from intentmesh.intake.checks.structure import StructureCheck
from intentmesh.rpc.validation import RequestValidator
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import SubmitIntentItem, SubmitIntentRequest, SubmitIntentsRequest

from tests.fixtures.orders import make_order, permit2_request
from tests.unit.intake.networks import ALPHA, NETWORK

VALIDATOR = RequestValidator()
STRUCTURE = StructureCheck(VALIDATOR, NETWORK)
SOUND = permit2_request(NETWORK, make_order(ALPHA))

_TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            "0",
            "00",
            "01",
            "1",
            "-1",
            "1.0",
            "0x",
            "0X" + "1" * 40,
            "0x" + "1" * 39,
            "0x" + "1" * 40,
            "0x" + "g" * 40,
            "0x" + "a" * 64,
            "0x" + "A" * 41,
            "9" * 78,
            "9" * 77,
            "1" * 79,
            "0x" + "1" * 40 + "\n",
            "1\n",
            "\u0661",
            "a\x00b",
        ]
    ),
    st.text(max_size=70),
)
_NUMBERS = st.sampled_from([0, 1, 2, 31337, 2**32 - 1])
_WIDE = st.sampled_from([0, 1, 31337, 2**63 - 1, 2**63, 2**64 - 1])


def _bytes(*lengths: int) -> st.SearchStrategy[bytes]:
    return st.sampled_from(lengths).map(bytes)


_EDITS: dict[str, st.SearchStrategy[Any]] = {
    "signature": _bytes(0, 1, 66, 4096, 4097),
    "request_id": st.one_of(_TEXTS, st.sampled_from(["x" * 64, "x" * 65, "é" * 64, "é" * 65])),
    "type": st.sampled_from([0, 1, 2, 3, 4, 77, -1]),
    "order.user": _TEXTS,
    "order.nonce": _TEXTS,
    "order.origin_chain_id": _WIDE,
    "order.expires": _NUMBERS,
    "order.fill_deadline": _NUMBERS,
    "order.input_oracle": _TEXTS,
    "input.token": _TEXTS,
    "input.amount": _TEXTS,
    "output.oracle": _TEXTS,
    "output.settler": _TEXTS,
    "output.chain_id": _WIDE,
    "output.token": _TEXTS,
    "output.amount": _TEXTS,
    "output.recipient": _TEXTS,
    "output.callback_data": _bytes(0, 1, 8192, 8193),
    "output.context": _bytes(0, 1, 73, 74),
}


_UNBOUNDED = {"nonce", "amount", "chain_id", "origin_chain_id"}


@st.composite
def _requests(draw: st.DrawFn) -> SubmitIntentRequest:
    request = SubmitIntentRequest()
    request.CopyFrom(SOUND)
    for repeated in (request.order.inputs, request.order.outputs):
        count = draw(st.sampled_from([1, 1, 1, 0, 2, 16, 17]))
        first = repeated[0]
        del repeated[:]
        repeated.extend([first] * count)
    for name in draw(st.lists(st.sampled_from(sorted(_EDITS)), max_size=2)):
        value, (place, _, field) = draw(_EDITS[name]), name.rpartition(".")
        parts = {
            "": [request],
            "order": [request.order],
            "input": request.order.inputs,
            "output": request.order.outputs,
        }
        for part in parts[place][-1:]:
            setattr(part, field, value)
    return request


@settings(max_examples=1500, deadline=None)
@given(_requests())
def test_structure__what_is_read__breaks_no_rule(request_: SubmitIntentRequest) -> None:
    read = STRUCTURE.read(request_)
    violations = VALIDATOR.violations(request_)
    broken = {violation.field for violation in violations}
    if isinstance(read, Candidate):
        assert {finding.field for finding in read.form} == broken
        assert not any(field.startswith("order") for field in broken)
    else:
        found = {finding.field for finding in read}
        # Of a list that is too long, what comes after its end is not looked at.
        assert found >= {field for field in broken if "[16]" not in field}
        assert any(field.startswith("order") for field in found)
        # Numbers that no rule of the protos can bound.
        assert {field.rpartition(".")[2] for field in found - broken} <= _UNBOUNDED


def test_structure__request_id_with_a_zero_character__is_refused() -> None:
    request = permit2_request(NETWORK, make_order(ALPHA), request_id="a\x00b")
    read = STRUCTURE.read(request)
    assert isinstance(read, Candidate)
    assert read.admissible() is None, "PostgreSQL stores no such text"
    assert [(finding.field, finding.reason) for finding in read.form] == [
        ("request_id", ErrorReason.ERROR_REASON_INVALID_FIELD)
    ]


def test_structure__sound_request__is_read() -> None:
    read = STRUCTURE.read(SOUND)
    assert isinstance(read, Candidate)
    assert read.admissible() is not None


def test_items__most_in_a_message__are_as_many_as_the_protos_allow() -> None:
    full = SubmitIntentsRequest(items=[SubmitIntentItem()] * answers.MAX_ITEMS)
    assert all(".intent" in violation.field for violation in VALIDATOR.violations(full))
    full.items.add()
    assert "items" in {violation.field for violation in VALIDATOR.violations(full)}
