import base64
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import IntentId
from intentmesh.intake.cursor import Cursor, cursor_of, token_of
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import ListIntentsRequest

_USER = "0x" + "ab" * 20
_CURSOR = Cursor(datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), IntentId(b"\x07" * 32))


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - the strategy wants it naive
    st.binary(min_size=32, max_size=32),
)
def test_page_token__any_cursor__comes_back(created_at, intent_id):
    request = ListIntentsRequest(user=_USER)
    cursor = Cursor(created_at, IntentId(intent_id))
    request.page_token = token_of(cursor, request)
    assert cursor_of(request) == cursor


def test_page_token__absent__is_the_first_page():
    assert cursor_of(ListIntentsRequest()) is None


def test_page_token__other_page_size_or_case__is_the_same_query():
    token = token_of(_CURSOR, ListIntentsRequest(user=_USER, page_size=5))
    again = ListIntentsRequest(user="0x" + "AB" * 20, page_size=9, page_token=token)
    assert cursor_of(again) == _CURSOR


def test_page_token__other_filter__is_refused():
    token = token_of(_CURSOR, ListIntentsRequest(user=_USER))
    with pytest.raises(InvalidArgument, match="another query") as caught:
        cursor_of(ListIntentsRequest(user=_USER, statuses=[1], page_token=token))
    assert caught.value.reason == ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN


@given(st.text(min_size=1, max_size=100) | st.binary(min_size=1).map(lambda b: base64.urlsafe_b64encode(b).decode()))
def test_page_token__any_text__is_refused(text):
    with pytest.raises(InvalidArgument):
        cursor_of(ListIntentsRequest(page_token=text))
