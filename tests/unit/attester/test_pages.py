"""Page tokens belong to the query they were made for."""

import pytest
from intentmesh.attester.pages import decode_page_token, encode_page_token
from intentmesh.domain.errors import InvalidArgument
from intentmesh.v1.error_pb2 import ErrorReason


@pytest.mark.parametrize("position", [0, 1, 2**63 - 1])
def test_page_token__of_the_same_query__is_the_position(position: int) -> None:
    assert decode_page_token("0xab", encode_page_token("0xab", position)) == position


@pytest.mark.parametrize("token", ["", "x", "ünï", encode_page_token("0xcd", 7), encode_page_token("0xab", 7)[:-4]])
def test_page_token__malformed_or_of_another_query__is_refused(token: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_page_token("0xab", token)
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN


def test_page_token__beyond_the_largest_position__never_reaches_the_store_as_such() -> None:
    assert decode_page_token("", encode_page_token("", 2**64 - 1)) == 2**63 - 1
