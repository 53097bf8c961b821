"""One test for each row of what the usual WSGI middleware gets wrong, as far as metrics go."""

from __future__ import annotations

import gc
import logging
import sys
import threading
from wsgiref.validate import validator

import pytest
from webob import Request, Response
from webob.dec import wsgify

from avatar_telemetry.wsgi import request as request_module
from avatar_telemetry.wsgi.request import CURRENT, current_request
from tests.support.recorder import DIGEST, Recorder
from tests.support.requirements import require
from tests.support.wsgi_apps import HEADERS, ClosingBody, answering
from tests.support.wsgi_client import Exchange, call, close, finish, make_environ, start

REQUESTS = "ivatar_requests_total"


def test_row_1_close_before_the_first_chunk(recorder: Recorder) -> None:
    """A server may close a body that it never iterated: the application's close() is called."""
    body = ClosingBody()
    exchange = start(recorder.wrap(answering(body)))
    close(exchange.body)
    assert body.closed == 1
    assert recorder.value(REQUESTS, status_code="200") == 1


def test_row_2_nothing_of_a_request_is_seen_by_the_next(recorder: Recorder) -> None:
    """Even on a server that never calls close() the next request starts without a current one."""
    body = ClosingBody()
    exchange = start(recorder.wrap(answering(body)))
    iterator = iter(exchange.body)
    next(iterator)
    assert CURRENT.get() is None
    assert body.seen[0] is not None
    seen = []
    call(lambda environ, start_response: seen.append(CURRENT.get()) or [])
    assert seen == [None]
    del exchange, iterator, body
    gc.collect()
    assert recorder.value(REQUESTS) == 1


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"method": "HEAD"}, id="HEAD"),
        pytest.param({"HTTP_IF_NONE_MATCH": '"tag"'}, id="304"),
    ],
)
def test_row_3_inside_a_webob_middleware(recorder: Recorder, environ: dict[str, str]) -> None:
    """A WebOb middleware that drops the body loses no count."""

    def inner(environ, start_response):
        response = Response(body=b"body", etag="tag", conditional_response=True)
        return response(environ, start_response)

    wrapped = recorder.wrap(inner)
    outer = wsgify.middleware(lambda request, app: request.get_response(app), wrapped)
    for number in (1, 2):
        assert call(outer, **environ).content == b""
        gc.collect()
        assert recorder.value(REQUESTS) == number
        assert CURRENT.get() is None


def test_row_4_duration_ends_with_the_body(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream shows as long as it took, and its first byte apart from that."""
    now = [100.0]
    monkeypatch.setattr(request_module, "perf_counter", lambda: now[0])

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        now[0] += 0.5
        yield b"first"
        now[0] += 2
        yield b"second"

    exchange = start(recorder.wrap(application))
    assert recorder.value("ivatar_requests_in_progress") == 1
    assert recorder.value(REQUESTS) == 0
    finish(exchange)
    assert recorder.value("ivatar_request_first_byte_seconds_sum") == 0.5
    assert recorder.value("ivatar_request_duration_seconds_sum") == 2.5


def test_row_5_a_generator_starts_its_response_late(recorder: Recorder) -> None:
    """The status is read at the end, when a generator application has given one."""

    def application(environ, start_response):
        start_response("404 Not Found", HEADERS)
        yield b"nothing"

    call(recorder.wrap(application))
    assert recorder.labels(REQUESTS) == [{"method": "GET", "status_code": "404", "path": "/"}]


def test_row_6_an_exception_in_the_body(recorder: Recorder) -> None:
    """An exception while iterating is an error, and passes unchanged."""
    error = ValueError("mine")

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        yield b"some"
        raise error

    with pytest.raises(ValueError, match="mine") as caught:
        call(recorder.wrap(application))
    assert caught.value is error
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("started", [False, True], ids=["before", "after"])
def test_row_7_an_exception_in_the_call(recorder: Recorder, kind, started: bool) -> None:
    """Whatever ends the call of the application, gunicorn's time-out too, counts and passes."""
    error = kind("mine")

    def application(environ, start_response):
        if started:
            start_response("200 OK", HEADERS)
        raise error

    with pytest.raises(kind) as caught:
        call(recorder.wrap(application))
    assert caught.value is error
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1
    assert CURRENT.get() is None


def test_row_8_close_raises(recorder: Recorder) -> None:
    """The application's close() may raise: the request ends, the exception passes."""
    body = ClosingBody(error=OSError("mine"))
    with pytest.raises(OSError, match="mine"):
        call(recorder.wrap(answering(body)))
    assert recorder.value(REQUESTS) == 1
    assert CURRENT.get() is None


@pytest.mark.parametrize(
    "environ",
    [
        pytest.param({"SERVER_PORT": "abc", "HTTP_HOST": "example.com:abc"}, id="port"),
        pytest.param({"CONTENT_LENGTH": "many"}, id="length"),
        pytest.param({"path": "/\xff\xfe/avatar/%00\x00"}, id="path"),
        pytest.param({"query": "s=\xff%zz&size=&&=&%"}, id="query"),
        pytest.param({"method": "G\x00T"}, id="method"),
        pytest.param({"REMOTE_ADDR": "not an address", "path": "/metrics"}, id="address"),
        pytest.param({"HTTP_AUTHORIZATION": "Bearer \xff", "path": "/metrics"}, id="token"),
    ],
)
def test_row_9_nothing_that_a_client_sends_raises(recorder: Recorder, environ) -> None:
    """No port, length, path, query, method or address can break a request."""
    exchange = call(recorder.wrap(answering([b"fine"])), **environ)
    assert exchange.content == b"fine"
    assert recorder.value(REQUESTS) == 1


@pytest.mark.parametrize("status", ["200", "200 ", "299 Whatever"])
def test_row_10_a_status_without_a_reason(recorder: Recorder, status: str) -> None:
    """A status line needs no reason phrase."""
    assert call(recorder.wrap(answering([b"fine"], status=status))).status == status
    assert recorder.value(REQUESTS, status_code=status[:3]) == 1


def test_row_11_a_failing_hook(tmp_path, caplog) -> None:
    """A rule of a user's profile that raises breaks nothing; it is counted and logged."""

    def broken(query):
        raise LookupError("in a profile")

    recorder = Recorder(tmp_path).using(size=broken)
    with caplog.at_level(logging.ERROR, "avatar_telemetry"):
        exchange = call(recorder.wrap(answering([b"fine"])), path=f"/avatar/{DIGEST}")
    assert exchange.content == b"fine"
    assert recorder.value("avatar_telemetry_internal_errors_total", where="finish") == 1
    assert "in a profile" in caplog.text
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


def test_row_20_len_is_kept(recorder: Recorder) -> None:
    """A server may ask a body of one chunk for its length, to make a Content-Length."""
    body = start(recorder.wrap(answering([b"only"]))).body
    assert len(body) == 1
    assert list(body) == [b"only"]
    with pytest.raises(TypeError):
        len(start(recorder.wrap(answering(iter([b"x"])))).body)
    gc.collect()


def test_row_21_iterating_in_another_thread(recorder: Recorder, caplog) -> None:
    """A server may iterate in another thread than it called: no noise, nothing left behind."""
    body = ClosingBody()
    exchange = start(recorder.wrap(answering(body)))
    left = []

    def send():
        finish(exchange)
        left.append(CURRENT.get())

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    assert exchange.content == b"onetwo"
    assert left == [None]
    assert all(seen is not None for seen in body.seen)
    assert CURRENT.get() is None
    assert not caplog.records
    assert recorder.value(REQUESTS) == 1


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
    """What the server raises for a response that has begun reaches the application unchanged."""

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
    """What the server's write() raises is not the application's failure: the status stays."""

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


def test_a_file_wrapper_stays_the_servers_own(recorder: Recorder, tmp_path) -> None:
    """A server uses sendfile only for an instance of its own class; closing it ends the request."""

    class FileWrapper:
        def __init__(self, file):
            self.file = file
            self.close = file.close

        def __iter__(self):
            return iter(self.file)

    path = tmp_path / "file"
    path.write_bytes(b"content")

    def application(environ, start_response):
        start_response("200 OK", HEADERS)
        return environ["wsgi.file_wrapper"](open(path, "rb"))

    exchange = start(recorder.wrap(application), wsgi__file_wrapper=FileWrapper)
    assert type(exchange.body) is FileWrapper
    assert recorder.value(REQUESTS) == 0
    finish(exchange)
    assert exchange.content == b"content"
    assert exchange.body.file.closed
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
