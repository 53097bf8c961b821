"""The probe of ``http.client`` alone, on a connection without a network."""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from typing import Any

import pytest

from avatar_telemetry.probes import LIBRARY_PROBES, propagation
from avatar_telemetry.probes.policy import POLICY
from tests.support.recorder import Recorder
from tests.support.spans import Spans

COUNT = "ivatar_external_requests_total"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Wire:
    """A socket to a server that has its responses ready.

    Args:
        responses: each to one request.
        broken: whether nothing can be sent.
    """

    def __init__(self, *responses: bytes, broken: bool = False) -> None:
        self.sent = b""
        self._responses = list(responses)
        self._broken = broken

    def sendall(self, data: bytes) -> None:
        if self._broken:
            raise BrokenPipeError("gone")
        self.sent += data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._responses.pop(0))

    def close(self) -> None:
        """Nothing is open."""


class Connection(http.client.HTTPConnection):
    """A connection over a :class:`Wire`."""

    def __init__(self, wire: Wire, host: str = "example.org") -> None:
        super().__init__(host)
        self.wire = wire

    def connect(self) -> None:
        self.sock = self.wire  # type: ignore[assignment]


@pytest.fixture(autouse=True)
def probe() -> None:
    LIBRARY_PROBES["httpclient"]()


def get(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/")
    with connection.getresponse() as response:
        return response.status


def results(recorder: Recorder) -> dict[str, float]:
    """How many calls were counted, by success."""
    return {each: recorder.value(COUNT, success=each) for each in ("true", "false")}


def test_each_request_of_a_connection_counts(recorder: Recorder, within: Any) -> None:
    """A connection that is kept counts each request with its status, once."""

    def work() -> list[int]:
        connection = Connection(Wire(OK, UNAVAILABLE, OK))
        statuses = [get(connection) for _ in range(3)]
        connection.close()
        return statuses

    assert within(work) == [200, 503, 200]
    assert results(recorder) == {"true": 2, "false": 1}


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(Wire(broken=True), BrokenPipeError, id="not sent"),
        pytest.param(Wire(b"not HTTP\r\n"), http.client.BadStatusLine, id="no HTTP"),
        pytest.param(Wire(b""), http.client.RemoteDisconnected, id="no response"),
    ],
)
def test_failure_counts_once(
    recorder: Recorder, within: Any, wire: Wire, error: type[Exception]
) -> None:
    """A request that fails counts as failed, and closing its connection adds nothing."""

    def work() -> None:
        connection = Connection(wire)
        with pytest.raises(error):
            get(connection)
        connection.close()
        connection.close()

    within(work)
    assert results(recorder) == {"true": 0, "false": 1}


def test_connection_that_is_closed_unread(recorder: Recorder, within: Any) -> None:
    """A request without a response is a failure when its connection is closed."""

    def work() -> None:
        connection = Connection(Wire(OK))
        connection.request("GET", "/")
        assert results(recorder) == {"true": 0, "false": 0}
        connection.close()

    within(work)
    assert results(recorder) == {"true": 0, "false": 1}


def test_error_type_of_a_failure(spans: Spans, within: Any) -> None:
    """The span of a request that cannot be sent has the class of its error."""

    def work() -> None:
        with spans.recording(), pytest.raises(BrokenPipeError):
            get(Connection(Wire(broken=True)))

    within(work)
    assert dict(spans.one().attributes or {})["error.type"] == "BrokenPipeError"


@pytest.mark.parametrize(
    ("tunnel", "url", "listed", "sent"),
    [
        pytest.param("", "/", "example.org", True, id="host"),
        pytest.param("", "/", "friend.net", False, id="another host"),
        pytest.param("", "http://friend.net/x", "friend.net", True, id="behind a proxy"),
        pytest.param("", "http://friend.net/x", "example.org", False, id="proxy alone"),
        pytest.param("friend.net", "/", "friend.net", True, id="behind a tunnel"),
        pytest.param("friend.net", "/", "example.org", False, id="end of a tunnel alone"),
    ],
)
def test_reader_of_the_headers_decides(
    spans: Spans, policy: Callable[..., None], tunnel: str, url: str, listed: str, sent: bool
) -> None:
    """Our trace context is sent where the host behind any proxy is listed."""
    policy(propagate_to=(listed,))
    connection = Connection(Wire(OK))
    if tunnel:
        connection.set_tunnel(tunnel)
    with spans.recording():
        connection.request("GET", url)
        connection.getresponse().close()
    connection.close()
    assert (b"\r\ntraceparent: " in connection.wire.sent) is sent


def test_header_of_the_application_stays_alone(spans: Spans, policy: Callable[..., None]) -> None:
    """What the application sends itself is not sent twice, in whatever case it is written."""
    policy(propagate_to=("*",))
    connection = Connection(Wire(OK))
    with spans.recording():
        connection.request("GET", "/", headers={"TraceParent": "mine"})
        connection.getresponse().close()
    connection.close()
    assert connection.wire.sent.lower().count(b"traceparent:") == 1
    assert b"TraceParent: mine\r\n" in connection.wire.sent


def test_failure_of_ours_sends_the_request(
    spans: Spans, policy: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request goes out without our headers where they cannot be made; it is counted."""
    policy(propagate_to=("*",))
    failures: list[str] = []
    monkeypatch.setattr(POLICY.guard, "count", failures.append)
    monkeypatch.setattr(propagation, "context_headers", lambda *args: 1 / 0)
    connection = Connection(Wire(OK))
    with spans.recording():
        assert get(connection) == 200
    connection.close()
    assert connection.wire.sent.startswith(b"GET / HTTP/1.1\r\n")
    assert failures == ["probe_propagation"]
