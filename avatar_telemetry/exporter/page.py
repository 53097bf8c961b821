"""The metrics page of the exporter, served on a unix socket in the runtime directory.

A worker sends one line of JSON with the variables of the request that the page depends on, and
receives one line of JSON with status and headers, then the body.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.exposition import MetricsPage

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

FILE_NAME = "exporter.sock"
MAX_WAIT = 2.0
"""Seconds that a worker waits for the page before it merges the store itself."""
MAX_LINE = 65_536
MAX_PAGE = 1 << 26
"""Bytes of a page with its first line; for a larger one the worker merges the store itself."""
MAX_CLIENTS = 8
"""Concurrent connections: one that stalls must not delay the others."""
BACKLOG = 64
PAUSE = 0.5
"""Seconds of pause after a failed accept, such as without a free descriptor."""
KEYS = ("REQUEST_METHOD", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING")
"""The variables of a request that the page depends on."""


class PageServer:
    """The server of the page, for the workers of the host.

    Args:
        folder: the runtime directory.
        page: the WSGI application of the metrics.
        guard: the guard that counts internal errors.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, folder: Path, page: WSGIApplication, guard: Guard) -> None:
        self._page = page
        self._guard = guard
        with suppress(FileNotFoundError):
            (folder / FILE_NAME).unlink()  # left by an exporter that was killed
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _address(folder) as address:
                self._socket.bind(address)
            (folder / FILE_NAME).chmod(0o600)
            self._socket.listen(BACKLOG)
        except BaseException:
            self._socket.close()
            raise
        self._stopped = threading.Event()
        self._free_connections = threading.BoundedSemaphore(MAX_CLIENTS)
        self._thread = _thread(self._run)

    def start(self) -> None:
        """Start to serve, in its own threads."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; workers then merge the store themselves."""
        self._stopped.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._socket.accept()
            except OSError:
                self._stopped.wait(PAUSE)
                continue
            self._free_connections.acquire()
            try:
                _thread(self._handle, connection).start()
            except RuntimeError:  # no thread can be started
                connection.close()
                self._free_connections.release()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection, self._guard.at("scrape"), suppress(OSError):
                self._serve(connection)
        finally:
            self._free_connections.release()

    def _serve(self, connection: socket.socket) -> None:
        line = _read_line(connection, time.monotonic() + MAX_WAIT)
        if not line:
            return  # the client has gone
        request = json.loads(line)
        head: dict[str, Any] = {}

        def start_response(status: str, headers: list[tuple[str, str]]) -> None:
            head.update(status=status, headers=headers)

        environ = {key: request[key] for key in KEYS if key in request}
        body = b"".join(self._page(environ, start_response))  # type: ignore[arg-type]
        connection.settimeout(MAX_WAIT)
        connection.sendall(json.dumps(head).encode() + b"\n" + body)


class RelayedPage:
    """The page of the exporter, or that of the worker where no exporter serves it.

    Args:
        folder: the runtime directory.
        own: the page that merges the store in this process.
    """

    def __init__(self, folder: Path, own: MetricsPage) -> None:
        self._folder = folder
        self._own = own

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            status, headers, body = fetch(self._folder, environ)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return self._own(environ, start_response)
        start_response(status, headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def fetch(
    folder: Path, environ: WSGIEnvironment, timeout: float | None = None
) -> tuple[str, list[tuple[str, str]], bytes]:
    """Request the page from the exporter.

    Args:
        folder: the runtime directory.
        environ: the WSGI environment of the request.
        timeout: the seconds for the response, ``None`` for those of a worker.

    Returns:
        The status, the headers and the body.

    Raises:
        OSError: no exporter responds in time.
        ValueError: the response is incomplete, or not the page.
    """
    wait = MAX_WAIT if timeout is None else timeout
    deadline = time.monotonic() + wait
    request = {key: environ[key] for key in KEYS if isinstance(environ.get(key), str)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(wait)
        with _address(folder) as address:
            connection.connect(address)
        connection.sendall(json.dumps(request).encode() + b"\n")
        parts = list(_received(connection, deadline, MAX_PAGE))
    line, _, body = b"".join(parts).partition(b"\n")
    head = json.loads(line)
    headers = [(str(name), str(value)) for name, value in head["headers"]]
    expected = dict(headers).get("Content-Length", str(len(body)))
    if request["REQUEST_METHOD"] != "HEAD" and int(expected) != len(body):
        raise ValueError("the page is incomplete")
    status = str(head["status"])
    if not status.startswith("200 "):
        raise ValueError(f"the exporter cannot serve the page: {status}")
    return status, headers, body


def _received(connection: socket.socket, deadline: float, limit: int) -> Iterator[bytes]:
    """Yield the received parts until the end of the stream.

    Raises:
        TimeoutError: the stream did not end in time.
        ValueError: the stream has more bytes than the limit.
    """
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        part = connection.recv(1 << 18)
        if not part:
            return
        limit -= len(part)
        if limit < 0:
            raise ValueError("more bytes than expected")
        yield part
    raise TimeoutError


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    """Return the first line, or nothing where the stream ends before its end.

    Raises:
        OSError: the line did not arrive in time.
        ValueError: the line is too long.
    """
    line = b""
    for part in _received(connection, deadline, MAX_LINE):
        line += part
        if b"\n" in part:
            return line.partition(b"\n")[0]
    return b""


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    return threading.Thread(target=target, args=args, name="avatar-telemetry-page", daemon=True)


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """Open the directory of the socket, and yield an address through its descriptor: the path may
    be longer than the 107 bytes of an address (unix(7))."""
    directory = os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        short = f"/proc/self/fd/{directory}"
        yield f"{short if os.path.isdir(short) else folder}/{FILE_NAME}"
    finally:
        os.close(directory)
