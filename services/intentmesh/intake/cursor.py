"""Where a page of ListIntents ended, and of which query it was: what its page token holds."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import IntentId, format_intent_id, parse_intent_id
from intentmesh.rpc.pages import decode_page_token, encode_page_token
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import ListIntentsRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last intent of a page; the next one begins after it."""

    created_at: datetime
    intent_id: IntentId


def token_of(cursor: Cursor, request: ListIntentsRequest) -> str:
    """Opaque text for `next_page_token`."""
    microseconds = (cursor.created_at - _EPOCH) // timedelta(microseconds=1)
    return encode_page_token(_query(request), f"{microseconds} {format_intent_id(cursor.intent_id)}")


def cursor_of(request: ListIntentsRequest) -> Cursor | None:
    """Where to go on; None on the first page. Raises InvalidArgument INVALID_PAGE_TOKEN."""
    if not request.page_token:
        return None
    position = decode_page_token(_query(request), request.page_token, str)
    microseconds, _, intent_id = position.partition(" ")
    try:
        return Cursor(_EPOCH + timedelta(microseconds=int(microseconds)), parse_intent_id(intent_id))
    except (ValueError, OverflowError):
        raise InvalidArgument(
            "the page token is malformed", reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN
        ) from None


def _query(request: ListIntentsRequest) -> str:
    """Everything but where the page begins and how long it is: only these may change between pages."""
    query = ListIntentsRequest()
    query.CopyFrom(request)
    query.user, query.transaction_hash = query.user.lower(), query.transaction_hash.lower()
    query.ClearField("page_token")
    query.ClearField("page_size")
    return f"ListIntents {hashlib.sha256(query.SerializeToString(deterministic=True)).hexdigest()}"
