"""Page tokens (AIP-158): opaque, and good only for the query they were issued for."""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from intentmesh.domain.errors import InvalidArgument
from intentmesh.v1.error_pb2 import ErrorReason

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 500
# Clients refuse messages of more than 4 MiB unless they are told otherwise; no item has more than a tenth of it.
MAX_PAGE_BYTES = 3 * 1024 * 1024

Item = TypeVar("Item", bound=Message)


def page_size(asked: int) -> int:
    """Items of a page: 0 asks for the default, more than the maximum gets the maximum."""
    return min(asked, MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


def what_fits(messages: Iterable[Item]) -> list[Item]:
    """The first message, and as many more as go into MAX_PAGE_BYTES. Takes no more of them than it needs."""
    found: list[Item] = []
    size = 0
    for message in messages:
        size += message.ByteSize()
        if found and size > MAX_PAGE_BYTES:
            break
        found.append(message)
    return found


def encode_page_token(query: str, position: str | int) -> str:
    """A token that goes on after `position`, not below 0 or printable ASCII; `query` names the call and its filters."""
    text = json.dumps([_fingerprint(query), position], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).rstrip(b"=").decode()


def decode_page_token(query: str, token: str, kind: type[str] | type[int]) -> Any:
    """The position, of type `kind`. Raises InvalidArgument (INVALID_PAGE_TOKEN), also for a token of another query."""
    try:
        fingerprint, position = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise _invalid("the page token is malformed") from None
    if type(position) is not kind or not _may_be_a_position(position):
        raise _invalid("the page token is malformed")
    if fingerprint != _fingerprint(query):
        raise _invalid("the page token belongs to another query")
    return position


def _may_be_a_position(position: str | int) -> bool:
    # Tokens are not secret: what is in one may be forged, and goes to a store.
    if isinstance(position, int):
        return 0 <= position < 2**63
    return position.isascii() and position.isprintable()


def _fingerprint(query: str) -> str:
    return hashlib.sha256(query.encode()).hexdigest()[:16]


def _invalid(message: str) -> InvalidArgument:
    return InvalidArgument(message, reason=ErrorReason.ERROR_REASON_INVALID_PAGE_TOKEN)
