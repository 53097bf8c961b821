"""Method, target and status as RFC 9110, RFC 9112 and the semantic conventions have them."""

from __future__ import annotations

import pytest
from opentelemetry.trace import StatusCode

from avatar_telemetry.http import labels
from avatar_telemetry.http.semconv import OTHER_METHOD
from tests.support.recorder import Recorder, watched
from tests.support.wsgi_client import call

REQUESTS = "ivatar_requests_total"
CAPTURE_ALL = "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS"
BOTH = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup"}


def answering(status):
    def application(environ, start_response):
        start_response(status, [("Content-Type", "text/plain")])
        return [b"body"]

    return application


@pytest.fixture
def both(tmp_path):
    """A recorder of spans with the old and the stable names."""
    yield from watched(Recorder(tmp_path, traced=True).set(**BOTH))


@pytest.fixture
def capturing(tmp_path):
    """A recorder that captures all methods."""
    yield from watched(Recorder(tmp_path, traced=True).set(**BOTH, **{CAPTURE_ALL: "true"}))


@pytest.mark.parametrize("method", [*labels.METHODS[:-1], b"QUERY"])
def test_a_known_method_is_known_everywhere(both: Recorder, method) -> None:
    """Label, span name and attributes come from one table."""
    call(both.wrap(answering("200 OK")), method=method)
    word = method.decode() if isinstance(method, bytes) else method
    assert both.value(REQUESTS, method=word) == 1
    assert both.server.name == f"{word} /"
    assert both.server.attributes["http.method"] == word
    assert both.server.attributes["http.request.method"] == word


@pytest.mark.parametrize("method", ["BREW", "get", "PROPFIND", "_OTHER", "GET "])
def test_any_other_method_is_known_nowhere(both: Recorder, method: str) -> None:
    """An unknown method is ``other``, ``HTTP`` and ``_OTHER``; the original is kept."""
    call(both.wrap(answering("200 OK")), method=method)
    assert both.value(REQUESTS, method="other") == 1
    assert both.server.name == "HTTP /"
    assert both.server.attributes["http.method"] == OTHER_METHOD
    assert both.server.attributes["http.request.method"] == OTHER_METHOD
    assert both.server.attributes["http.request.method_original"] == method


def test_all_methods_are_captured_where_that_is_asked_for(capturing: Recorder) -> None:
    """In upper case, as OpenTelemetry has it, and bounded; labels stay a closed set."""
    call(capturing.wrap(answering("200 OK")), method="brew" + "x" * 50)
    shown = "BREW" + "X" * 28
    assert capturing.value(REQUESTS, method="other") == 1
    assert capturing.server.name == f"{shown} /"
    assert capturing.server.attributes["http.method"] == shown
    assert capturing.server.attributes["http.request.method"] == shown


def test_a_captured_method_is_private_where_all_text_is(tmp_path) -> None:
    """In ``strict`` a method that a client made up is not told."""
    recorder = Recorder(tmp_path, traced=True).set(
        AVATAR_TELEMETRY_PRIVACY="strict", **{CAPTURE_ALL: "true"}
    )
    call(recorder.wrap(answering("200 OK")), method="BREW")
    assert recorder.server.name == "HTTP /"
    assert recorder.server.attributes["http.method"] == OTHER_METHOD
    recorder.book.detach()


@pytest.mark.parametrize(
    "status",
    ["foo bar", "999 Odd", "2000 OK", "600 No", "099 No", "20", "5xx Bad", "200OK", "-20 x"],
)
def test_a_status_that_cannot_be_interpreted_is_an_error(traced: Recorder, status: str) -> None:
    """The semantic conventions set ERROR for it, and ``error.type`` has the fallback value."""
    call(traced.wrap(answering(status)))
    server = traced.server
    assert server.status.status_code is StatusCode.ERROR
    assert server.attributes["error.type"] == "_OTHER"
    assert "http.status_code" not in server.attributes
    assert traced.value(REQUESTS, status_code="other") == traced.value(REQUESTS) == 1


@pytest.mark.parametrize(
    ("status", "error"),
    [("200", None), ("100 Continue", None), ("302 Found", None), ("499 Closed", None),
     ("404 Not Found", None), ("500 Oops", "500"), ("599", "599")],
)  # fmt: skip
def test_a_status_that_is_a_number(traced: Recorder, status: str, error: str | None) -> None:
    """Only a 5xx is an error of the server."""
    call(traced.wrap(answering(status)))
    expected = StatusCode.ERROR if error else StatusCode.UNSET
    assert traced.server.status.status_code is expected
    assert traced.server.attributes.get("error.type") == error
    assert traced.server.attributes["http.status_code"] == int(status[:3])


def test_a_body_that_is_closed_before_its_status(traced: Recorder) -> None:
    """Where no status was sent, nothing says that the server failed."""

    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"never"

    traced.wrap(application)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, lambda *_: None).close()
    assert traced.server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize("privacy", ["balanced", "off"])
@pytest.mark.parametrize(
    ("method", "path", "url", "target", "url_path"),
    [
        pytest.param("OPTIONS", "*", "http://h:81", "*", "", id="asterisk-form"),
        pytest.param("GET", "/", "http://h:81/", "/", "/", id="origin-form"),
    ],
)
def test_the_target_of_a_request(
    tmp_path, privacy: str, method: str, path: str, url: str, target: str, url_path: str
) -> None:
    """A target in asterisk-form adds nothing to the URL of its server."""
    recorder = Recorder(tmp_path, traced=True).set(**BOTH, AVATAR_TELEMETRY_PRIVACY=privacy)
    call(recorder.wrap(answering("200 OK")), path=path, method=method, HTTP_HOST="h:81")
    attributes = recorder.server.attributes
    assert attributes["http.url"] == url
    assert attributes["http.target"] == target
    assert attributes["url.path"] == url_path
    recorder.book.detach()


@pytest.mark.parametrize("path", ["other.test:443", "443", "foo", "@evil.test/", ".evil.test"])
def test_a_target_without_a_slash_is_not_joined_to_the_host(tmp_path, path: str) -> None:
    """A request target that is no path does not change the host of the URL."""
    recorder = Recorder(tmp_path, traced=True).set(**BOTH, AVATAR_TELEMETRY_PRIVACY="off")
    call(recorder.wrap(answering("200 OK")), path=path, method="CONNECT", HTTP_HOST="h")
    assert recorder.server.attributes["http.url"] == "http://h"
    assert recorder.server.attributes["url.path"] == ""
    recorder.book.detach()
