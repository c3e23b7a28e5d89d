"""Shows the metrics over HTTP, in a thread of its own: neither scrape nor event loop waits for the other."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

POLL_SECONDS = 0.05
"""How long the end of the server may take; the library's own server takes ten times that."""
READ_TIMEOUT_SECONDS = 10


class _Handler(BaseHTTPRequestHandler):
    timeout = READ_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        body = generate_latest()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE_LATEST)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        """Scrapes are no events."""


class _Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def metrics_server(host: str, port: int) -> Iterator[int]:
    """Serves inside of the block; yields the port taken. Raises OSError when the address cannot be taken."""
    server = (_Server6 if ":" in host else ThreadingHTTPServer)((host, port), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
