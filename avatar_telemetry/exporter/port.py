"""The separate metrics port: its server, and the access to it."""

from __future__ import annotations

import errno
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
"""The challenge to a client without the token (RFC 6750, section 3), which identifies the port."""
POLL_INTERVAL = 0.5
"""Seconds between two checks for the end of the thread."""
RETRY_INTERVAL = 1.0
"""Seconds between two attempts to bind the port."""
CLIENT_TIMEOUT = 10.0
"""The timeout of a read from a client, in seconds."""
MAX_CLIENTS = 8
"""Concurrent connections to the port. Above it, the oldest is closed after :data:`CLIENT_TIMEOUT`:
a client that sends single bytes never has a timeout of a read."""


class Port(threading.Thread):
    """A thread that serves the metrics on the separate port, and binds it as soon as it is free.

    Args:
        address: the host and the port.
        page: the WSGI application to serve.
        guard: the guard that counts failures to bind the port.
        variable: the variable that sets the address, for the log.
    """

    def __init__(
        self, address: tuple[str, int], page: WSGIApplication, guard: Guard, variable: str
    ) -> None:
        super().__init__(name="avatar-telemetry-port", daemon=True)
        self._address = address
        self._variable = variable
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
        """Request the close of the port without waiting for it."""
        self._stopped.set()

    def forget(self) -> None:
        """Close a forked child's copy of the socket, which would keep the port in use."""
        if self._server is not None:
            self._server.socket.close()

    def _serve(self) -> None:
        try:
            server = open_server(self._address)
        except OSError as error:
            raise OSError(bind_fault(self._variable, self._address, error)) from None
        with server:
            server.set_app(self._page)
            LOGGER.info("serving the metrics on %s:%d", *self._address)
            self._server = server
            server.timeout = POLL_INTERVAL
            while not self._stopped.is_set():
                server.handle_request()


class OpenPage:
    """The metrics for all clients, or for those with the token where one is set.

    Args:
        page: the page of the metrics.
        access: the access of clients without the token.
        token: true where a token is set.
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
        OSError: the port cannot be bound.
    """
    host, port = address
    flags = socket.AI_PASSIVE if not host else 0
    family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=flags)[0][0]
    server_class = _Server6 if family == socket.AF_INET6 else _Server
    return server_class((host, port), _QuietHandler)


def bind_fault(variable: str, address: tuple[str, int], error: OSError) -> str:
    """Return the line about a port that cannot be bound: the variable, the fault and the fix."""
    fix = "choose an address of this host, and a port from 1024 on"
    if error.errno == errno.EADDRINUSE:
        fix = "end the program that uses it, or choose another port"
    host, port = address
    return f"{variable}='{host}:{port}': {error.strerror or error}; {fix}"


def _refuse(start_response: StartResponse, status: str, header: tuple[str, str]) -> Iterable[bytes]:
    body = f"{status}\n".encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    start_response(status, [*headers, header])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[WSGIRequestHandler]) -> None:
        self._clients: dict[socket.socket, float] = {}  # the start of each connection, oldest first
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
        # WSGIServer would look up the name of the host, which may take long.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: object, client_address: object) -> None:
        """Do nothing: a client that disconnects is not logged."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _QuietHandler(WSGIRequestHandler):
    timeout = CLIENT_TIMEOUT

    def address_string(self) -> str:
        return str(self.client_address[0])

    def log_message(self, format: str, *args: object) -> None:
        """Do nothing: a scrape is not logged."""
