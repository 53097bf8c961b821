"""Values of an environ that are no text cost an attribute at most."""

from __future__ import annotations

import pytest
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.trace import SpanKind

from tests.support.recorder import Recorder, watched
from tests.support.wsgi_client import call, make_environ

REQUESTS = "ivatar_requests_total"
KEYS = (
    "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "CONTENT_TYPE", "CONTENT_LENGTH",
    "REMOTE_ADDR", "SERVER_NAME", "SERVER_PORT", "SERVER_PROTOCOL", "wsgi.url_scheme", "HTTP_HOST",
    "HTTP_USER_AGENT", "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_TRACEPARENT",
    "HTTP_TRACESTATE", "HTTP_BAGGAGE", "HTTP_AUTHORIZATION", "HTTP_UPGRADE", "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING", "HTTP_X_ODD", "wsgi.file_wrapper",
)  # fmt: skip
VALUES = [
    pytest.param(80, id="int"),
    pytest.param(b"bytes", id="bytes"),
    pytest.param(None, id="None"),
    pytest.param(1.5, id="float"),
    pytest.param(True, id="bool"),
    pytest.param(["list"], id="list"),
    pytest.param(("192.0.2.1", 80), id="tuple"),
    pytest.param(object(), id="object"),
]


def fine(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Odd", "fine")])
    return [b"fine"]


@pytest.fixture(params=["old-balanced", "both-off"])
def odd(request, tmp_path):
    """A recorder that looks at every part of an environ."""
    semconv, mode = request.param.split("-")
    names = {"old": "", "both": "http/dup"}
    recorder = Recorder(tmp_path, traced=True).set(
        OTEL_SEMCONV_STABILITY_OPT_IN=names[semconv],
        AVATAR_TELEMETRY_PRIVACY=mode,
        AVATAR_TELEMETRY_TRUSTED_PROXIES="127.0.0.0/8,192.0.2.0/24",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST=".*",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE=".*",
        OTEL_PYTHON_WSGI_EXCLUDED_URLS="/left-out",
        AVATAR_TELEMETRY_METRICS_TOKEN="a-secret-token",
    )
    yield from watched(recorder)


def check(recorder: Recorder, what: object) -> None:
    assert recorder.of_kind(SpanKind.SERVER), what
    server = recorder.server
    for name, value in server.attributes.items():
        values = value if isinstance(value, tuple) else (value,)
        assert all(type(each) in (str, int, bool) for each in values), (what, name)


@pytest.mark.parametrize("value", VALUES)
def test_no_value_costs_the_span(odd: Recorder, value: object) -> None:
    """The request, its span and its response are there, whatever one value is."""
    wrapped = odd.wrap(fine)
    for number, key in enumerate(KEYS * 2):
        path = "/avatar/abc" if number < len(KEYS) else "/accounts/upload_photo/"
        environ = make_environ(path, CONTENT_TYPE="multipart/form-data; boundary=x")
        environ["HTTP_HOST"] = "" if key.startswith("SERVER_") else "example.org"
        environ[key] = value
        assert call(wrapped, environ).content == b"fine", key
        check(odd, key)
        odd.spans.clear()
    assert odd.value(REQUESTS) == 2 * len(KEYS)


def test_a_key_that_is_no_text(odd: Recorder) -> None:
    """A key of another type is nobody's header."""
    environ = make_environ() | {5: "five", b"HTTP_X": "x"}
    assert call(odd.wrap(fine), environ).content == b"fine"
    check(odd, environ)
    assert odd.value(REQUESTS) == 1


@pytest.mark.parametrize(
    ("key", "value", "attribute", "shown"),
    [
        ("SERVER_PORT", 8080, "net.host.port", 8080),
        ("CONTENT_LENGTH", 12, "http.request_content_length", 12),
        ("CONTENT_LENGTH", b"12", "http.request_content_length", 12),
        ("HTTP_USER_AGENT", b"curl/8", "http.user_agent", "curl/8"),
        ("REMOTE_ADDR", b"192.0.2.7", "http.remote_addr", "192.0.2.0"),
        ("HTTP_HOST", b"example.org:81", "net.host.port", 81),
        ("PATH_INFO", b"/avatar/abc", "http.route", "/avatar/{invalid}"),
        ("SERVER_PORT", [8080], "net.host.port", None),
        ("CONTENT_LENGTH", 1.5, "http.request_content_length", None),
    ],
)
def test_what_can_be_converted_is(traced: Recorder, key, value, attribute, shown) -> None:
    """Numbers and bytes are read as the text that they stand for; others are left out."""
    environ = make_environ("/avatar/abc") | {"HTTP_HOST": "", key: value}
    call(traced.wrap(fine), environ)
    assert traced.server.attributes.get(attribute) == shown


class Counting(SpanProcessor):
    """Counts the spans that have begun and not ended."""

    unended = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        self.unended += 1

    def on_end(self, span: ReadableSpan) -> None:
        self.unended -= 1


@pytest.mark.parametrize("value", VALUES)
def test_each_span_that_begins_ends(traced: Recorder, value: object) -> None:
    """A processor sees no span that a value which is no text has cut short."""
    counting = Counting()
    assert traced.provider is not None
    traced.provider.add_span_processor(counting)
    wrapped = traced.wrap(fine)
    for key in KEYS:
        environ = make_environ("/avatar/abc") | {"HTTP_HOST": "example.org", key: value}
        assert call(wrapped, environ).content == b"fine", key
        assert counting.unended == 0, key


@pytest.mark.parametrize("value", VALUES)
def test_the_metrics_page_takes_any_value(recorder: Recorder, value) -> None:
    """A request for the page is answered, by the page or by the application."""
    wrapped = recorder.wrap(fine)
    for key in ("REMOTE_ADDR", "HTTP_AUTHORIZATION", "HTTP_ACCEPT", "HTTP_ACCEPT_ENCODING", 5):
        environ = make_environ("/metrics", REMOTE_ADDR="127.0.0.1") | {key: value}
        assert call(wrapped, environ).status == "200 OK", key
