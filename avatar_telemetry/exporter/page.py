"""The metrics page of the exporter, served on a unix socket in the runtime directory.

A worker sends one line of JSON with the variant of the page, and receives the length of the page in
bytes on a line of its own, then the page. Without a response it merges the store itself.
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

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.exposition import MetricsPage, Variant, load_parser
from avatar_telemetry.metrics.family import Family

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


class PageServer:
    """The server of the page, for the workers of the host.

    Args:
        folder: the runtime directory.
        page: the page.
        guard: the guard that counts internal errors.

    Raises:
        OSError: the socket cannot be made.
    """

    def __init__(self, folder: Path, page: MetricsPage, guard: Guard) -> None:
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
        variant = Variant(bool(request["openmetrics"]), bool(request["gzip"]))
        try:
            body = self._page.content(variant)
        except Exception:  # noqa: BLE001 - an OSError counts, too, unlike one of the connection
            self._guard.failed("scrape")
            return
        connection.settimeout(MAX_WAIT)
        connection.sendall(b"%d\n%b" % (len(body), body))


class RelayedPage(MetricsPage):
    """The page of the exporter, or that of the worker where no exporter serves it.

    Args:
        folder: the runtime directory.
        collect: a function that merges the store in this process.
        guard: the guard that counts failures of that function.
    """

    def __init__(self, folder: Path, collect: Callable[[], Iterable[Family]], guard: Guard) -> None:
        super().__init__(collect, guard)
        self._folder = folder
        load_parser()  # not in a request

    def content(self, variant: Variant) -> bytes:
        try:
            return fetch(self._folder, variant)
        except (OSError, ValueError):
            return super().content(variant)


def fetch(folder: Path, variant: Variant, timeout: float | None = None) -> bytes:
    """Request the page from the exporter.

    Args:
        folder: the runtime directory.
        variant: the variant of the page.
        timeout: the seconds for the response, ``None`` for those of a worker.

    Raises:
        OSError: no exporter responds in time.
        ValueError: the response is incomplete, or not the page.
    """
    wait = MAX_WAIT if timeout is None else timeout
    deadline = time.monotonic() + wait
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(wait)
        with _address(folder) as address:
            connection.connect(address)
        connection.sendall(json.dumps(variant._asdict()).encode() + b"\n")
        parts = list(_received(connection, deadline, MAX_PAGE))
    length, _, body = b"".join(parts).partition(b"\n")
    if int(length) != len(body):
        raise ValueError("the page is incomplete")
    return body


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
