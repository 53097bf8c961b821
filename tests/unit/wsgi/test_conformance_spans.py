"""One test for each row of what the usual WSGI middleware gets wrong, as far as spans go."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode
from webob import Response
from webob.dec import wsgify

from avatar_telemetry.wsgi import request
from tests.support.recorder import DIGEST, Recorder
from tests.support.wsgi_apps import HEADERS, ClosingBody, answering
from tests.support.wsgi_client import call, close, finish, start

Around = Callable[[Any], Any]
AVATAR = f"/avatar/{DIGEST}"
INVALID = trace.INVALID_SPAN


def plainly(application: Any) -> Any:
    return application


@pytest.fixture(params=[plainly, validator], ids=["bare", "validated"])
def around(request: pytest.FixtureRequest) -> Around:
    """What stands between the server and the middleware."""
    around: Around = request.param
    return around


class SeeingBody(ClosingBody):
    """A body that remembers the current span, too, each time that its code runs."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.spans: list[Any] = []

    def __next__(self) -> Any:
        self.spans.append(trace.get_current_span())
        return super().__next__()

    def close(self) -> None:
        self.spans.append(trace.get_current_span())
        super().close()


def test_row_1_close_before_the_first_chunk(traced: Recorder, around: Around) -> None:
    """A body that is closed unread ends its span, and is closed inside of it."""
    body = SeeingBody()
    close(start(around(traced.wrap(answering(body)))).body)
    assert body.spans == [traced.server]
    assert traced.server.attributes["http.status_code"] == 200


def test_row_2_nothing_of_a_request_is_seen_by_the_next(traced: Recorder) -> None:
    """On a server that never calls close() the next request is no part of the caller's trace."""
    body = SeeingBody()
    exchange = start(traced.wrap(answering(body)))
    next(iter(exchange.body))
    assert trace.get_current_span() is INVALID
    assert body.spans[0].is_recording()
    call(traced.wrap(answering([b"next"])))
    (second,) = traced.spans
    assert second.parent is None
    del exchange, body
    gc.collect()
    first = traced.spans[1]
    assert first.get_span_context().trace_id != second.get_span_context().trace_id
    assert first.parent is None


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"method": "HEAD"}, id="HEAD"),
        pytest.param({"HTTP_IF_NONE_MATCH": '"tag"'}, id="304"),
    ],
)
def test_row_3_inside_a_webob_middleware(traced: Recorder, environ: dict[str, str]) -> None:
    """A WebOb middleware that drops the body loses no span and mixes no traces."""

    def inner(environ: Any, start_response: Any) -> Any:
        response = Response(body=b"body", etag="tag", conditional_response=True)
        return response(environ, start_response)

    wrapped = traced.wrap(inner)
    outer = wsgify.middleware(lambda request, app: request.get_response(app), wrapped)
    for number in (1, 2):
        assert call(outer, **environ).content == b""
        gc.collect()
        assert len(traced.spans) == number
        assert trace.get_current_span() is INVALID
    assert [span.parent for span in traced.spans] == [None, None]
    assert len({span.trace_id for span in traced.spans}) == 2


def test_row_4_a_span_ends_with_its_body(
    traced: Recorder, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream's span is as long as the stream."""
    now = [100.0]
    monkeypatch.setattr(request, "perf_counter", lambda: now[0])

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"first"
        now[0] += 2
        yield b"second"

    exchange = start(around(traced.wrap(application)))
    assert traced.spans == []
    finish(exchange)
    assert traced.server.end_time - traced.server.start_time == 2_000_000_000
    assert traced.server.attributes["http.response_content_length"] == len("firstsecond")


def test_an_error_page_in_place_of_an_announced_body(traced: Recorder, around: Around) -> None:
    """An application that starts its response anew (PEP 3333) has not sent what it announced."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "1000")])
        try:
            raise ValueError
        except ValueError:
            start_response("500 Oh", [("Content-Type", "text/plain")], sys.exc_info())
        return iter([b"sorry"])

    assert call(around(traced.wrap(application))).content == b"sorry"
    assert traced.server.attributes["http.status_code"] == 500
    assert traced.server.attributes["http.response_content_length"] == len("sorry")


def test_row_5_a_generator_starts_its_response_late(traced: Recorder, around: Around) -> None:
    """The status is read at the end, when a generator application has given one."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("404 Not Found", HEADERS)
        yield b"nothing"

    call(around(traced.wrap(application)))
    assert traced.server.attributes["http.status_code"] == 404
    assert traced.server.status.status_code is StatusCode.UNSET


def test_row_6_an_exception_in_the_body(traced: Recorder, around: Around) -> None:
    """An exception while iterating is on the span, and passes unchanged."""
    error = ValueError("mine")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"some"
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        call(around(traced.wrap(application)))
    assert caught.value is error
    assert_failed(traced.server, "ValueError", "mine")


def assert_failed(span: Any, kind: str, message: str | None) -> None:
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == kind
    assert span.attributes["http.status_code"] == 500
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == kind
    assert event.attributes["exception.message"] == message
    assert "test_conformance_spans.py" in event.attributes["exception.stacktrace"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("started", [False, True], ids=["before", "after"])
def test_row_7_an_exception_in_the_call(
    traced: Recorder, around: Around, kind: type[BaseException], started: bool
) -> None:
    """Whatever ends the call, gunicorn's time-out too, is recorded and passes."""
    error = kind("mine")

    def application(environ: Any, start_response: Any) -> Any:
        if started:
            start_response("200 OK", HEADERS)
        raise error

    with pytest.raises(kind) as caught:
        call(around(traced.wrap(application)), path=AVATAR)
    assert caught.value is error
    assert_failed(traced.server, kind.__name__, "mine")
    assert traced.operation.status.status_code is StatusCode.ERROR
    assert traced.operation.attributes["error.type"] == kind.__name__
    assert traced.operation.name == "avatar.refuse"
    assert traced.operation.events == ()


def test_row_8_close_raises(traced: Recorder, around: Around) -> None:
    """The application's close() may raise: the span has ended, the exception passes."""
    body = SeeingBody(error=OSError("mine"))
    with pytest.raises(OSError, match="mine"):
        call(around(traced.wrap(answering(body))))
    assert traced.server.end_time
    assert trace.get_current_span() is INVALID


def test_row_8_close_raises_before_the_end(traced: Recorder, around: Around) -> None:
    """A close() that raises while data is left is what the request failed by."""
    body = SeeingBody(error=OSError("mine"))
    exchange = start(around(traced.wrap(answering(body))))
    with pytest.raises(OSError, match="mine"):
        close(exchange.body)
    assert_failed(traced.server, "OSError", "mine")


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"SERVER_PORT": "abc", "HTTP_HOST": "example.com:abc"}, id="port"),
        pytest.param({"HTTP_HOST": "\xff[::1"}, id="host"),
        pytest.param({"CONTENT_LENGTH": "many"}, id="length"),
        pytest.param({"CONTENT_LENGTH": "9" * 5000}, id="huge length"),
        pytest.param({"path": "/\xff\xfe/avatar/%00\x00"}, id="path"),
        pytest.param({"path": "/accounts/import_photo/a\xff@b\x00.c"}, id="address in a path"),
        pytest.param({"query": "s=\xff%zz&size=&&=&%"}, id="query"),
        pytest.param({"method": "G\x00T"}, id="method"),
        pytest.param({"REMOTE_ADDR": "not an address"}, id="address"),
        pytest.param({"HTTP_X_FORWARDED_FOR": ",,\xff", "HTTP_FORWARDED": 'for="'}, id="proxy"),
        pytest.param({"HTTP_TRACEPARENT": "\xff" * 55, "HTTP_BAGGAGE": "=;%zz,"}, id="trace"),
        pytest.param({"HTTP_USER_AGENT": "\xff" * 9999}, id="agent"),
        pytest.param({"SERVER_PROTOCOL": "HTTP/\xff"}, id="protocol"),
        pytest.param({"wsgi__url_scheme": "gopher"}, id="scheme"),
    ],
)
@pytest.mark.parametrize("semconv", ["", "http/dup"])
@pytest.mark.parametrize("privacy", ["off", "balanced"])
def test_row_9_nothing_that_a_client_sends_raises(
    traced: Recorder, environ: dict[str, Any], semconv: str, privacy: str
) -> None:
    """No port, length, path, query, method, address or trace can break a request or its span."""
    traced = traced.set(
        OTEL_SEMCONV_STABILITY_OPT_IN=semconv, AVATAR_TELEMETRY_PRIVACY=privacy,
        AVATAR_TELEMETRY_TRUSTED_PROXIES="192.0.2.0/24",
    )  # fmt: skip
    exchange = call(traced.wrap(answering([b"fine"])), **environ)
    assert exchange.content == b"fine"
    assert traced.server.end_time
    for value in traced.server.attributes.values():
        str(value).encode()
    traced.book.detach()


@pytest.mark.parametrize(
    ("status", "code"),
    [("200", 200), ("200 ", 200), ("299 Whatever", 299), ("999 Odd", None), ("odd", None)],
)
def test_row_10_a_status_without_a_reason(traced: Recorder, status: str, code: int | None) -> None:
    """A status line needs no reason phrase; what is no status code is none on the span."""
    assert call(traced.wrap(answering([b"fine"], status=status))).status == status
    assert traced.server.attributes.get("http.status_code") == code


class BrokenProcessor(SpanProcessor):
    """A user's processor that raises whatever it is told."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise LookupError("on_start")

    def _on_ending(self, span: Any) -> None:
        raise LookupError("_on_ending")

    def on_end(self, span: Any) -> None:
        raise LookupError("on_end")


def test_row_11_a_failing_processor(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A user's processor that raises breaks neither the request nor its spans; it is counted."""
    traced = Recorder(tmp_path, traced=True)
    assert traced.provider is not None
    traced.provider.add_span_processor(BrokenProcessor())
    with caplog.at_level(logging.ERROR, "avatar_telemetry"):
        exchange = call(traced.wrap(answering([b"fine"])), path=AVATAR)
    assert exchange.content == b"fine"
    assert traced.operation.end_time == traced.server.end_time
    assert traced.value("avatar_telemetry_internal_errors_total", where="spans") == 6
    assert "on_start" in caplog.text
    traced.book.detach()


def test_row_11_a_failing_profile(tmp_path: Any) -> None:
    """A rule of a user's profile that raises costs no span."""

    def broken(query: str) -> int | None:
        raise LookupError("in a profile")

    traced = Recorder(tmp_path, traced=True).using(size=broken)
    assert call(traced.wrap(answering([b"fine"])), path=AVATAR).content == b"fine"
    assert traced.server.attributes["http.status_code"] == 200
    assert traced.operation.end_time
    traced.book.detach()


def test_row_12_names_are_routes(traced: Recorder, around: Around) -> None:
    """A span is named by method and route, never by what the client sent."""
    application = around(traced.wrap(answering([b"x"])))
    call(application, path=AVATAR)
    call(application, path="/secret/name")
    call(application, path="/accounts/login/", method="POST")
    names = [span.name for span in traced.of_kind(trace.SpanKind.SERVER)]
    assert names == ["GET /avatar/{digest}", "GET", "POST /accounts/login/"]


def test_row_12_an_unknown_method(traced: Recorder) -> None:
    """A method that is none is told as one in the name."""
    call(traced.wrap(answering([b"x"])), path=AVATAR, method="BREW")
    assert traced.server.name == "HTTP /avatar/{digest}"
    assert traced.server.attributes["http.method"] == "_OTHER"


def test_row_13_route_and_sizes(traced: Recorder, around: Around) -> None:
    """Route and body sizes stand on the span."""
    application = around(traced.wrap(answering([b"twelve bytes"])))
    call(application, path="/contact/", method="POST", body=b"12345")
    attributes = traced.server.attributes
    assert attributes["http.route"] == "/contact/"
    assert attributes["http.request_content_length"] == 5
    assert attributes["http.response_content_length"] == 12


@pytest.mark.parametrize(
    "variable", ["OTEL_PYTHON_WSGI_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS"]
)
def test_row_13_excluded_urls(traced: Recorder, variable: str) -> None:
    """Excluded URLs have no span; they count all the same."""
    traced = traced.set(**{variable: "contact,stats/$"})
    for path in ("/contact/", "/stats/", "/stats/more", "/"):
        call(traced.wrap(answering([b"x"])), path=path, query="contact")
    assert [span.attributes["http.target"] for span in traced.spans] == ["/{other}", "/"]
    assert traced.value("ivatar_requests_total") == 4
    traced.book.detach()


@pytest.mark.parametrize(
    ("host", "name", "port"),
    [
        ("example.com:8080", "example.com", 8080),
        ("example.com", "example.com", None),
        ("[2001:db8::1]:81", "2001:db8::1", 81),
    ],
)
def test_row_14_the_port_is_parsed(
    traced: Recorder, host: str, name: str, port: int | None
) -> None:
    """server.address has no port in it."""
    traced = traced.set(OTEL_SEMCONV_STABILITY_OPT_IN="http/dup")
    call(traced.wrap(answering([b"x"])), HTTP_HOST=host)
    attributes = traced.server.attributes
    assert attributes["server.address"] == attributes["net.host.name"] == name
    assert attributes.get("server.port") == attributes.get("net.host.port")
    assert port is None or attributes["server.port"] == port
    traced.book.detach()


@pytest.mark.parametrize(
    ("trusted", "headers", "address"),
    [
        pytest.param("", {"HTTP_X_FORWARDED_FOR": "203.0.113.9"}, "192.0.2.1", id="nobody"),
        pytest.param("192.0.2.1", {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.9"},
                     "203.0.113.9", id="one proxy"),
        pytest.param("192.0.2.1,203.0.113.0/24",
                     {"HTTP_X_FORWARDED_FOR": "198.51.100.1, 203.0.113.9"}, "198.51.100.1",
                     id="two proxies"),
        pytest.param("192.0.2.1", {"HTTP_FORWARDED": 'for="[2001:db8::7]:80";proto=https'},
                     "2001:db8::7", id="Forwarded"),
        pytest.param("192.0.2.1", {"HTTP_X_FORWARDED_FOR": "unknown"}, "192.0.2.1", id="hostile"),
    ],
)  # fmt: skip
def test_row_15_the_client_behind_proxies(
    traced: Recorder, trusted: str, headers: dict[str, str], address: str
) -> None:
    """The client's address is taken from headers as far as trusted proxies vouch for it."""
    traced = traced.set(
        AVATAR_TELEMETRY_TRUSTED_PROXIES=trusted, AVATAR_TELEMETRY_PRIVACY="off",
        OTEL_SEMCONV_STABILITY_OPT_IN="http/dup",
    )  # fmt: skip
    call(traced.wrap(answering([b"x"])), **headers)
    attributes = traced.server.attributes
    assert attributes["http.remote_addr"] == attributes["client.address"] == address
    assert attributes["network.peer.address"] == "192.0.2.1"
    traced.book.detach()


@pytest.mark.parametrize(
    ("environ", "path"),
    [
        pytest.param({"path": "/contact/"}, "/contact/", id="no RAW_URI"),
        pytest.param({"path": "/contact/", "SCRIPT_NAME": "/below"}, "/below/contact/",
                     id="SCRIPT_NAME"),
        pytest.param({"path": "/\xc3\xa9 \xe2\x82\xac"}, "/%C3%A9%20%E2%82%AC", id="UTF-8"),
    ],
)  # fmt: skip
def test_row_16_the_path(traced: Recorder, environ: dict[str, str], path: str) -> None:
    """url.path is the whole path as the client sent it."""
    traced = traced.set(AVATAR_TELEMETRY_PRIVACY="off", OTEL_SEMCONV_STABILITY_OPT_IN="http/dup")
    call(traced.wrap(answering([b"x"])), **environ)
    attributes = traced.server.attributes
    assert attributes["url.path"] == attributes["http.target"] == path
    assert attributes["http.url"] == f"http://127.0.0.1{path}"
    traced.book.detach()


def test_row_18_the_query_string(traced: Recorder) -> None:
    """Only listed keys with listed values are told of a query string."""
    query = "s=80&token=secret&d=identicon&f=hidden&default=https://other.test/x"
    call(traced.wrap(answering([b"x"])), path=AVATAR, query=query)
    told = "s=80&d=identicon&f=REDACTED&default=REDACTED"
    assert traced.server.attributes["http.target"] == f"/avatar/{{digest}}?{told}"


def test_row_20_sendfile_and_len_are_kept(traced: Recorder, tmp_path: Any) -> None:
    """A server's own file wrapper stays one, a body of one chunk has its length."""
    body = start(traced.wrap(answering([b"only"]))).body
    assert len(body) == 1
    assert list(body) == [b"only"]
    path = tmp_path / "picture"
    path.write_bytes(b"picture")
    file = FileWrapper(open(path, "rb"))  # noqa: SIM115 - the server closes it
    exchange = start(traced.wrap(answering(file)), wsgi__file_wrapper=FileWrapper)
    assert type(exchange.body) is FileWrapper
    finish(exchange)
    assert exchange.content == b"picture"
    assert len(traced.spans) == 2


def test_row_21_iterating_in_another_thread(
    traced: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may iterate in another thread than it called: no noise, nothing left behind."""
    body = SeeingBody()
    exchange = start(traced.wrap(answering(body)))
    left = []

    def send() -> None:
        finish(exchange)
        left.append(trace.get_current_span())

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert exchange.content == b"onetwo"
    assert left == [INVALID]
    assert set(body.spans) == {traced.server}
    assert not caplog.records


def test_libraries_find_the_span(traced: Recorder, around: Around) -> None:
    """A span that the application makes stands inside of the request's, with its trace."""

    def application(environ: Any, start_response: Any) -> Any:
        assert traced.provider is not None
        tracer = traced.provider.get_tracer("a library")
        with tracer.start_as_current_span("in the call"):
            start_response("200 OK", [("Content-Type", "image/png")])
        yield b"x"
        tracer.start_span("in the body").end()

    call(around(traced.wrap(application)), path=AVATAR)
    spans = {span.name: span for span in traced.spans}
    operation = spans["avatar.serve_png"].get_span_context()
    assert spans["in the call"].parent == spans["in the body"].parent == operation
    assert len({span.trace_id for span in traced.spans}) == 1


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0{}"


@pytest.mark.parametrize("sampled", [0, 1])
def test_the_callers_trace(traced: Recorder, sampled: int) -> None:
    """A trusted caller's trace goes on; one that is not sampled is propagated, unrecorded."""
    traced = traced.set(AVATAR_TELEMETRY_TRUST_INCOMING="continue")
    seen = []

    def application(environ: Any, start_response: Any) -> Any:
        seen.append(trace.get_current_span().get_span_context())
        start_response("200 OK", HEADERS)
        return [b"x"]

    call(traced.wrap(application), HTTP_TRACEPARENT=PARENT.format(sampled))
    assert f"{seen[0].trace_id:032x}" == PARENT[3:35]
    assert seen[0].trace_flags.sampled == bool(sampled)
    assert len(traced.spans) == sampled
    assert traced.value("ivatar_requests_total") == 1
    traced.book.detach()


def test_a_link_to_the_caller(traced: Recorder) -> None:
    """By default the trace is ours and links to the caller's, whose flag decides nothing."""
    call(traced.wrap(answering([b"x"])), HTTP_TRACEPARENT=PARENT.format(0))
    (link,) = traced.server.links
    assert f"{link.context.trace_id:032x}" == PARENT[3:35]
    assert traced.server.parent is None


def test_captured_headers(traced: Recorder) -> None:
    """Headers that are asked for stand on the span; credentials do not."""
    traced = traced.set(
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST="accept,cookie",
        OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE="x-mine",
    )
    headers = [*HEADERS, ("X-Mine", "one"), ("X-Mine", "two")]
    call(traced.wrap(answering([b"x"], headers=headers)), HTTP_ACCEPT="image/*", HTTP_COOKIE="s=1")
    attributes = traced.server.attributes
    assert attributes["http.request.header.accept"] == ("image/*",)
    assert attributes["http.request.header.cookie"] == ("[REDACTED]",)
    assert attributes["http.response.header.x_mine"] == ("one", "two")
    traced.book.detach()
