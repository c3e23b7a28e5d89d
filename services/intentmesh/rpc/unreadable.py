"""Answers that are not the message they should be fail the call that got them.

grpc.aio hands such an answer over as None, and whoever reads it trips over that: one solver that answers noise would
end every auction. The synchronous library ends the call with INTERNAL, and so do we.
"""

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import grpc
from google.protobuf.message import DecodeError

_UNREADABLE = object()
_WORDS = "the answer is not a message of the expected type"


def reader(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The deserializer for a call that `ReadableCall` wraps: never raises, or the library would log each failure."""

    def read(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError:
            return _UNREADABLE

    return read


class ReadableCall:
    """A call of grpc.aio, whichever kind; raises AioRpcError INTERNAL in the place of an answer that cannot be read."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        """Everything else is the call's own."""
        return getattr(self._call, name)

    def __await__(self) -> Generator[Any, None, Any]:
        """The answer of a call with one."""
        return self._answer().__await__()

    def __aiter__(self) -> AsyncIterator[Any]:
        """The answers of a call with many."""
        return self._answers()

    async def read(self) -> Any:
        """The next answer of a call with many, or grpc.aio.EOF."""
        return self._readable(await self._call.read())

    async def _answer(self) -> Any:
        return self._readable(await self._call)

    async def _answers(self) -> AsyncIterator[Any]:
        async for answer in self._call:
            yield self._readable(answer)

    def _readable(self, answer: Any) -> Any:
        if answer is not _UNREADABLE:
            return answer
        self._call.cancel()
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.INTERNAL, grpc.aio.Metadata(), grpc.aio.Metadata(), details=_WORDS
        ) from None
