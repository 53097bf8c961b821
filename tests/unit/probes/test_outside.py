"""The probes of HTTP clients, against a real server: one count for a call, however they nest."""

from __future__ import annotations

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import urllib3
from opentelemetry.trace import SpanKind, StatusCode

from avatar_telemetry.probes import LIBRARY_PROBES
from avatar_telemetry.probes.outside import succeeded
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.cache_requests import within as within_request
from tests.support.local_server import Handler, make_server, serving
from tests.support.recorder import Recorder
from tests.support.spans import Spans
from tests.support.waiting import DEADLINE

COUNT = "ivatar_external_requests_total"
SECRET = "secret0a1b"
RECEIVED: list[dict[str, str]] = []


class Redirecting(Handler):
    """Responds with the status in the path; 307 redirects to a third party."""

    def do_GET(self) -> None:
        RECEIVED.append({name.lower(): value for name, value in self.headers.items()})
        status = int(self.path.partition("?")[0].strip("/"))
        third_party = f"http://127.0.0.1:{self.server.server_address[1]}/200"
        place = {302: "/200", 307: third_party}.get(status)
        self.respond(status, b"ok", **({"Location": place} if place else {}))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = make_server(Redirecting)
    with serving(server):
        yield f"http://localhost:{server.server_port}"


def by_urllib(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def by_urllib_request(url: str) -> int:
    return by_urllib(urllib.request.Request(url))  # type: ignore[arg-type]


def by_requests(url: str) -> int:
    return requests.get(url, timeout=DEADLINE).status_code


def by_urllib3(url: str) -> int:
    with urllib3.PoolManager() as pool:
        return pool.request("GET", url, timeout=DEADLINE, retries=3).status


def by_pool(url: str) -> int:
    parts = urllib3.util.parse_url(url)
    with urllib3.HTTPConnectionPool(parts.host or "", parts.port) as pool:
        return pool.request("GET", parts.request_uri, timeout=DEADLINE, retries=3).status


def by_httpx(url: str) -> int:
    return httpx.get(url, timeout=DEADLINE, follow_redirects=True, verify=False).status_code


def by_async_httpx(url: str) -> int:
    async def get() -> int:
        async with httpx.AsyncClient(
            timeout=DEADLINE, follow_redirects=True, verify=False
        ) as client:
            return (await client.get(url)).status_code

    return asyncio.run(get())


def by_httpclient(url: str) -> int:
    parts = urllib3.util.parse_url(url)
    connection = http.client.HTTPConnection(parts.host or "", parts.port, timeout=DEADLINE)
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
PROBES = ("httpclient", "httpx", "requests", "urllib", "urllib3")
Client = Callable[[str], int]
Within = Callable[[Callable[[], object]], Any]


@pytest.fixture(scope="module", autouse=True)
def probes() -> None:
    for name in PROBES * 2:
        LIBRARY_PROBES[name]()


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("status", "final", "success"),
    [(200, 200, "true"), (302, 200, "true"), (404, 404, "true"), (503, 503, "false")],
)
def test_a_call_counts_once(
    recorder: Recorder, within: Within, url: str, client: Client, status: int, final: int,
    success: str,
) -> None:  # fmt: skip
    """Redirects and libraries on top of each other are one call, with the last status."""
    seen = within(lambda: client(f"{url}/{status}"))
    assert seen == (final if client in FOLLOWING else status)
    assert recorder.labels(COUNT) == [{"service": "other", "success": success}]
    assert recorder.value(COUNT) == 1
    assert recorder.value("ivatar_external_request_seconds_count") == 1


@pytest.mark.parametrize("client", CLIENTS)
def test_a_failure_counts_and_passes(
    recorder: Recorder, spans: Spans, within: Within, client: Client
) -> None:
    """A call that fails is counted, raises what it raises without a probe, and its span has the
    class of the exception."""
    kind: type[Exception] = OSError if client in OF_OS else urllib3.exceptions.HTTPError
    kind = httpx.ConnectError if "httpx" in client.__name__ else kind

    def work() -> None:
        with spans.recording(), pytest.raises(kind):
            client(f"http://localhost:1/200?d={SECRET}")

    within(work)
    assert recorder.value(COUNT, success="false") == recorder.value(COUNT) == 1
    attributes = dict(spans.one().attributes or {})
    assert attributes["error.type"]
    assert attributes["ivatar.external.success"] is False
    assert SECRET not in spans.text()


@pytest.mark.parametrize("client", CLIENTS)
def test_outside_of_a_request_nothing_counts(recorder: Recorder, url: str, client: Client) -> None:
    """A probe does nothing where no request is in progress."""
    assert CURRENT.get() is None
    assert client(f"{url}/200") == 200
    assert recorder.value(COUNT) == 0


def test_two_calls_are_two(recorder: Recorder, within: Within, url: str) -> None:
    """A call after a call is a call of its own."""
    within(lambda: (by_urllib(f"{url}/200"), by_requests(f"{url}/200")))
    assert recorder.value(COUNT) == 2


def test_what_does_not_leave_over_http(recorder: Recorder, within: Within) -> None:
    """A data URL is no outside call."""
    within(lambda: urllib.request.urlopen("data:text/plain,x").close())
    assert recorder.value(COUNT) == 0


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


def test_a_service_that_the_profile_knows(tmp_path, spans: Spans, policy, url: str) -> None:
    """The name of the span is the service's, its server the host that the profile lists."""
    recorder = Recorder(tmp_path).using(services={"localhost": "gravatar"})

    def work() -> None:
        with spans.recording():
            by_urllib(f"{url}/200")

    within_request(recorder, work, "/stats/")
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
            requests.get(f"{url}/200", headers={"traceparent": "mine"}, timeout=DEADLINE)
            httpx.get(f"{url}/200", headers={"traceparent": "mine"}, timeout=DEADLINE)

    within(work)
    assert [headers["traceparent"] for headers in RECEIVED] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("status", "success"),
    [(0, False), (200, True), (399, True), (400, False), (404, True), (410, True), (500, False)],
)
def test_success_of_a_status(status: int, success: bool) -> None:
    """A service that has no such picture has done its work; no status is a failure."""
    assert succeeded(status) is success
