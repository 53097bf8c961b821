"""The metrics page of the exporter, served on a unix socket in the runtime folder.

A worker sends one line of JSON with what the page depends on of a request, and receives one line of
JSON with status and headers, then the body.
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
"""Bytes of a page with its head; a longer one is merged in the worker."""
MAX_CLIENTS = 8
"""Connections that are served at once: one that stalls must not keep the others waiting."""
BACKLOG = 64
PAUSE = 0.5
"""Seconds after a connection could not be accepted, say for want of a descriptor."""
KEYS = ("REQUEST_METHOD", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING")
"""The variables of a request that the page depends on."""


class PageServer:
    """Serves the page to the workers of the host.

    Args:
        folder: the runtime folder.
        page: the metrics.
        guard: counts failures of ours.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, folder: Path, page: WSGIApplication, guard: Guard) -> None:
        self._page = page
        self._guard = guard
        with suppress(FileNotFoundError):
            (folder / FILE_NAME).unlink()  # of an exporter that was killed
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
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)
        self._thread = _thread(self._run)

    def start(self) -> None:
        """Serve from now on, in threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Serve no more; workers then merge the store themselves."""
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
            self._places.acquire()
            try:
                _thread(self._handle, connection).start()
            except RuntimeError:  # no thread can be started
                connection.close()
                self._places.release()

    def _handle(self, connection: socket.socket) -> None:
        try:
            with connection, self._guard.at("scrape"), suppress(OSError):
                self._serve(connection)
        finally:
            self._places.release()

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
    """The page of the exporter; a worker's own where no exporter serves it.

    Args:
        folder: the runtime folder.
        own: merges the store in this process.
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


def fetch(folder: Path, environ: WSGIEnvironment) -> tuple[str, list[tuple[str, str]], bytes]:
    """Request the page from the exporter.

    Args:
        folder: the runtime folder.
        environ: of the request.

    Returns:
        Status, headers, body.

    Raises:
        OSError: no exporter serves it in time.
        ValueError: it serves something else.
    """
    deadline = time.monotonic() + MAX_WAIT
    request = {key: environ[key] for key in KEYS if isinstance(environ.get(key), str)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(MAX_WAIT)
        with _address(folder) as address:
            connection.connect(address)
        connection.sendall(json.dumps(request).encode() + b"\n")
        parts = list(_received(connection, deadline, MAX_PAGE))
    line, _, body = b"".join(parts).partition(b"\n")
    head = json.loads(line)
    headers = [(str(name), str(value)) for name, value in head["headers"]]
    expected = dict(headers).get("Content-Length", str(len(body)))
    if request["REQUEST_METHOD"] != "HEAD" and int(expected) != len(body):
        raise ValueError("the page was cut off")
    status = str(head["status"])
    if not status.startswith("200 "):
        raise ValueError(f"the exporter cannot serve the page: {status}")
    return status, headers, body


def _received(connection: socket.socket, deadline: float, limit: int) -> Iterator[bytes]:
    """Yield what is received until the end of the stream.

    Raises:
        TimeoutError: it did not end in time.
        ValueError: it has more bytes than the limit.
    """
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        part = connection.recv(1 << 18)
        if not part:
            return
        limit -= len(part)
        if limit < 0:
            raise ValueError("more than is expected")
        yield part
    raise TimeoutError


def _read_line(connection: socket.socket, deadline: float) -> bytes:
    """Return the first line, or what came before the end of the stream.

    Raises:
        OSError: it did not come in time.
        ValueError: it is too long.
    """
    line = b""
    for part in _received(connection, deadline, MAX_LINE):
        line += part
        if b"\n" in part:
            break
    return line.partition(b"\n")[0]


def _thread(target: Callable[..., None], *args: object) -> threading.Thread:
    return threading.Thread(target=target, args=args, name="avatar-telemetry-page", daemon=True)


@contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The address of the socket: through a descriptor of its folder, whose path may be longer than
    the 107 bytes that an address has (unix(7))."""
    directory = os.open(folder, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        near = f"/proc/self/fd/{directory}"
        yield f"{near if os.path.isdir(near) else folder}/{FILE_NAME}"
    finally:
        os.close(directory)
