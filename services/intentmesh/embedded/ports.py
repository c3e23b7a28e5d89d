"""Ports of 127.0.0.1 that stay ours between choosing them and the moment a child process listens on them.

Choosing a port by binding to 0 and closing the socket is a race: until the child listens, anybody may be given the
same port. So the socket is kept. On Linux a bound socket that does not listen lets another one bind and listen on the
same port if both set SO_REUSEADDR, which every server here does; but neither bind(0) nor an outgoing connection is
ever given it. The kernel is the lock: it holds between processes, over restarts of the child, and is gone when we
are.
"""

import errno
import socket
from types import TracebackType
from typing import NewType, Self

from intentmesh.embedded.errors import PortInUseError

Port = NewType("Port", int)
LOOPBACK = "127.0.0.1"


class PortReservation:
    """Holds one TCP port of 127.0.0.1 until `release`; a child process may listen on it meanwhile.

    Raises PortInUseError when a port given by number has a listener.
    """

    def __init__(self, port: int = 0) -> None:
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((LOOPBACK, port))
        except OSError as error:
            holder.close()
            if error.errno == errno.EADDRINUSE:
                raise PortInUseError(port) from error
            raise
        self._holder = holder
        self.port = Port(holder.getsockname()[1])

    @property
    def address(self) -> str:
        """host:port, as gRPC and Envoy want it."""
        return f"{LOOPBACK}:{self.port}"

    def release(self) -> None:
        """Give the port back. May be called more than once."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.release()
