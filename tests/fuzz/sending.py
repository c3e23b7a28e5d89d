"""Sends an input and waits for what comes of it; never raises for what a server does."""

import asyncio
import contextlib
import time
from typing import Any

import grpc
from grpc._cython import cygrpc  # the only name of the error that a write may end with

from tests.fuzz import frames
from tests.fuzz.doors import Doors
from tests.fuzz.inputs import FuzzInput, Manner
from tests.fuzz.outcomes import HANG, OPEN, Outcome, Trailers
from tests.fuzz.surface import rpc_of

HANG_SECONDS = 75.0
"""Of a unary call; services end one after 60 s by design, the gateway after 30."""
STREAM_SECONDS = 0.3
"""How long a stream that goes on is listened to."""
STREAM_RESPONSES = 20
SHORT_DEADLINES_SECONDS = (0.0005, 0.002, 0.01, 0.05)


class Sender:
    """Sends to one mesh."""

    def __init__(self, doors: Doors) -> None:
        self._doors = doors

    async def send(self, one: FuzzInput) -> Outcome:
        """The outcome; HANG where none came in time."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(HANG_SECONDS):
                outcome = await self._send(one)
        except TimeoutError:
            outcome = Outcome(HANG)
        seconds = time.monotonic() - started
        return Outcome(
            outcome.status, outcome.message, outcome.trailers, outcome.responses, seconds, outcome.http_status
        )

    async def _send(self, one: FuzzInput) -> Outcome:
        address = self._doors.addresses[one.door]
        if one.manner is Manner.BARE:
            return await frames.send_bare(address, one.body)
        if one.manner is Manner.FRAMES:
            return await frames.send_frames(address, one, self._doors.identity(one.principal))
        rpc = rpc_of(one.path)
        streaming = rpc is None or rpc.response_streaming or rpc.request_streaming
        if one.manner in (Manner.WHOLE, Manner.COMPRESSED) and not streaming:
            return await self._unary(one)
        return await self._stream(one, ends=rpc is None or not rpc.response_streaming)

    async def _unary(self, one: FuzzInput) -> Outcome:
        call = self._doors.channel(one.door, doomed=one.doomed).unary_unary(one.path)(
            one.messages[0],
            metadata=(*one.metadata, *self._doors.identity(one.principal)),
            compression=grpc.Compression.Gzip if one.manner is Manner.COMPRESSED else None,
        )
        try:
            response = await call
            return Outcome("OK", trailers=_pairs(await call.trailing_metadata()), responses=(response,))
        except grpc.aio.AioRpcError as error:
            return _of_error(error, ())
        except asyncio.CancelledError:
            return await _of_cancellation(call, ())
        finally:
            call.cancel()

    async def _stream(self, one: FuzzInput, *, ends: bool) -> Outcome:
        """Any call as a stream: on the wire they are all the same."""
        deadline = SHORT_DEADLINES_SECONDS[one.number % len(SHORT_DEADLINES_SECONDS)]
        call = self._doors.channel(one.door, doomed=one.doomed).stream_stream(one.path)(
            metadata=(*one.metadata, *self._doors.identity(one.principal)),
            timeout=deadline if one.manner is Manner.SHORT_DEADLINE else None,
            compression=grpc.Compression.Gzip if one.manner is Manner.COMPRESSED else None,
        )
        # A call that ends by itself is waited for to its end, however long; a watch would go on for ever.
        # A unary call without a message never reaches a handler: grpc's server waits until its client leaves.
        waits = ends and (one.messages or one.manner is Manner.SHORT_DEADLINE)
        listens_for = one.hold_ms / 1000 if one.manner in _LEAVES else None if waits else STREAM_SECONDS
        responses: list[bytes] = []
        try:
            async with asyncio.timeout(listens_for):
                await _write(call, one)
                while len(responses) < STREAM_RESPONSES:
                    response: Any = await call.read()
                    if response is grpc.aio.EOF:
                        return await _of_ended(call, tuple(responses))
                    responses.append(response)
        except TimeoutError:
            return Outcome(OPEN, responses=tuple(responses))
        except grpc.aio.AioRpcError as error:
            return _of_error(error, tuple(responses))
        except asyncio.CancelledError:
            return await _of_cancellation(call, tuple(responses))
        finally:
            call.cancel()
        return Outcome(OPEN, responses=tuple(responses))


_OWN_CANCELLATION = "Locally cancelled by application!"
_LEAVES = frozenset((Manner.CANCELLED, Manner.OPEN_ENDED))


async def _write(call: Any, one: FuzzInput) -> None:
    """Send all; a call that has ended meanwhile says why when it is read."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, cygrpc.ExecuteBatchError):
        for message in one.messages:
            if call.done():
                return
            await call.write(message)
        if one.manner is not Manner.OPEN_ENDED and not call.done():
            await call.done_writing()


async def _of_cancellation(call: Any, responses: tuple[bytes, ...]) -> Outcome:
    """The library raises this for a call that the server ended with CANCELLED, as it does for a task's own end."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise
    return await _of_ended(call, responses)


async def _of_ended(call: Any, responses: tuple[bytes, ...]) -> Outcome:
    code, details = await call.code(), await call.details() or ""
    if code is grpc.StatusCode.CANCELLED and details == _OWN_CANCELLATION:
        return Outcome(OPEN, responses=responses)
    return Outcome(code.name, details, _pairs(await call.trailing_metadata()), responses)


def _of_error(error: grpc.aio.AioRpcError, responses: tuple[bytes, ...]) -> Outcome:
    return Outcome(error.code().name, error.details() or "", _pairs(error.trailing_metadata()), responses)


def _pairs(metadata: Any) -> Trailers:
    return tuple((key, value) for key, value in metadata or ())
