"""The probes of HTTP clients, against a real server: one count for a call, however they nest."""

from __future__ import annotations

import asyncio
import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
import requests
import urllib3
from opentelemetry.trace import SpanKind, StatusCode

from avatar_telemetry.probes import LIBRARY_PROBES
from avatar_telemetry.probes.outside import succeeded
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.recorder import Recorder
from tests.support.spans import Spans
from tests.support.wsgi_client import call

COUNT = "ivatar_external_requests_total"


SECRET = "secret0a1b"
RECEIVED: list[dict[str, str]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        RECEIVED.append({name.lower(): value for name, value in self.headers.items()})
        status = int(self.path.partition("?")[0].strip("/"))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/200")
        elif status == 307:  # to a third party
            port = self.server.server_address[1]
            self.send_header("Location", f"http://127.0.0.1:{port}/200")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        """No news."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
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


def by_httpx(url: str) -> int:
    return httpx.get(url, timeout=5, follow_redirects=True, verify=False).status_code


def by_async_httpx(url: str) -> int:
    async def get() -> int:
        async with httpx.AsyncClient(timeout=5, follow_redirects=True, verify=False) as client:
            return (await client.get(url)).status_code

    return asyncio.run(get())


def by_httpclient(url: str) -> int:
    parts = urllib3.util.parse_url(url)
    connection = http.client.HTTPConnection(parts.host or "", parts.port, timeout=5)
    try:
        connection.request("GET", parts.request_uri)
        with connection.getresponse() as answer:
            return answer.status
    finally:
        connection.close()


FOLLOWING = [by_urllib, by_urllib_request, by_requests, by_urllib3, by_pool, by_httpx,
             by_async_httpx]  # fmt: skip
CLIENTS = [*FOLLOWING, by_httpclient]
OF_OS = (by_urllib, by_urllib_request, by_requests, by_httpclient)
FAILURES = (OSError, urllib3.exceptions.HTTPError, httpx.HTTPError)
PROBES = ("httpclient", "httpx", "requests", "urllib", "urllib3")


@pytest.fixture(scope="module", autouse=True)
def probes() -> None:
    for name in PROBES * 2:
        LIBRARY_PROBES[name]()


def inside(recorder: Recorder, function: Callable[[], object]) -> None:
    """Run it inside a request."""

    def application(environ, start_response):
        function()
        start_response("200 OK", [])
        return []

    call(recorder.wrap(application))


@pytest.mark.parametrize("client", FOLLOWING)
@pytest.mark.parametrize(
    ("status", "final", "success"),
    [(200, 200, "true"), (302, 200, "true"), (404, 404, "true"), (503, 503, "false")],
)
def test_a_call_counts_once(recorder: Recorder, url: str, client, status, final, success) -> None:
    """Redirects and libraries on top of each other are one call, with the last status."""
    got: list[int] = []
    inside(recorder, lambda: got.append(client(f"{url}/{status}")))
    assert got == [final]
    assert recorder.labels(COUNT) == [{"service": "other", "success": success}]
    assert recorder.value(COUNT) == 1
    assert recorder.value("ivatar_external_request_seconds_count") == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_failure_counts_and_passes(recorder: Recorder, client) -> None:
    """A call that fails is counted, and raises what it raises without a probe."""
    kind: type[Exception] = OSError if client in OF_OS else urllib3.exceptions.HTTPError
    with pytest.raises(httpx.ConnectError if "httpx" in client.__name__ else kind):
        inside(recorder, lambda: client("http://localhost:1/200"))
    assert recorder.value(COUNT, success="false") == recorder.value(COUNT) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_outside_of_a_request_nothing_counts(recorder: Recorder, url: str, client) -> None:
    """A probe does nothing where no request is in progress."""
    assert CURRENT.get() is None
    assert client(f"{url}/200") == 200
    assert recorder.value(COUNT) == 0


def test_two_calls_are_two(recorder: Recorder, url: str) -> None:
    """A call after a call is a call of its own."""
    inside(recorder, lambda: (by_urllib(f"{url}/200"), by_requests(f"{url}/200")))
    assert recorder.value(COUNT) == 2


def test_what_does_not_leave_over_http(recorder: Recorder) -> None:
    """A data URL is no outside call."""
    inside(recorder, lambda: urllib.request.urlopen("data:text/plain,x").close())
    assert recorder.value(COUNT) == 0


@pytest.mark.parametrize(("status", "success"), [(200, "true"), (404, "true"), (503, "false")])
def test_http_client_alone(recorder: Recorder, url: str, status: int, success: str) -> None:
    """A connection of http.client counts each request with its status."""
    inside(recorder, lambda: by_httpclient(f"{url}/{status}"))
    assert recorder.labels(COUNT) == [{"service": "other", "success": success}]


def test_http_client_without_an_answer(recorder: Recorder, url: str) -> None:
    """A request that is closed before its answer was read is a failure."""

    def work() -> None:
        parts = urllib3.util.parse_url(url)
        connection = http.client.HTTPConnection(parts.host or "", parts.port, timeout=5)
        connection.request("GET", "/200")
        connection.close()

    inside(recorder, work)
    assert recorder.labels(COUNT) == [{"service": "other", "success": "false"}]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (503, True)])
def test_a_span_for_a_call(
    recorder: Recorder, spans: Spans, within, url: str, client, status: int, failed: bool
) -> None:
    """A call is one CLIENT span below the current one, without host, path and query."""
    names: list[str] = []

    def work() -> None:
        with spans.recording() as root:
            client(f"{url}/{status}?d={SECRET}")
            names.append(format(root.get_span_context().span_id, "x"))

    within(work)
    span = spans.one()
    attributes = dict(span.attributes or {})
    assert span.kind is SpanKind.CLIENT
    assert span.name == "GET"
    assert span.parent is not None
    assert format(span.parent.span_id, "x") == names[0]
    assert attributes["http.method"] == "GET"
    assert attributes["http.status_code"] == status
    assert attributes["server.address"] == attributes["ivatar.external.service"] == "other"
    assert attributes["ivatar.external.success"] is not failed
    assert (span.status.status_code is StatusCode.ERROR) is failed
    assert attributes.get("error.type") == ("503" if failed else None)
    assert SECRET not in spans.text()
    assert "localhost" not in spans.text()
    assert recorder.value(COUNT) == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_span_of_a_failure(spans: Spans, within, client) -> None:
    """A call that fails has the class of its exception on its span."""

    def work() -> None:
        with spans.recording(), pytest.raises(FAILURES):
            client(f"http://localhost:1/200?d={SECRET}")

    within(work)
    attributes = dict(spans.one().attributes or {})
    assert attributes["error.type"]
    assert attributes["ivatar.external.success"] is False
    assert SECRET not in spans.text()


def test_a_service_that_the_profile_knows(tmp_path, spans: Spans, policy, url: str) -> None:
    """The name of the span is the service's, its server the host that the profile lists."""
    recorder = Recorder(tmp_path).using(services={"localhost": "gravatar"})

    def work() -> None:
        with spans.recording():
            by_urllib(f"{url}/200")

    inside(recorder, work)
    recorder.book.detach()
    span = spans.one()
    assert span.name == "GET gravatar"
    assert dict(span.attributes or {})["server.address"] == "localhost"


@pytest.mark.parametrize("client", CLIENTS)
def test_privacy_off(spans: Spans, within, policy, url: str, client) -> None:
    """Only in privacy mode off does a span tell host, path and query."""
    policy(privacy="off", semconv="both")

    def work() -> None:
        with spans.recording():
            client(f"{url}/200?d={SECRET}")

    within(work)
    attributes = dict(spans.one().attributes or {})
    assert str(attributes["url.full"]).endswith(f"/200?d={SECRET}")
    assert attributes["http.url"] == attributes["url.full"]
    assert attributes["server.address"] == "localhost"
    assert attributes["http.response.status_code"] == attributes["http.status_code"] == 200


def test_credentials_of_a_url(spans: Spans, policy, url: str) -> None:
    """User and password of a URL are not told, in any mode."""
    policy(privacy="off")
    with spans.recording():
        by_requests(url.replace("//", "//user:password@") + "/200")
    assert "password" not in spans.text()
    assert dict(spans.one().attributes or {})["http.url"] == f"{url}/200"


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("hosts", "sent"),
    [((), False), (("example.org",), False), (("localhost",), True), (("*",), True)],
)
def test_trace_context(spans: Spans, within, policy, url: str, client, hosts, sent) -> None:
    """Our trace context goes to the hosts that are named, as that of the call's own span."""
    policy(propagate_to=hosts)
    RECEIVED.clear()

    def work() -> None:
        with spans.recording():
            client(f"{url}/200")

    within(work)
    (headers,) = RECEIVED
    assert ("traceparent" in headers) is sent
    if sent:
        context = spans.one().get_span_context()
        assert headers["traceparent"].split("-")[1:3] == [
            format(context.trace_id, "032x"), format(context.span_id, "016x")
        ]  # fmt: skip


@pytest.mark.parametrize("client", [each for each in FOLLOWING if each is not by_pool])
def test_trace_context_after_a_redirect(spans: Spans, within, policy, url: str, client) -> None:
    """A third party that a friend redirects to does not get what the friend got."""
    policy(propagate_to=("localhost",))
    RECEIVED.clear()

    def work() -> None:
        with spans.recording():
            assert client(f"{url}/307") == 200

    within(work)
    friend, third_party = RECEIVED
    assert "traceparent" in friend
    assert "traceparent" not in third_party


def test_trace_context_of_the_applications_own(spans: Spans, within, policy, url: str) -> None:
    """A header that the application has set stays alone."""
    policy(propagate_to=("*",))
    RECEIVED.clear()

    def work() -> None:
        with spans.recording():
            requests.get(f"{url}/200", headers={"traceparent": "mine"}, timeout=5)
            httpx.get(f"{url}/200", headers={"traceparent": "mine"}, timeout=5)

    within(work)
    assert [headers["traceparent"] for headers in RECEIVED] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("status", "success"),
    [(0, False), (200, True), (399, True), (400, False), (404, True), (410, True), (500, False)],
)
def test_success_of_a_status(status: int, success: bool) -> None:
    """A service that has no such picture has done its work; no status is a failure."""
    assert succeeded(status) is success
