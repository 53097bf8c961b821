"""One test for each row of what the usual WSGI middleware gets wrong, in metrics and in spans."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import FileWrapper
from wsgiref.validate import validator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import StatusCode
from webob import Request, Response
from webob.dec import wsgify

from avatar_telemetry.wsgi import request as request_module
from avatar_telemetry.wsgi.request import CURRENT, current_request
from tests.support.recorder import DIGEST, Recorder, watched
from tests.support.requirements import require
from tests.support.wsgi_apps import HEADERS, ClosingBody, answering
from tests.support.wsgi_client import Exchange, call, close, finish, make_environ, start

Around = Callable[[Any], Any]
AVATAR = f"/avatar/{DIGEST}"
INVALID = trace.INVALID_SPAN
REQUESTS = "ivatar_requests_total"


@pytest.fixture(params=[False, True], ids=["metrics", "spans"])
def recorder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Recorder]:
    """A recorder without spans, and one with spans."""
    yield from watched(Recorder(tmp_path, traced=request.param))
    assert trace.get_current_span() is INVALID


def plainly(application: Any) -> Any:
    return application


@pytest.fixture(params=[plainly, validator], ids=["bare", "validated"])
def around(request: pytest.FixtureRequest) -> Around:
    """The layers between the server and the middleware."""
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


def test_row_1_close_before_the_first_chunk(recorder: Recorder, around: Around) -> None:
    """A body that is closed unread is closed inside of its request, which counts."""
    body = SeeingBody()
    close(start(around(recorder.wrap(answering(body)))).body)
    assert body.closed == 1
    assert recorder.value(REQUESTS, status_code="200") == 1
    if recorder.traced:
        assert body.spans == [recorder.server]
        assert recorder.server.attributes["http.status_code"] == 200


def test_row_2_nothing_of_a_request_is_seen_by_the_next(recorder: Recorder) -> None:
    """Even on a server that never calls close() the next request starts without a current one."""
    body = SeeingBody()
    exchange = start(recorder.wrap(answering(body)))
    iterator = iter(exchange.body)
    next(iterator)
    assert CURRENT.get() is None
    assert trace.get_current_span() is INVALID
    assert body.seen[0] is not None
    assert body.spans[0].is_recording() is recorder.traced
    seen: list[Any] = []
    call(lambda environ, start_response: seen.append(CURRENT.get()) or [])
    assert seen == [None]
    call(recorder.wrap(answering([b"next"])))
    assert recorder.value(REQUESTS) == 1
    del exchange, iterator, body
    gc.collect()
    assert recorder.value(REQUESTS) == 2
    assert [span.parent for span in recorder.spans] == [None, None] * recorder.traced
    assert len({span.trace_id for span in recorder.spans}) == 2 * recorder.traced


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"method": "HEAD"}, id="HEAD"),
        pytest.param({"HTTP_IF_NONE_MATCH": '"tag"'}, id="304"),
    ],
)
def test_row_3_inside_a_webob_middleware(recorder: Recorder, environ: dict[str, str]) -> None:
    """A WebOb middleware that drops the body loses no count and no span, and mixes no traces."""

    def inner(environ: Any, start_response: Any) -> Any:
        response = Response(body=b"body", etag="tag", conditional_response=True)
        return response(environ, start_response)

    wrapped = recorder.wrap(inner)
    outer = wsgify.middleware(lambda request, app: request.get_response(app), wrapped)
    for number in (1, 2):
        assert call(outer, **environ).content == b""
        gc.collect()
        assert recorder.value(REQUESTS) == number
        assert len(recorder.spans) == number * recorder.traced
        assert CURRENT.get() is None
        assert trace.get_current_span() is INVALID
    assert [span.parent for span in recorder.spans] == [None, None] * recorder.traced
    assert len({span.trace_id for span in recorder.spans}) == 2 * recorder.traced


def test_row_4_a_request_ends_with_its_body(
    recorder: Recorder, around: Around, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Duration and span of a stream are as long as it, and its first byte is apart from that."""
    now = [100.0]
    monkeypatch.setattr(request_module, "perf_counter", lambda: now[0])

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        now[0] += 0.5
        yield b"first"
        now[0] += 2
        yield b"second"

    exchange = start(around(recorder.wrap(application)))
    assert recorder.value("ivatar_requests_in_progress") == 1
    assert recorder.value(REQUESTS) == 0
    assert recorder.spans == []
    finish(exchange)
    assert recorder.value("ivatar_request_first_byte_seconds_sum") == 0.5
    assert recorder.value("ivatar_request_duration_seconds_sum") == 2.5
    if recorder.traced:
        server = recorder.server
        assert server.end_time - server.start_time == 2_500_000_000
        assert server.attributes["http.response_content_length"] == len("firstsecond")


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


def test_row_5_a_generator_starts_its_response_late(recorder: Recorder, around: Around) -> None:
    """The status is read at the end, when a generator application has given one."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("404 Not Found", HEADERS)
        yield b"nothing"

    call(around(recorder.wrap(application)))
    assert recorder.labels(REQUESTS) == [{"method": "GET", "status_code": "404", "path": "/"}]
    if recorder.traced:
        assert recorder.server.attributes["http.status_code"] == 404
        assert recorder.server.status.status_code is StatusCode.UNSET


def test_row_6_an_exception_in_the_body(recorder: Recorder, around: Around) -> None:
    """An exception while iterating is an error, is on the span, and passes unchanged."""
    error = ValueError("mine")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        yield b"some"
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        call(around(recorder.wrap(application)))
    assert caught.value is error
    assert_failed(recorder, "ValueError")


def assert_failed(recorder: Recorder, kind: str) -> None:
    """The one request has failed by an exception with the message ``mine``."""
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1
    assert CURRENT.get() is None
    if not recorder.traced:
        return
    span = recorder.server
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes["error.type"] == kind
    assert span.attributes["http.status_code"] == 500
    (event,) = span.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == kind
    assert event.attributes["exception.message"] == "mine"
    assert "test_conformance.py" in event.attributes["exception.stacktrace"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("started", [False, True], ids=["before", "after"])
def test_row_7_an_exception_in_the_call(
    recorder: Recorder, around: Around, kind: type[BaseException], started: bool
) -> None:
    """Whatever ends the call, gunicorn's time-out too, is recorded and passes."""
    error = kind("mine")

    def application(environ: Any, start_response: Any) -> Any:
        if started:
            start_response("200 OK", HEADERS)
        raise error

    with pytest.raises(kind) as caught:
        call(around(recorder.wrap(application)), path=AVATAR)
    assert caught.value is error
    assert_failed(recorder, kind.__name__)
    if recorder.traced:
        operation = recorder.operation
        assert operation.status.status_code is StatusCode.ERROR
        assert operation.attributes["error.type"] == kind.__name__
        assert (operation.name, operation.events) == ("avatar.refuse", ())


def test_row_8_close_raises(recorder: Recorder, around: Around) -> None:
    """The application's close() may raise: the request has ended, the exception passes."""
    body = SeeingBody(error=OSError("mine"))
    with pytest.raises(OSError, match="mine"):
        call(around(recorder.wrap(answering(body))))
    assert recorder.value(REQUESTS) == 1
    assert len(recorder.spans) == recorder.traced
    assert CURRENT.get() is None
    assert trace.get_current_span() is INVALID


def test_row_8_close_raises_before_the_end(recorder: Recorder, around: Around) -> None:
    """A close() that raises while data is left is what the request failed by."""
    body = SeeingBody(error=OSError("mine"))
    exchange = start(around(recorder.wrap(answering(body))))
    with pytest.raises(OSError, match="mine"):
        close(exchange.body)
    assert_failed(recorder, "OSError")


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
        pytest.param({"REMOTE_ADDR": "not an address", "path": "/metrics"}, id="scraper"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer \xff", "path": "/metrics"}, id="token"),
    ],
)
@pytest.mark.parametrize("semconv", ["", "http/dup"])
@pytest.mark.parametrize("privacy", ["off", "balanced"])
def test_row_9_nothing_that_a_client_sends_raises(
    recorder: Recorder, environ: dict[str, Any], semconv: str, privacy: str
) -> None:
    """No port, length, path, query, method, address or trace can break a request or its span."""
    recorder = recorder.set(
        OTEL_SEMCONV_STABILITY_OPT_IN=semconv, AVATAR_TELEMETRY_PRIVACY=privacy,
        AVATAR_TELEMETRY_TRUSTED_PROXIES="192.0.2.0/24",
    )  # fmt: skip
    exchange = call(recorder.wrap(answering([b"fine"])), **environ)
    assert exchange.content == b"fine"
    assert recorder.value(REQUESTS) == 1
    for span in recorder.spans:
        for value in span.attributes.values():
            str(value).encode()
    assert len(recorder.of_kind(trace.SpanKind.SERVER)) == recorder.traced
    recorder.book.detach()


@pytest.mark.parametrize(
    ("status", "code"),
    [("200", 200), ("200 ", 200), ("299 Whatever", 299), ("999 Odd", None), ("odd", None)],
)
def test_row_10_a_status_without_a_reason(
    recorder: Recorder, status: str, code: int | None
) -> None:
    """A status line needs no reason phrase; what is no status code is none on the span."""
    assert call(recorder.wrap(answering([b"fine"], status=status))).status == status
    assert recorder.value(REQUESTS, status_code=str(code or "other")) == 1
    if recorder.traced:
        assert recorder.server.attributes.get("http.status_code") == code


class BrokenProcessor(SpanProcessor):
    """A user's processor of which each method raises."""

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


@pytest.mark.parametrize("spans", [False, True])
def test_row_11_a_failing_profile(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, spans: bool
) -> None:
    """A rule of a user's profile that raises breaks nothing; it is counted and logged."""

    def broken(query: str) -> int | None:
        raise LookupError("in a profile")

    recorder = Recorder(tmp_path, traced=spans).using(size=broken)
    with caplog.at_level(logging.ERROR, "avatar_telemetry"):
        exchange = call(recorder.wrap(answering([b"fine"])), path=AVATAR)
    assert exchange.content == b"fine"
    assert recorder.value("avatar_telemetry_internal_errors_total", where="finish") == 1
    assert "in a profile" in caplog.text
    if spans:
        assert recorder.server.attributes["http.status_code"] == 200
        assert recorder.operation.end_time
    recorder.book.detach()


def test_rows_12_and_19_labels_are_closed(recorder: Recorder) -> None:
    """Neither path, host, method, status nor size of a client becomes a label value."""
    application = recorder.wrap(answering([b""], status="999 Odd"))
    call(application, path=f"/avatar/{DIGEST}", method="BREW", query="s=77", HTTP_HOST="evil.test")
    call(application, path="/secret/name", HTTP_HOST="evil.test")
    text = repr(list(recorder.samples()))
    assert DIGEST not in text
    assert not any(word in text for word in ("evil", "secret", "BREW", "999", "77"))
    assert recorder.value(REQUESTS, method="other", status_code="other") == 1
    assert recorder.value("ivatar_avatar_requests_total", size="other") == 1


def test_row_12_names_are_routes(traced: Recorder, around: Around) -> None:
    """A span is named by method and route, never by what the client sent."""
    application = around(traced.wrap(answering([b"x"])))
    call(application, path=AVATAR)
    call(application, path="/secret/name")
    call(application, path="/accounts/login/", method="POST")
    names = [span.name for span in traced.of_kind(trace.SpanKind.SERVER)]
    assert names == ["GET /avatar/{digest}", "GET", "POST /accounts/login/"]


def test_row_12_an_unknown_method(traced: Recorder) -> None:
    """An unknown method is replaced in the name."""
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
    """Only listed keys with listed values of a query string are recorded."""
    query = "s=80&token=secret&d=identicon&f=hidden&default=https://other.test/x"
    call(traced.wrap(answering([b"x"])), path=AVATAR, query=query)
    recorded = "s=80&d=identicon&f=REDACTED&default=REDACTED"
    assert traced.server.attributes["http.target"] == f"/avatar/{{digest}}?{recorded}"


def test_row_20_sendfile_and_len_are_kept(recorder: Recorder, tmp_path: Path) -> None:
    """A server's own file wrapper stays one, a body of one chunk has its length."""
    body = start(recorder.wrap(answering([b"only"]))).body
    assert len(body) == 1
    assert list(body) == [b"only"]
    with pytest.raises(TypeError):
        len(start(recorder.wrap(answering(iter([b"x"])))).body)
    gc.collect()
    assert recorder.value(REQUESTS) == 2
    path = tmp_path / "picture"
    path.write_bytes(b"picture")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", HEADERS)
        return environ["wsgi.file_wrapper"](open(path, "rb"))

    exchange = start(recorder.wrap(application), wsgi__file_wrapper=FileWrapper)
    assert type(exchange.body) is FileWrapper
    assert recorder.value(REQUESTS) == 2
    finish(exchange)
    assert exchange.content == b"picture"
    assert exchange.body.filelike.closed
    assert recorder.value(REQUESTS) == 3
    assert len(recorder.spans) == 3 * recorder.traced


def test_row_21_iterating_in_another_thread(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """A server may iterate in another thread than it called: no noise, nothing left behind."""
    body = SeeingBody()
    exchange = start(recorder.wrap(answering(body)))
    left: list[Any] = []

    def send() -> None:
        finish(exchange)
        left.extend((CURRENT.get(), trace.get_current_span()))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert exchange.content == b"onetwo"
    assert left == [None, INVALID]
    assert None not in body.seen
    assert CURRENT.get() is None
    assert not caplog.records
    assert recorder.value(REQUESTS) == 1
    if recorder.traced:
        assert set(body.spans) == {recorder.server}


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


def test_validated_on_both_sides(recorder: Recorder) -> None:
    """wsgiref's validator finds no fault outside of the middleware, nor inside."""

    def application(environ, start_response):
        body = environ["wsgi.input"].read(5)
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(b"written ")
        return [body]

    wrapped = validator(recorder.wrap(validator(application)))
    exchange = call(wrapped, path="/accounts/upload_photo/", method="POST", body=b"input",
                    CONTENT_TYPE="multipart/form-data; boundary=x")  # fmt: skip
    assert exchange.content == b"written input"
    assert recorder.value(REQUESTS, method="POST", status_code="200") == 1


class Unsizeable(bytes):
    """Bytes that do not tell how many they are."""

    def __len__(self):
        raise ValueError("unsizeable")

    __bool__ = __len__


@pytest.mark.parametrize(
    "chunk",
    [
        pytest.param(None, id="None"),
        pytest.param(5, id="number"),
        pytest.param(lambda: Unsizeable(b"odd"), id="no length"),
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda chunk: [chunk], id="one chunk"),
        pytest.param(lambda chunk: [chunk, chunk], id="list"),
        pytest.param(lambda chunk: iter([chunk]), id="iterator"),
    ],
)
def test_what_is_no_chunk_reaches_the_server(recorder: Recorder, body, chunk) -> None:
    """A chunk that is no bytes is the server's to refuse; its request counts all the same."""
    given = chunk() if callable(chunk) else chunk
    assert call(recorder.wrap(answering(body(given)))).written[0] is given
    assert recorder.value(REQUESTS, status_code="200") == 1
    assert recorder.value("ivatar_requests_in_progress") == 0


def test_what_is_no_data_reaches_the_servers_write(recorder: Recorder) -> None:
    """The write callable hands on what it is given, whatever that is."""

    def application(environ, start_response):
        write = start_response("200 OK", HEADERS)
        write(None)
        return []

    assert call(recorder.wrap(application)).written == [None]


def test_exc_info_replaces_the_response(recorder: Recorder) -> None:
    """An application may change its mind while nothing was sent; the later status counts."""

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        try:
            raise ValueError("late")
        except ValueError:
            start_response("503 Busy", HEADERS, sys.exc_info())
        return [b"sorry"]

    exchange = call(recorder.wrap(application))
    assert (exchange.status, exchange.starts) == ("503 Busy", 2)
    assert recorder.value(REQUESTS, status_code="503") == recorder.value(REQUESTS) == 1


def test_exc_info_after_data_was_sent_is_raised(recorder: Recorder) -> None:
    """An exception of the server after the first byte reaches the application unchanged."""

    def application(environ, start_response):
        write = start_response("200 OK", HEADERS)
        write(b"data")
        try:
            raise ValueError("late")
        except ValueError:
            start_response("500 Oops", HEADERS, sys.exc_info())
        return []

    with pytest.raises(ValueError, match="late"):
        call(recorder.wrap(application))
    assert recorder.value(REQUESTS, status_code="500") == 1


def test_a_client_that_goes_away_is_no_error(recorder: Recorder) -> None:
    """An exception of the server's write() is not the application's failure: the status stays."""

    class Gone(Exchange):
        def start_response(self, status, headers, exc_info=None):
            super().start_response(status, headers, exc_info)

            def write(data):
                raise BrokenPipeError

            return write

    def application(environ, start_response):
        start_response("200 OK", HEADERS)(b"data")
        return []

    with pytest.raises(BrokenPipeError):
        recorder.wrap(application)(make_environ(), Gone().start_response)
    assert recorder.value(REQUESTS, status_code="200") == recorder.value(REQUESTS) == 1


def test_a_client_that_goes_away_in_the_middle(recorder: Recorder) -> None:
    """A server that stops and closes: the generator is ended, the status that was sent counts."""
    ended = []

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        try:
            yield b"one"
            yield b"two"
        except GeneratorExit:
            ended.append(current_request())
            raise

    exchange = start(recorder.wrap(application))
    assert next(iter(exchange.body)) == b"one"
    close(exchange.body)
    assert ended[0] is not None
    assert recorder.value(REQUESTS, status_code="200") == recorder.value(REQUESTS) == 1


def test_a_generator_that_raises_when_it_is_closed(recorder: Recorder) -> None:
    """An exception out of GeneratorExit passes and counts as an error."""

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        try:
            yield b"one"
        finally:
            raise ValueError("at the end")

    exchange = start(recorder.wrap(application))
    next(iter(exchange.body))
    with pytest.raises(ValueError, match="at the end"):
        close(exchange.body)
    assert recorder.value(REQUESTS, status_code="500") == 1


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(recorder: Recorder, status: str) -> None:
    """An answer that has no body counts as any other."""
    call(recorder.wrap(answering([], status=status, headers=[])))
    assert recorder.value(REQUESTS, status_code=status[:3]) == 1
    assert recorder.value("ivatar_request_first_byte_seconds_count") == 1


def test_an_answer_of_known_length_counts_before_its_last_byte_is_sent(recorder: Recorder) -> None:
    """A client that has all that Content-Length announced has an answer that is counted."""

    def application(environ, start_response):
        start_response("200 OK", [("Content-Length", "6")])
        yield b"one"
        yield b"two"

    iterator = iter(start(recorder.wrap(application)).body)
    assert next(iterator) == b"one"
    assert recorder.value(REQUESTS) == 0
    assert next(iterator) == b"two"
    assert recorder.value(REQUESTS) == 1
    assert next(iterator, None) is None
    assert recorder.value(REQUESTS) == 1


def test_wrapped_with_something_in_between(recorder: Recorder) -> None:
    """Two layers around one application count a request once."""
    inner = recorder.wrap(answering([b"fine"]))
    outer = recorder.wrap(lambda environ, start_response: inner(environ, start_response))
    assert call(outer).content == b"fine"
    assert recorder.value(REQUESTS) == 1


def test_the_current_request_is_that_of_the_greenlet(recorder: Recorder) -> None:
    """Requests that take turns in one thread do not see each other's."""
    gevent = require("gevent")
    seen = {}

    def application(environ, start_response):
        mine = current_request()
        gevent.sleep(0)
        seen[environ["PATH_INFO"]] = (mine, current_request())
        start_response("200 OK", HEADERS)
        return [b""]

    wrapped = recorder.wrap(application)
    gevent.joinall([gevent.spawn(call, wrapped, path=path) for path in ("/a", "/b")])
    assert all(before is after for before, after in seen.values())
    assert seen["/a"][0] is not seen["/b"][0]
    assert recorder.value(REQUESTS) == 2


def test_a_request_of_webob_passes(recorder: Recorder) -> None:
    """WebOb sees the same response with and without the layer."""
    application = wsgify(lambda request: Response(json={"path": request.path}))
    bare = Request.blank("/x").get_response(application)
    wrapped = Request.blank("/x").get_response(recorder.wrap(application))
    assert (bare.status, bare.headerlist, bare.body) == (
        wrapped.status, wrapped.headerlist, wrapped.body,
    )  # fmt: skip


@pytest.mark.parametrize("chunks", [[b"one"], [b"one", b"two"]], ids=["ended", "being read"])
def test_an_environ_that_is_used_again(recorder: Recorder, chunks) -> None:
    """WebOb calls an application twice with one environ: each call is a request."""
    request = Request.blank("/x")
    application = recorder.wrap(answering(iter(chunks)))
    first = request.get_response(application)
    second = request.get_response(recorder.wrap(answering(chunks)))
    assert first.body == second.body == b"".join(chunks)
    assert recorder.value(REQUESTS, status_code="200") == recorder.value(REQUESTS) == 2


def test_an_environ_that_is_used_again_for_an_upload(recorder: Recorder) -> None:
    """Each call observes the input anew."""

    def application(environ, start_response):
        environ["wsgi.input"].read()
        start_response("302 Found", [("Location", "/profile")])
        return []

    form = (b'--x\r\nContent-Disposition: form-data; name="a"; filename="f"\r\n'
            b"Content-Type: image/png\r\n\r\ndata\r\n--x--\r\n")  # fmt: skip
    request = Request.blank("/accounts/upload_photo/", method="POST", body=form,
                            content_type="multipart/form-data; boundary=x")  # fmt: skip
    for _ in range(2):
        request.body_file_raw.seek(0)
        request.get_response(recorder.wrap(application))
    assert recorder.value("ivatar_file_upload_size_bytes_count") == 2


@pytest.mark.parametrize("where", ["the call", "a thread", "the body", "a copy"])
def test_a_wrapper_inside_a_wrapper_counts_once(recorder: Recorder, where: str) -> None:
    """Wherever the outer application calls the inner one, it is one request."""
    inner = recorder.wrap(answering([b"fine", b"too"]))

    def application(environ, start_response):
        if where == "a copy":
            return inner(dict(environ), start_response)
        if where == "a thread":
            bodies = []
            thread = threading.Thread(target=lambda: bodies.append(inner(environ, start_response)))
            thread.start()
            thread.join()
            return bodies[0]
        return inner(environ, start_response)

    def late(environ, start_response):
        yield from inner(environ, start_response)

    outer = recorder.wrap(late if where == "the body" else application)
    assert call(outer).content == b"finetoo"
    assert recorder.value(REQUESTS) == 1
