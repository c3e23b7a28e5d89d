"""A client that opens watches and takes nothing of what it is sent, which no gRPC library does: HTTP/2 by hand."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
from google.protobuf.message import Message
from h2.settings import SettingCodes

from tests.integration.status.replicas import DEADLINE_SECONDS

READ_BYTES = 65_536
# As HTTP/2 has it where nobody says otherwise.
WINDOW_BYTES = 65_535
_MOST = 2**31 - 1


class Staller:
    """One connection. It answers pings as any living peer, and gives none of its windows back.

    `window` is what it takes of each stream, in bytes.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, window: int) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = h2.connection.H2Connection(config=h2.config.H2Configuration(client_side=True))
        self._connection.initiate_connection()
        self._connection.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self._send()
        self._news = asyncio.Condition()
        self._settled: set[int] = set()
        self._answered: set[int] = set()
        self._ended: set[int] = set()

    async def watch(self, method: str, request: Message) -> int:
        """Open a watch and wait until it stands. Returns the stream's number."""
        stream = await self.ask(method, request)
        await self._until(stream, self._answered)
        return stream

    async def ask(self, method: str, request: Message) -> int:
        """Open a watch, whether it is answered or not. Returns the stream's number."""
        await self._until(SettingCodes.INITIAL_WINDOW_SIZE, self._settled)
        stream = self._connection.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", f"/intentmesh.v1.StatusService/{method}"),
            (":authority", "status"),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
        ]
        body = request.SerializeToString()
        self._connection.send_headers(stream, headers)
        self._connection.send_data(stream, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=True)
        self._send()
        return stream

    async def read_no_more(self) -> None:
        """Leave everything in the socket from now on, and have windows that are never full."""
        await self._until(SettingCodes.INITIAL_WINDOW_SIZE, self._settled)
        self._connection.increment_flow_control_window(_MOST - self._connection.inbound_flow_control_window)
        self._send()
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
        self._writer.transport.pause_reading()

    async def cut_off(self, stream: int) -> None:
        """Wait until the server has given the stream up."""
        await self._until(stream, self._ended)

    async def stall(self) -> None:
        """Until cancelled or the connection ends."""
        while received := await self._reader.read(READ_BYTES):
            for event in self._connection.receive_data(received):
                match event:
                    case h2.events.SettingsAcknowledged():
                        self._settled.update(event.changed_settings)
                    case h2.events.ResponseReceived(stream_id=int(stream)):
                        self._answered.add(stream)
                    case h2.events.StreamEnded(stream_id=int(stream)) | h2.events.StreamReset(stream_id=int(stream)):
                        self._ended.add(stream)
                    case _:
                        pass
            self._send()
            async with self._news:
                self._news.notify_all()

    def _send(self) -> None:
        self._writer.write(self._connection.data_to_send())

    async def _until(self, number: int, seen: set[int]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS), self._news:
            await self._news.wait_for(lambda: number in seen)


@asynccontextmanager
async def stalling(target: str, *, window: int = WINDOW_BYTES) -> AsyncIterator[Staller]:
    """Leaving the block closes the connection."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    staller = Staller(reader, writer, window)
    reading = asyncio.create_task(staller.stall())
    try:
        yield staller
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
