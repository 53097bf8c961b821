"""The separate port: who is served there, and for how long."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from threading import Thread
from wsgiref.simple_server import WSGIServer
from wsgiref.validate import validator

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.parsing import allow
from avatar_telemetry.exporter import port as port_module
from avatar_telemetry.exporter.port import CHALLENGE, MAX_CLIENTS, OpenPage, Port, open_server
from avatar_telemetry.metrics.exposition import Access, MetricsPage
from tests.support.forked import in_child
from tests.support.real_servers import hold_port
from tests.support.waiting import DEADLINE, eventually
from tests.support.wsgi_client import call


def page(environ, start_response):
    start_response("200 OK", [("Content-Length", "4")])
    return [b"page"]


@pytest.fixture
def server() -> Iterator[WSGIServer]:
    with open_server(("127.0.0.1", 0)) as server:
        server.set_app(page)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connect(server: WSGIServer) -> socket.socket:
    return socket.create_connection(server.server_address[:2], timeout=DEADLINE)


def scrape(server: WSGIServer) -> bytes:
    """What a scraper gets, to the end of the connection."""
    with connect(server) as client:
        answer = b""
        try:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while piece := client.recv(65_536):
                answer += piece
        except ConnectionError:
            pass
        return answer


def hold_all(server: WSGIServer, clients: ExitStack) -> None:
    """Take every place, with requests that never end. Each has one when the next connects."""
    for _ in range(MAX_CLIENTS):
        clients.enter_context(connect(server)).sendall(b"GET / HTTP/1.0\r\nA")


@pytest.mark.parametrize(
    ("patience", "answered"),
    [pytest.param(0.0, True, id="they had their time"), pytest.param(1e9, False, id="not yet")],
)
def test_clients_that_take_every_place(server, monkeypatch, patience, answered) -> None:
    """Where every place is taken the oldest client makes room, but not before its time."""
    monkeypatch.setattr(port_module, "CLIENT_TIMEOUT", patience)
    monkeypatch.setattr(port_module._QuietHandler, "timeout", DEADLINE)
    with ExitStack() as clients:
        hold_all(server, clients)
        assert scrape(server).endswith(b"page") is answered


def test_port_in_use(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the variable and the fix, and the port is bound as soon as it is free."""
    failed: list[str] = []
    with hold_port() as taken:
        taken.listen()
        address = taken.getsockname()
        port = Port(address, page, Guard(failed.append), "OTEL_PROMETHEUS_ENDPOINT")
        port.start()
        eventually(lambda: failed, what="the failure")
    eventually(lambda: port._server, what="the port")
    port.stop()
    port.join(DEADLINE)
    assert (
        f"OTEL_PROMETHEUS_ENDPOINT='127.0.0.1:{address[1]}': Address already in use; end the"
        " program that uses it, or choose another port" in caplog.text
    )


def test_forked_child() -> None:
    """A child that lives on does not keep the port of its parent in use."""
    port = Port(("127.0.0.1", 0), page, Guard(), "OTEL_PROMETHEUS_ENDPOINT")
    port.start()
    eventually(lambda: port._server, "the port")
    listener = port._server.socket.fileno()

    def work() -> bool:
        port.forget()
        try:
            os.fstat(listener)
        except OSError:
            return True
        return False

    assert in_child(work)
    port.stop()
    port.join(DEADLINE)
    assert not port.is_alive()


TOKEN = {"HTTP_AUTHORIZATION": "Bearer sesame-sesame"}
WRONG = {"HTTP_AUTHORIZATION": "Bearer sesame-sesamf"}


@pytest.mark.parametrize(
    ("token", "environ", "status"),
    [
        pytest.param("", {}, "200 OK", id="open"),
        pytest.param("", {"REQUEST_METHOD": "HEAD"}, "200 OK", id="head"),
        pytest.param("", {"REQUEST_METHOD": "POST"}, "405 Method Not Allowed", id="post"),
        pytest.param("sesame-sesame", {}, "401 Unauthorized", id="no token"),
        pytest.param("sesame-sesame", WRONG, "401 Unauthorized", id="wrong token"),
        pytest.param("sesame-sesame", TOKEN, "200 OK", id="token"),
        pytest.param("sesame-sesame", {"REMOTE_ADDR": "127.0.0.1"}, "200 OK", id="allowed network"),
    ],
)
def test_callers_of_the_port(token: str, environ: dict[str, str], status: str) -> None:
    """The port is open to all without a token, else to the token and the allowed networks."""
    access = Access(allow("127.0.0.0/8"), token)
    opened = OpenPage(MetricsPage(lambda: [], Guard()), access, token=bool(token))
    exchange = call(validator(opened), **environ)
    assert exchange.status == status
    assert (exchange.header("WWW-Authenticate") == CHALLENGE) is status.startswith("401")
    assert (exchange.header("Allow") == "GET, HEAD") is status.startswith("405")
