"""One input: all that is sent in one call, and how. A file of it replays the call byte for byte on any mesh."""

import base64
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from tests.fuzz.surface import Door

LARGE_METADATA_BYTES = 6_000
MANY_HEADERS = 90

Metadata = tuple[tuple[str, str | bytes], ...]


class Manner(StrEnum):
    """How the call is made."""

    # Messages, half-close, and the answer is awaited.
    WHOLE = "whole"
    # The caller goes away in the middle.
    CANCELLED = "cancelled"
    # The caller never says that it has sent all, and goes away after a while.
    OPEN_ENDED = "open-ended"
    # A deadline of a few milliseconds, by the call's own grpc-timeout.
    SHORT_DEADLINE = "short-deadline"
    # Other than one message where one is due.
    WRONG_COUNT = "wrong-count"
    COMPRESSED = "compressed"
    # HTTP/2 by hand: `frames` says what is sent.
    FRAMES = "frames"
    # Bytes on a bare connection.
    BARE = "bare"


@dataclass(frozen=True, slots=True)
class FuzzInput:
    """`principal` is `kind:name`, or empty for anonymous; the mesh's token is added when it is sent."""

    number: int
    door: Door
    path: str
    messages: tuple[bytes, ...]
    metadata: Metadata = ()
    principal: str = ""
    manner: Manner = Manner.WHOLE
    # How long an open or cancelled call lasts.
    hold_ms: int = 0
    # What was done to the seed, for people.
    mutations: tuple[str, ...] = ()
    # FRAMES: the body as it goes into DATA frames, length prefixes included.
    body: bytes = b""
    # FRAMES: resets the stream instead of ending it.
    reset: bool = False

    @property
    def size(self) -> int:
        """Bytes of messages and body."""
        return sum(len(message) for message in self.messages) + len(self.body)

    @property
    def metadata_size(self) -> int:
        return sum(len(key) + len(value) + 32 for key, value in self.metadata)

    @property
    def doomed(self) -> bool:
        """Its headers are beyond what HTTP/2 servers take; they may answer by ending the connection."""
        return self.metadata_size >= LARGE_METADATA_BYTES or len(self.metadata) >= MANY_HEADERS

    def to_json(self) -> dict[str, Any]:
        """JSON types only; bytes in base64."""
        return {
            "number": self.number,
            "door": self.door.value,
            "path": self.path,
            "messages": [_text(message) for message in self.messages],
            "metadata": [
                [key, {"base64": _text(value)} if isinstance(value, bytes) else value] for key, value in self.metadata
            ],
            "principal": self.principal,
            "manner": self.manner.value,
            "hold_ms": self.hold_ms,
            "mutations": list(self.mutations),
            "body": _text(self.body),
            "reset": self.reset,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Inverse of `to_json`."""
        return cls(
            number=data["number"],
            door=Door(data["door"]),
            path=data["path"],
            messages=tuple(base64.b64decode(text) for text in data["messages"]),
            metadata=tuple(
                (key, base64.b64decode(value["base64"]) if isinstance(value, dict) else value)
                for key, value in data["metadata"]
            ),
            principal=data["principal"],
            manner=Manner(data["manner"]),
            hold_ms=data["hold_ms"],
            mutations=tuple(data["mutations"]),
            body=base64.b64decode(data["body"]),
            reset=data["reset"],
        )


def read_inputs(path: Path) -> list[FuzzInput]:
    """The inputs of a finding, in the order in which they were sent."""
    return [FuzzInput.from_json(one) for one in json.loads(path.read_text(encoding="utf-8"))["inputs"]]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
