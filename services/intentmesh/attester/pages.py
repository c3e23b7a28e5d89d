"""Page tokens of ListAttestations: opaque to callers, bound to the query they were made for."""

import base64
import binascii
import hashlib

from intentmesh.domain.errors import InvalidArgument
from intentmesh.v1.error_pb2 import ErrorReason

_QUERY_BYTES = 8
_POSITION_BYTES = 8


def encode_page_token(query: str, position: int) -> str:
    """Where the next page starts: below this position."""
    return base64.urlsafe_b64encode(_fingerprint(query) + position.to_bytes(_POSITION_BYTES, "big")).decode("ascii")


def decode_page_token(query: str, token: str) -> int:
    """The position. Raises InvalidArgument INVALID_PAGE_TOKEN when malformed or of another query."""
    try:
        raw = base64.b64decode(token, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _QUERY_BYTES + _POSITION_BYTES or raw[:_QUERY_BYTES] != _fingerprint(query):
        raise InvalidArgument(
            "the page token is malformed or belongs to another query",
            reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN,
        )
    return min(int.from_bytes(raw[_QUERY_BYTES:], "big"), 2**63 - 1)


def _fingerprint(query: str) -> bytes:
    return hashlib.sha256(query.encode()).digest()[:_QUERY_BYTES]
