"""The metrics page of the exporter, and a worker that passes it on."""

from __future__ import annotations

import gzip
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter import page as page_module
from avatar_telemetry.exporter.page import (
    FILE_NAME,
    MAX_CLIENTS,
    MAX_LINE,
    MAX_WAIT,
    PageServer,
    RelayedPage,
    fetch,
)
from avatar_telemetry.metrics.exposition import OPENMETRICS, TEXT, MetricsPage, Variant
from avatar_telemetry.metrics.family import Family, family
from tests.support.descriptors import open_below
from tests.support.forked import in_child
from tests.support.waiting import PATIENCE, eventually

GET = {"REQUEST_METHOD": "GET", "HTTP_ACCEPT": "text/plain"}
PLAIN = Variant(openmetrics=False, gzip=False)
REQUEST = b'{"openmetrics": false, "gzip": false}\n'
THREADS = "avatar-telemetry-page"


def families(value: float) -> list[Family]:
    return [family("visits", "counter", "Visits.", [((("path", "/"),), value)])]


class Host:
    """An exporter with the value 1, and a worker whose own store has the value 2."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.guard = Guard(self.failures.append)
        self.collect: Callable[[], list[Family]] = lambda: families(1.0)
        self.own_failures: list[str] = []
        self._servers: list[PageServer] = []

    def serve(self) -> PageServer:
        """Start an exporter's page."""
        page = MetricsPage(lambda: self.collect(), self.guard)
        server = PageServer(self.folder, page, self.guard)
        self._servers.append(server)
        server.start()
        return server

    def scrape(self, **environ: str) -> tuple[str, dict[str, str], bytes]:
        """Request the page of the worker."""
        head: list[Any] = []
        guard = Guard(self.own_failures.append)
        page = RelayedPage(self.folder, lambda: families(2.0), guard)
        parts = page({**GET, **environ}, lambda status, headers: head.extend([status, headers]))
        return head[0], dict(head[1]), b"".join(parts)

    def value(self) -> str:
        """Return the value on the page: 1.0 of the exporter, 2.0 of the worker itself."""
        return self.scrape()[2].split()[-1].decode()

    def connect(self) -> socket.socket:
        """Connect as a client that says nothing yet."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(str(self.folder / FILE_NAME))
        return client

    def close(self) -> None:
        for server in self._servers:
            server.stop()
        self.wait_for_threads()

    def wait_for_threads(self) -> None:
        """Wait until no thread of a stopped server handles a client any more."""
        eventually(
            lambda: not [each for each in threading.enumerate() if each.name == THREADS],
            "the end of the threads",
        )


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that the machine stops for some seconds is waited for."""
    monkeypatch.setattr(page_module, "MAX_WAIT", PATIENCE)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()
    assert open_below(tmp_path) == []


def test_page_of_the_exporter(host: Host) -> None:
    """The worker's response is the exporter's page."""
    host.serve()
    status, headers, body = host.scrape()
    assert status == "200 OK"
    assert headers["Content-Type"] == TEXT
    assert headers["Content-Length"] == str(len(body))
    assert body.endswith(b'visits_total{path="/"} 1.0\n')
    assert (host.folder / FILE_NAME).stat().st_mode & 0o777 == 0o600


def test_page_depends_on_the_request(host: Host) -> None:
    """Format and compression follow the request's headers; HEAD has no body."""
    host.serve()
    _, headers, body = host.scrape(
        HTTP_ACCEPT="application/openmetrics-text; version=1.0.0", HTTP_ACCEPT_ENCODING="gzip"
    )
    assert headers["Content-Type"] == OPENMETRICS
    assert headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(body).endswith(b"# EOF\n")
    status, headers, body = host.scrape(REQUEST_METHOD="HEAD")
    assert (status, body) == ("200 OK", b"")
    assert int(headers["Content-Length"]) > 0


def test_large_page(host: Host) -> None:
    """A page that does not fit into the buffers of a socket arrives whole."""
    text = "d" * (4 << 20)  # instead of many series, whose rendering takes long
    large = [family("visits", "counter", text, [((), 1.0)])]
    host.collect = lambda: large
    host.serve()
    _, headers, body = host.scrape()
    assert len(body) == int(headers["Content-Length"]) > 4 << 20
    assert body.endswith(b"visits_total 1.0\n")


def test_worker_without_an_exporter(host: Host) -> None:
    """Where no exporter serves the page, or none any more, the worker merges the store itself."""
    assert host.value() == "2.0"
    server = host.serve()
    assert host.value() == "1.0"
    server.stop()
    assert (host.folder / FILE_NAME).exists()
    assert host.value() == "2.0"


def test_socket_of_an_exporter_that_was_killed(host: Host) -> None:
    """The next exporter takes the place of the socket."""
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(host.folder / FILE_NAME))
    left.close()
    assert host.value() == "2.0"
    host.serve()
    assert host.value() == "1.0"


def test_folder_in_place_of_the_socket(host: Host) -> None:
    """The page cannot be served then; workers go on without it."""
    (host.folder / FILE_NAME).mkdir()
    with pytest.raises(OSError):
        host.serve()
    assert host.value() == "2.0"


@pytest.mark.parametrize("content", [b"", b"not a socket"])
def test_file_in_place_of_the_socket(host: Host, content: bytes) -> None:
    """A file is no page; the next exporter removes it."""
    (host.folder / FILE_NAME).write_bytes(content)
    assert host.value() == "2.0"
    host.serve()
    assert host.value() == "1.0"


def test_folder_with_a_long_path(tmp_path: Path) -> None:
    """The path of a runtime folder may be longer than the address of a socket."""
    folder = tmp_path.joinpath(*["folder" * 10] * 4)
    folder.mkdir(parents=True)
    host = Host(folder)
    host.serve()
    assert host.value() == "1.0"
    host.close()


def test_exporter_that_cannot_merge(host: Host) -> None:
    """Where the exporter's page fails the worker merges the store itself."""

    def fail() -> list[Family]:
        raise OSError("no memory")

    host.collect = fail
    host.serve()
    assert host.value() == "2.0"
    assert host.failures == ["scrape"]


REQUESTS = [
    pytest.param(b"garbage\n", id="garbage"),
    pytest.param(b"\xff\xfe\n", id="no text"),
    pytest.param(b"7\n", id="number"),
    pytest.param(b"[]\n", id="list"),
    pytest.param(b"{}\n", id="nothing in it"),
    pytest.param(b'{"gzip": false}\n', id="incomplete"),
    pytest.param(b"[" * 50_000 + b"\n", id="nested"),
    pytest.param(b"x" * (2 * MAX_LINE), id="long line"),
]


@pytest.mark.parametrize("request_line", REQUESTS)
def test_client_that_sends_something_else(host: Host, request_line: bytes) -> None:
    """It gets no page, and the next client does."""
    host.serve()
    received = b""
    with host.connect() as client, suppress(ConnectionError):  # it may be closed at any time
        client.sendall(request_line)
        client.shutdown(socket.SHUT_WR)
        received = client.recv(1 << 16)
    assert received == b""
    assert host.value() == "1.0"
    assert set(host.failures) <= {"scrape"}


@pytest.mark.parametrize("sent", [b"", REQUEST[:9]])
def test_client_that_goes(host: Host, sent: bytes) -> None:
    """A worker that was killed in its request is no failure of the exporter's."""
    server = host.serve()
    with host.connect() as client:
        client.sendall(sent)
    assert host.value() == "1.0"
    server.stop()
    host.wait_for_threads()
    assert host.failures == []


def test_clients_that_stall(host: Host) -> None:
    """Clients that send nothing, or read nothing, keep no other waiting."""
    large = [family("visits", "counter", "d" * (1 << 20), [((), 1.0)])]
    host.collect = lambda: large
    host.serve()
    with ExitStack() as opened:
        clients = [opened.enter_context(host.connect()) for _ in range(MAX_CLIENTS - 1)]
        for client in clients[::2]:
            client.sendall(REQUEST)
        assert host.value() == "1.0"


def test_clients_that_take_every_place(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """They lose their places after the bound, also where they send a byte from time to time."""
    monkeypatch.setattr(page_module, "MAX_WAIT", 0.2)
    server = host.serve()
    gone = threading.Event()

    def trickle() -> None:
        while not gone.wait(0.02):
            for client in clients:
                with suppress(OSError):
                    client.sendall(b"x")

    thread = threading.Thread(target=trickle)
    with ExitStack() as opened:
        clients = [opened.enter_context(host.connect()) for _ in range(MAX_CLIENTS)]
        thread.start()
        try:
            for client in clients:
                with suppress(ConnectionError):  # the last byte was not read
                    assert client.recv(1) == b""
        finally:
            gone.set()
            thread.join()
    monkeypatch.setattr(page_module, "MAX_WAIT", PATIENCE)
    assert host.value() == "1.0"
    server.stop()
    host.wait_for_threads()
    assert host.failures == []


class Impostor:
    """Serves bytes in place of the page."""

    def __init__(self, folder: Path, sent: bytes, *, holds: bool) -> None:
        self._sent = sent
        self._holds = holds
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / FILE_NAME))
        self._socket.listen()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        connection, _ = self._socket.accept()
        with connection, suppress(ConnectionError):  # the worker may have gone
            connection.recv(1 << 16)
            connection.sendall(self._sent)
            while self._holds and connection.recv(1 << 16):
                continue

    def close(self) -> None:
        self._thread.join()
        self._socket.close()


@pytest.mark.parametrize(
    ("sent", "holds"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"", True, id="nothing, for ever"),
        pytest.param(b"garbage\nbody", False, id="garbage"),
        pytest.param(b"9" * 50_000 + b"\nbody", False, id="large number"),
        pytest.param(b"-4\nbody", False, id="negative number"),
        pytest.param(b"\nbody", False, id="no length"),
        pytest.param(b"9\nshort", False, id="cut off"),
        pytest.param(b"4\nlonger", False, id="too long"),
    ],
)
def test_page_that_is_none(
    host: Host, monkeypatch: pytest.MonkeyPatch, sent: bytes, holds: bool
) -> None:
    """The worker merges the store itself, whatever stands in the place of the exporter."""
    if holds:
        monkeypatch.setattr(page_module, "MAX_WAIT", 0.3)
    impostor = Impostor(host.folder, sent, holds=holds)
    assert host.value() == "2.0"
    impostor.close()
    assert host.own_failures == []


def test_page_that_is_too_large(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something in the place of the exporter cannot fill the memory of a worker."""
    monkeypatch.setattr(page_module, "MAX_PAGE", 1_000)
    for size, refusal in ((996, nullcontext()), (997, pytest.raises(ValueError, match="more"))):
        impostor = Impostor(host.folder, b"%d\n%b" % (size, b"x" * size), holds=False)
        with refusal:
            assert len(fetch(host.folder, PLAIN)) == size
        impostor.close()
        (host.folder / FILE_NAME).unlink()


def test_fetch_has_a_bound(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exporter that is stopped costs a worker's scrape no more than the bound."""
    monkeypatch.setattr(page_module, "MAX_WAIT", 0.2)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(host.folder / FILE_NAME))
        listener.listen(1)
        with pytest.raises(TimeoutError):
            fetch(host.folder, PLAIN)
    assert MAX_WAIT < 10  # a scrape's own time


def test_a_connection_that_cannot_be_accepted(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lack of a descriptor, or of a thread, ends no server."""
    monkeypatch.setattr(page_module, "PAUSE", 0.01)
    server = host.serve()
    real, failed = server._socket, []

    class Failing:
        def accept(self) -> Any:
            if len(failed) < 2:
                failed.append(1)
                raise OSError(24, "too many open files")
            return real.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    server._socket = Failing()  # type: ignore[assignment]
    for _ in range(4):
        assert host.value() == "1.0"
    assert failed == [1, 1]

    def no_thread(*args: Any) -> Any:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(page_module, "_thread", no_thread)
        for _ in range(MAX_CLIENTS + 1):
            assert host.value() == "2.0"
    assert host.value() == "1.0"


@pytest.mark.usefixtures("as_root")
def test_only_the_user_of_the_workers_connects() -> None:
    """The page holds what /metrics shows to allowed clients only."""

    def refused() -> bool:
        os.setgroups([])
        os.setgid(65_534)
        os.setuid(65_534)
        assert (folder / FILE_NAME).is_socket()  # the folder is open
        with pytest.raises(PermissionError):
            fetch(folder, PLAIN)
        return True

    with tempfile.TemporaryDirectory() as name:  # not below that of pytest, which is closed
        folder = Path(name)
        folder.chmod(0o755)
        host = Host(folder)
        host.serve()
        assert in_child(refused)
        host.close()
