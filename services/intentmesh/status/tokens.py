"""Resume tokens: a place in the feed, the database it is of, and the filter it was reached with.

A checksum guards against damage, not against forgery: a token grants nothing. Whoever presents one is authorised
by the filter they send with it, and a position is no secret.
"""

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

from intentmesh.domain.errors import FailedPrecondition, InvalidArgument
from intentmesh.status.filters import FINGERPRINT_BYTES
from intentmesh.v1.error_pb2 import ErrorReason

_VERSION = 1
_BODY = struct.Struct(f">B16sQ{FINGERPRINT_BYTES}s")
_CHECKSUM_BYTES = 6


@dataclass(frozen=True, slots=True)
class ResumeToken:
    """Everything up to `position` has been told, as far as the filter wanted it."""

    epoch: UUID
    position: int
    fingerprint: bytes

    def encode(self) -> str:
        """Opaque ASCII text of 52 characters."""
        body = _BODY.pack(_VERSION, self.epoch.bytes, self.position, self.fingerprint)
        return base64.urlsafe_b64encode(body + _checksum(body)).decode("ascii").rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "ResumeToken":
        """Inverse of `encode`. Raises InvalidArgument (INVALID_RESUME_TOKEN)."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _malformed() from None
        body, checksum = raw[: _BODY.size], raw[_BODY.size :]
        if len(body) != _BODY.size or checksum != _checksum(body) or body[0] != _VERSION:
            raise _malformed()
        _, epoch, position, fingerprint = _BODY.unpack(body)
        return cls(UUID(bytes=epoch), position, fingerprint)

    def check(self, epoch: UUID, fingerprint: bytes) -> None:
        """Raises InvalidArgument (FILTER_CHANGED) or FailedPrecondition (EPOCH_CHANGED)."""
        if self.fingerprint != fingerprint:
            raise InvalidArgument(
                "the token was issued for another filter; resume with the same one, or watch anew without the token",
                reason=ErrorReason.ERROR_REASON_FILTER_CHANGED,
            )
        if self.epoch != epoch:
            raise FailedPrecondition(
                "the token is of another database; read the intents again and watch anew without the token",
                reason=ErrorReason.ERROR_REASON_EPOCH_CHANGED,
            )


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES, person=b"resume").digest()


def _malformed() -> InvalidArgument:
    return InvalidArgument("the resume token is damaged", reason=ErrorReason.ERROR_REASON_INVALID_RESUME_TOKEN)
