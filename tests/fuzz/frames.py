"""Calls that no gRPC library makes: HTTP/2 by hand, and bytes on a bare connection."""

import asyncio
import base64
import binascii
import contextlib

import grpc
import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions

from tests.fuzz.inputs import FuzzInput, Metadata
from tests.fuzz.outcomes import NO_GRPC, Outcome, Trailers

READ_BYTES = 65_536
ANSWER_SECONDS = 1.5
BARE_SECONDS = 0.2
MAX_BODY_BYTES = 200_000


async def send_bare(address: str, data: bytes) -> Outcome:
    """Write the bytes, read what comes for a moment, close. Whatever comes of it is no gRPC answer."""
    host, _, port = address.rpartition(":")
    answer = b""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BARE_SECONDS):
                    while chunk := await reader.read(READ_BYTES):
                        answer += chunk
        finally:
            await _close(writer)
    return Outcome(NO_GRPC, responses=(answer[:MAX_BODY_BYTES],))


async def send_frames(address: str, one: FuzzInput, identity: Metadata) -> Outcome:
    """One stream on a connection of its own."""
    host, _, port = address.rpartition(":")
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
    except OSError as error:
        return Outcome("UNAVAILABLE", f"no connection: {error.strerror}")
    try:
        return await _Exchange(reader, writer).run(one, identity)
    except OSError:
        return Outcome(NO_GRPC)
    finally:
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


class _Exchange:
    """One request and its answer. The checks of the h2 library are off on the way out: bad headers are the point."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
        self._connection = h2.connection.H2Connection(config=config)
        self._headers: list[tuple[bytes, bytes]] = []
        self._data = b""

    async def run(self, one: FuzzInput, identity: Metadata) -> Outcome:
        connection = self._connection
        connection.initiate_connection()
        connection.send_headers(1, _headers(one, identity), end_stream=not one.body and not one.reset)
        for start in range(0, len(one.body), 16_000):
            chunk = one.body[start : start + 16_000]
            if connection.local_flow_control_window(1) < len(chunk):
                break
            connection.send_data(1, chunk, end_stream=start + 16_000 >= len(one.body) and not one.reset)
        self._writer.write(connection.data_to_send())
        await self._writer.drain()
        if one.reset:
            await asyncio.sleep(one.hold_ms / 1000)
            with contextlib.suppress(h2.exceptions.ProtocolError):
                connection.reset_stream(1, h2.errors.ErrorCodes.CANCEL)
            self._writer.write(connection.data_to_send())
            await self._writer.drain()
            return Outcome(NO_GRPC)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while await self._read():
                    pass
        return self._outcome()

    async def _read(self) -> bool:
        """False when the stream or the connection has ended."""
        received = await self._reader.read(READ_BYTES)
        if not received:
            return False
        try:
            events = self._connection.receive_data(received)
        except h2.exceptions.ProtocolError:
            return False
        goes_on = True
        for event in events:
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    self._headers += event.headers or []
                case h2.events.DataReceived():
                    self._data += (event.data or b"")[: max(0, MAX_BODY_BYTES - len(self._data))]
                    self._connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                case h2.events.StreamEnded() | h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    goes_on = False
                case _:
                    pass
        self._writer.write(self._connection.data_to_send())
        return goes_on

    def _outcome(self) -> Outcome:
        headers = {key.lower(): value for key, value in self._headers}
        http_status = int(headers.get(b":status", b"0"))
        if b"grpc-status" not in headers:
            return Outcome(NO_GRPC, responses=(self._data,), http_status=http_status)
        number = int(headers[b"grpc-status"])
        status = next((code.name for code in grpc.StatusCode if code.value[0] == number), f"({number})")
        message = headers.get(b"grpc-message", b"").decode("utf-8", "replace")
        return Outcome(status, message, _trailers(self._headers), (self._data,), http_status=http_status)


def _headers(one: FuzzInput, identity: Metadata) -> list[tuple[bytes, bytes]]:
    fields: dict[str, str | bytes] = {
        ":method": "POST",
        ":scheme": "http",
        ":path": one.path,
        ":authority": "intentmesh",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    fields |= dict((*one.metadata, *identity))
    pseudo = sorted(fields.items(), key=lambda item: not item[0].startswith(":"))
    return [
        (key.encode("latin-1"), value if isinstance(value, bytes) else value.encode("latin-1")) for key, value in pseudo
    ]


def _trailers(headers: list[tuple[bytes, bytes]]) -> Trailers:
    found: list[tuple[str, str | bytes]] = []
    for key, value in headers:
        name = key.decode("latin-1")
        if name.endswith("-bin"):
            with contextlib.suppress(binascii.Error):
                found.append((name, base64.b64decode(value + b"=" * (-len(value) % 4))))
        else:
            found.append((name, value.decode("latin-1")))
    return tuple(found)
