"""The probes of HTTP clients, against a real server: one count for a call, however they nest."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import urllib3

from avatar_telemetry.probes import requests as requests_probe
from avatar_telemetry.probes import urllib as urllib_probe
from avatar_telemetry.probes import urllib3 as urllib3_probe
from avatar_telemetry.request import CURRENT
from tests.conftest import Recorder
from tests.wsgi_client import call

COUNT = "ivatar_external_avatar_requests_total"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status = int(self.path.strip("/"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """No news."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def by_urllib(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def by_urllib_request(url: str) -> int:
    return by_urllib(urllib.request.Request(url))  # type: ignore[arg-type]


def by_requests(url: str) -> int:
    return requests.get(url, timeout=5).status_code


def by_urllib3(url: str) -> int:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, timeout=5, retries=3).status


def by_pool(url: str) -> int:
    parts = urllib3.util.parse_url(url)
    with urllib3.HTTPConnectionPool(parts.host or "", parts.port) as pool:
        return pool.request("GET", parts.request_uri, timeout=5, retries=3).status


CLIENTS = [by_urllib, by_urllib_request, by_requests, by_urllib3, by_pool]


@pytest.fixture(scope="module", autouse=True)
def probes() -> None:
    for probe in (urllib_probe, requests_probe, urllib3_probe):
        probe.install()
        probe.install()


def within(recorder: Recorder, function: Callable[[], object]) -> None:
    """Run it inside a request."""

    def application(environ, start_response):
        function()
        start_response("200 OK", [])
        return []

    call(recorder.wrap(application))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("status", "final", "success"),
    [(200, 200, "true"), (302, 200, "true"), (404, 404, "true"), (503, 503, "false")],
)
def test_a_call_counts_once(recorder: Recorder, url: str, client, status, final, success) -> None:
    """Redirects and libraries on top of each other are one call, with the last status."""
    got: list[int] = []
    within(recorder, lambda: got.append(client(f"{url}/{status}")))
    assert got == [final]
    assert recorder.labels(COUNT) == [{"service": "other", "success": success}]
    assert recorder.value(COUNT) == 1
    assert recorder.value("ivatar_external_avatar_request_seconds_count") == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_failure_counts_and_passes(recorder: Recorder, client) -> None:
    """A call that fails is counted, and raises what it raises without a probe."""
    with pytest.raises(OSError if client in (by_urllib, by_urllib_request, by_requests)
                       else urllib3.exceptions.HTTPError):  # fmt: skip
        within(recorder, lambda: client("http://localhost:1/200"))
    assert recorder.value(COUNT, success="false") == recorder.value(COUNT) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_outside_of_a_request_nothing_counts(recorder: Recorder, url: str, client) -> None:
    """A probe does nothing where no request is in progress."""
    assert CURRENT.get() is None
    assert client(f"{url}/200") == 200
    assert recorder.value(COUNT) == 0


def test_two_calls_are_two(recorder: Recorder, url: str) -> None:
    """A call after a call is a call of its own."""
    within(recorder, lambda: (by_urllib(f"{url}/200"), by_requests(f"{url}/200")))
    assert recorder.value(COUNT) == 2


def test_what_does_not_leave_over_http(recorder: Recorder) -> None:
    """A data URL is no outside call."""
    within(recorder, lambda: urllib.request.urlopen("data:text/plain,x").close())
    assert recorder.value(COUNT) == 0
