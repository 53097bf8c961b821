"""Exchanges with a collector that misbehaves: they end, and no more than needed is read."""

from __future__ import annotations

import itertools
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from avatar_telemetry.exporter import session as session_module
from avatar_telemetry.exporter.session import MAX_RESPONSE, BoundedSession, RefusedResponseError
from tests.support.real_servers import hold_port
from tests.support.waiting import PATIENCE

OK = b"HTTP/1.1 200 OK\r\n"
SMALL = OK + b"Content-Length: 2\r\n\r\nok"
SOON = 0.5
"""Seconds of an exchange that nothing but its timeout ends."""
Talk = Callable[[socket.socket], None]


class Peer:
    """Listens on a port and does the same with each connection."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1/metrics"
        self._served: list[tuple[socket.socket, threading.Thread]] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._served.append((connection, thread))
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(PATIENCE)
            try:
                self._talk(connection)
            except OSError:
                return

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        for connection, thread in self._served:
            with suppress(OSError):  # closed
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def listen() -> Iterator[Callable[[Talk], Peer]]:
    peers: list[Peer] = []

    def start(talk: Talk) -> Peer:
        peers.append(Peer(talk))
        return peers[-1]

    yield start
    for peer in peers:
        peer.close()


def receive(connection: socket.socket) -> bytes:
    if not (data := connection.recv(65_536)):
        raise ConnectionError("the client has closed the connection")
    return data


def read_request(connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += receive(connection)


def answering(*parts: bytes, again: bytes = b"", pause: float = 0.0) -> Talk:
    """Read a request, send these parts, then one part again and again."""

    def talk(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            for part in parts:
                connection.sendall(part)
            while again:
                connection.sendall(again)
                time.sleep(pause)

    return talk


def silent(connection: socket.socket) -> None:
    read_request(connection)
    connection.recv(1)


def deaf(connection: socket.socket) -> None:
    """Read nothing until the connection is shut down."""
    closed = select.poll()
    closed.register(connection, select.POLLHUP)
    closed.poll(PATIENCE * 1000)


def post(url: str, body: bytes = b"x", timeout: float = SOON) -> requests.Response | Exception:
    """Send a request, in a thread that must end within PATIENCE."""
    result: list[requests.Response | Exception] = []

    def run() -> None:
        try:
            with BoundedSession() as session:
                result.append(session.post(url, data=body, timeout=timeout))
        except requests.RequestException as error:
            result.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the exchange does not end"
    return result[0]


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(silent, id="no response"),
        pytest.param(answering(again=b"H", pause=0.1), id="status line byte by byte"),
        pytest.param(answering(OK, again=b"X-A: b\r\n", pause=0.1), id="headers without end"),
        pytest.param(answering(OK, again=b"X-A: b\r\n"), id="headers without end, fast"),
        pytest.param(answering(again=b"HTTP/1.1 100 Continue\r\n\r\n"), id="continue for ever"),
        pytest.param(answering(b"garbage\r\n\r\n"), id="garbage"),
        pytest.param(answering(again=b"g"), id="garbage without end"),
    ],
)
def test_no_usable_response(listen: Callable[[Talk], Peer], talk: Talk) -> None:
    """Without a whole head of a response in time the exchange fails."""
    assert isinstance(post(listen(talk).url), requests.RequestException)


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(answering(SMALL), id="short"),
        pytest.param(answering(OK + b"Content-Length: 99999999\r\n\r\n", again=b"x" * 4096),
                     id="long"),
        pytest.param(answering(OK + b"Content-Length: 999999999999999\r\n\r\n"),
                     id="longer than the memory"),
        pytest.param(answering(OK + b"Transfer-Encoding: chunked\r\n\r\n", again=b"1\r\nx\r\n"),
                     id="chunked without end"),
        pytest.param(answering(OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"),
                     id="chunk without end"),
        pytest.param(answering(OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n"),
                     id="chunk of a negative length"),
        pytest.param(answering(OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok"),
                     id="not compressed"),
    ],
)  # fmt: skip
def test_status_is_enough(listen: Callable[[Talk], Peer], talk: Talk) -> None:
    """The status counts, whatever the body does after it."""
    response = post(listen(talk).url, timeout=2 * PATIENCE)
    assert isinstance(response, requests.Response)
    assert response.status_code == 200
    assert len(response.content) <= MAX_RESPONSE


def test_body_byte_by_byte(listen: Callable[[Talk], Peer], monkeypatch: pytest.MonkeyPatch) -> None:
    """The status counts, too, where the deadline comes before the end of the body."""
    ticks = itertools.count()  # each look at the clock takes a second
    monkeypatch.setattr(session_module, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    peer = listen(answering(OK + b"\r\n", again=b"x", pause=0.001))
    response = post(peer.url, timeout=50.0)
    assert isinstance(response, requests.Response)
    assert response.status_code == 200
    assert next(ticks) < 60


def test_endless_response_is_not_read(listen: Callable[[Talk], Peer]) -> None:
    """Of an endless response no more is read than the limit, though time is left."""
    sent = []

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        connection.sendall(OK + b"\r\n")
        while True:
            sent.append(connection.send(b"x" * 4096))

    post(listen(talk).url, timeout=2 * PATIENCE)
    # What lies in the kernel's buffers of both sides comes on top.
    assert sum(sent) < MAX_RESPONSE + (8 << 20)


def test_endless_head_is_not_read(listen: Callable[[Talk], Peer]) -> None:
    """Interim responses, of which HTTP allows any number, count for the limit, too."""
    peer = listen(answering(again=b"HTTP/1.1 100 Continue\r\n\r\n"))
    assert isinstance(post(peer.url, timeout=2 * PATIENCE), requests.RequestException)


def test_collector_that_does_not_read(listen: Callable[[Talk], Peer]) -> None:
    """A collector that takes the connection and reads nothing of a long request fails in time."""
    assert isinstance(post(listen(deaf).url, b"x" * (64 << 20)), requests.RequestException)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_redirect_is_a_failure(listen: Callable[[Talk], Peer], status: int) -> None:
    """A redirect is not followed."""
    other = listen(answering(SMALL))
    head = f"HTTP/1.1 {status} Go\r\nLocation: {other.url}\r\nContent-Length: 0\r\n\r\n".encode()
    peer = listen(answering(head))
    assert isinstance(post(peer.url, timeout=PATIENCE), RefusedResponseError)
    assert other.connections == 0


def test_connection_is_used_again(listen: Callable[[Talk], Peer]) -> None:
    """Short responses leave the connection open for the next request."""
    peer = listen(answering(SMALL))
    with BoundedSession() as session:
        for _ in range(3):
            assert session.post(peer.url, data=b"x", timeout=PATIENCE).status_code == 200
    assert peer.connections == 1


def test_no_cookie_is_kept(listen: Callable[[Talk], Peer]) -> None:
    """Cookies of a collector neither fill the memory nor make the next request longer."""
    peer = listen(answering(OK + b"Set-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"))
    with BoundedSession() as session:
        response = session.post(peer.url, data=b"x", timeout=PATIENCE)
        assert response.headers["Set-Cookie"] == "a=b"
        assert len(session.cookies) == 0


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        pytest.param(b"", b"ok", id="plain"),
        pytest.param(b"Content-Encoding: gzip\r\n", b"", id="compressed"),
    ],
)
def test_body_of_a_response_is_kept(
    listen: Callable[[Talk], Peer], head: bytes, expected: bytes
) -> None:
    """It may be a partial success; a compressed one counts as empty."""
    peer = listen(answering(OK + head + b"Content-Length: 2\r\n\r\nok"))
    with BoundedSession() as session:
        assert session.post(peer.url, data=b"x", timeout=PATIENCE).content == expected


def test_refused() -> None:
    """A refused connection is a connection error, after which a client tries again."""
    with hold_port() as bound:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        assert isinstance(post(url), requests.ConnectionError)


def test_all_addresses_of_a_name_share_one_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four addresses that do not respond take no longer than one."""
    now, waited = [100.0], []

    def hang(address: tuple[str, int], timeout: float, *options: Any) -> None:
        waited.append((address[0], timeout))
        now[0] += timeout
        raise TimeoutError

    addresses = [f"192.0.2.{number}" for number in range(1, 5)]
    monkeypatch.setattr(session_module, "addresses_of", lambda name, port: addresses)
    monkeypatch.setattr(session_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(session_module, "create_connection", hang)
    response = post("http://collector.test:4318/v1/traces", timeout=8.0)
    assert isinstance(response, requests.ConnectTimeout)
    assert [address for address, _ in waited] == addresses
    assert [seconds for _, seconds in waited] == pytest.approx([2.0] * 4)


def test_an_address_that_is_dead_leaves_the_others(
    listen: Callable[[Talk], Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next address is tried, and the name stays that of the Host header."""
    peer = listen(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    names = []

    def addresses(name: str, port: int) -> list[str]:
        names.append(name)
        return ["127.0.0.9", "127.0.0.1"]

    monkeypatch.setattr(session_module, "addresses_of", addresses)
    url = peer.url.replace("127.0.0.1", "localhost")
    response = post(url, timeout=PATIENCE)
    assert isinstance(response, requests.Response), response
    assert (response.status_code, names) == (200, ["localhost"])


def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a failed connection, as with requests."""

    def fail(name: str, port: int) -> list[str]:
        raise socket.gaierror("no such name")

    monkeypatch.setattr(session_module, "addresses_of", fail)
    assert isinstance(post("http://collector.test:1/x"), requests.ConnectionError)


def test_the_query_is_in_no_log(
    listen: Callable[[Talk], Peer], caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 logs the URLs of others at level DEBUG, and not ours, whose query may hold a key."""
    caplog.set_level("DEBUG")
    peer = listen(lambda connection: (read_request(connection), connection.sendall(SMALL)))
    with BoundedSession() as session:
        session.request("POST", f"{peer.url}?key=secret", data=b"x", headers={}, timeout=PATIENCE)
    assert "secret" not in caplog.text
    with requests.Session() as other:
        other.post(f"{peer.url}?key=theirs", data=b"x", timeout=PATIENCE)
    assert "theirs" in caplog.text
