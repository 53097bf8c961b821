"""HTTP servers in a thread of the test's process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from threading import Thread

from tests.support.waiting import DEADLINE


class Handler(BaseHTTPRequestHandler):
    """The base of handlers: silent, also where a client ends the connection before its response."""

    timeout = DEADLINE

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def respond(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a response.

        Args:
            status: its code.
            body: its content; the length is announced.
            headers: more headers, with ``_`` for ``-``.
        """
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


def make_server(handler: type[Handler], port: int = 0) -> ThreadingHTTPServer:
    """Make a server on a port of 127.0.0.1, 0 for any, with a thread for each connection."""
    return ThreadingHTTPServer(("127.0.0.1", port), handler)


@contextmanager
def serving(server: HTTPServer) -> Iterator[None]:
    """Serve until the end of the block."""
    thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
