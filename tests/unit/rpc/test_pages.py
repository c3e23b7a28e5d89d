"""Page tokens are opaque and belong to one query."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.errors import InvalidArgument
from intentmesh.rpc.pages import decode_page_token, encode_page_token, page_size
from intentmesh.v1.error_pb2 import ErrorReason


@given(st.text(), st.text(st.characters(min_codepoint=32, max_codepoint=126)) | st.integers(0, 2**63 - 1))
def test_page_token__any_position__comes_back(query: str, position: str | int) -> None:
    assert decode_page_token(query, encode_page_token(query, position), type(position)) == position


@given(st.text())
def test_page_token__any_other_text__is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_page_token("q", text, int)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN


@pytest.mark.parametrize(
    "token",
    [
        encode_page_token("another", 5),
        encode_page_token("q", "five"),
        encode_page_token("q", -1),
        encode_page_token("q", 2**63),
        base64.urlsafe_b64encode(b'["x",true]').decode(),
        base64.urlsafe_b64encode(b"[" * 700).decode(),
    ],
)
def test_page_token__of_another_query_or_kind__is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument):
        decode_page_token("q", token, int)


def test_page_size__zero_and_too_many__are_default_and_maximum() -> None:
    assert [page_size(n) for n in (0, 1, 500, 9_999)] == [50, 1, 500, 500]


@pytest.mark.parametrize("position", ["\x00", "a\x00", "\ud800", "\n", "é"], ids=ascii)
def test_page_token__forged_with_text_that_no_store_takes__is_refused(position: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_page_token("q", encode_page_token("q", position), str)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
