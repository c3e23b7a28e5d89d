"""Responses put together from ready bytes, so that an event is serialised once however many readers it has.

A protobuf message is the concatenation of its fields, and a repeated field that of its entries: an event's bytes behind
tag and length are a piece of every response that carries it.
"""

from collections.abc import Iterable

_LENGTH_DELIMITED = 2
# `events` of WatchIntentResponse and of WatchIntentsResponse, and `resume_token` of the latter.
_EVENTS_TAG = bytes([1 << 3 | _LENGTH_DELIMITED])
_TOKEN_TAG = bytes([2 << 3 | _LENGTH_DELIMITED])
HEARTBEAT = b""


def event_frame(payload: bytes) -> bytes:
    """An event's bytes as an entry of `events`."""
    return _EVENTS_TAG + _varint(len(payload)) + payload


def with_token(frames: Iterable[bytes], token: str) -> bytes:
    """A WatchIntentsResponse of event frames and a resume token."""
    encoded = token.encode("ascii")
    return b"".join((*frames, _TOKEN_TAG, _varint(len(encoded)), encoded))


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
