"""The separate port of the metrics: its server, and the access to it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.metrics.exposition import Access, MetricsPage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CHALLENGE = 'Bearer realm="avatar-telemetry"'
"""Challenge to a caller without the token (RFC 6750, section 3), which identifies the port."""
POLL_INTERVAL = 0.5
"""Seconds between two checks whether the port is to be closed."""
RETRY_INTERVAL = 1.0
"""Seconds between two attempts to bind the port."""
CLIENT_TIMEOUT = 10.0
"""Seconds that a client of the port may stay silent."""
MAX_CLIENTS = 8
"""Connections to the port at once; the exporter that serves them has other work, too. Where all are
taken, the oldest makes room once it has had :data:`CLIENT_TIMEOUT`: a client that sends a byte now
and then is never silent."""


class Port(threading.Thread):
    """A thread that serves the metrics on the separate port, and binds it as soon as it is free.

    Args:
        address: host and port.
        page: what is served there.
        guard: counts failures to bind the port.
    """

    def __init__(self, address: tuple[str, int], page: WSGIApplication, guard: Guard) -> None:
        super().__init__(name="avatar-telemetry-port", daemon=True)
        self._address = address
        self._page = page
        self._guard = guard
        self._stopped = threading.Event()
        self._server: WSGIServer | None = None

    def run(self) -> None:
        while not self._stopped.is_set():
            with self._guard.at("port"):
                self._serve()
            self._stopped.wait(RETRY_INTERVAL)

    def stop(self) -> None:
        """Close the port soon; does not wait."""
        self._stopped.set()

    def forget(self) -> None:
        """In a forked child: close its copy of the socket, which would keep the port in use."""
        if self._server is not None:
            self._server.socket.close()

    def _serve(self) -> None:
        with open_server(self._address) as server:
            server.set_app(self._page)
            LOGGER.info("serving the metrics on %s:%d", *self._address)
            self._server = server
            server.timeout = POLL_INTERVAL
            while not self._stopped.is_set():
                server.handle_request()


class OpenPage:
    """The metrics to whoever reaches the address, but with the token where one is set.

    Args:
        page: the metrics.
        access: callers that need no token.
        token: whether there is one.
    """

    def __init__(self, page: MetricsPage, access: Access, *, token: bool) -> None:
        self._page = page
        self._access = access
        self._token = token

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _refuse(start_response, "405 Method Not Allowed", ("Allow", "GET, HEAD"))
        if self._token and not self._access.permits(environ):
            return _refuse(start_response, "401 Unauthorized", ("WWW-Authenticate", CHALLENGE))
        return self._page(environ, start_response)


def open_server(address: tuple[str, int]) -> WSGIServer:
    """Bind the port.

    Raises:
        OSError: it cannot be bound.
    """
    host, port = address
    flags = socket.AI_PASSIVE if not host else 0
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)[0][0]
    server_class = _Server6 if family == socket.AF_INET6 else _Server
    return server_class((host, port), _QuietHandler)


def _refuse(start_response: StartResponse, status: str, header: tuple[str, str]) -> Iterable[bytes]:
    body = f"{status}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, header])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._clients: dict[socket.socket, float] = {}  # since when each is served, oldest first
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._admit(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._clients.pop(request, None)

    def _admit(self, request: socket.socket) -> bool:
        now = time.monotonic()
        with self._lock:
            if len(self._clients) >= MAX_CLIENTS:
                oldest, since = next(iter(self._clients.items()))
                if now - since < CLIENT_TIMEOUT:
                    return False
                del self._clients[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)  # its thread ends then
            self._clients[request] = now
        return True

    def server_bind(self) -> None:
        # WSGIServer would look up the host's name, which can take as long as DNS likes.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: object) -> None:
        """A scrape is no news."""
