"""Page tokens of ListIntents: where the last page ended, bound to the query they were made for."""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from intentmesh.domain.errors import InvalidArgument
from intentmesh.domain.types import IntentId
from intentmesh.v1.error_pb2 import ErrorReason
from intentmesh.v1.intake_service_pb2 import ListIntentsRequest

_VERSION = 1
_QUERY_HASH_BYTES = 8
# Version, query, microseconds since the epoch, intent id.
_FORMAT = struct.Struct(f">B{_QUERY_HASH_BYTES}sq32s")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last intent of a page; the next one begins after it."""

    created_at: datetime
    intent_id: IntentId


def encode_page_token(cursor: Cursor, request: ListIntentsRequest) -> str:
    """Opaque text for `next_page_token`."""
    microseconds = (cursor.created_at - _EPOCH) // timedelta(microseconds=1)
    packed = _FORMAT.pack(_VERSION, _query_hash(request), microseconds, cursor.intent_id)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_page_token(request: ListIntentsRequest) -> Cursor | None:
    """Where to go on; None on the first page. Raises InvalidArgument INVALID_PAGE_TOKEN."""
    if not request.page_token:
        return None
    try:
        padded = request.page_token + "=" * (-len(request.page_token) % 4)
        version, query_hash, microseconds, intent_id = _FORMAT.unpack(
            base64.b64decode(padded, altchars=b"-_", validate=True)
        )
        created_at = _EPOCH + timedelta(microseconds=microseconds)
    except (binascii.Error, struct.error, ValueError, OverflowError):
        raise _invalid("The page token is malformed.") from None
    if version != _VERSION:
        raise _invalid("The page token is of another version; begin with the first page.")
    if query_hash != _query_hash(request):
        raise _invalid("The page token belongs to another query; only page_size may change between pages.")
    return Cursor(created_at, IntentId(intent_id))


def _query_hash(request: ListIntentsRequest) -> bytes:
    query = ListIntentsRequest()
    query.CopyFrom(request)
    query.user = query.user.lower()
    query.ClearField("page_token")
    query.ClearField("page_size")
    return hashlib.sha256(query.SerializeToString(deterministic=True)).digest()[:_QUERY_HASH_BYTES]


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN)
