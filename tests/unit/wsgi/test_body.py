"""The bodies on their way to the server: when the request counts, and when its first byte does."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from avatar_telemetry.wsgi import request as request_module
from avatar_telemetry.wsgi.body import Body, ListBody, SizedBody
from avatar_telemetry.wsgi.request import ENVIRON_KEY, current_request
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, close, finish, make_environ, start

REQUESTS = "ivatar_requests_total"
DURATION = "ivatar_request_duration_seconds_sum"
FIRST_BYTE = "ivatar_request_first_byte_seconds_sum"


def returning(body: Callable[[], Any], length: int | None = None) -> Any:
    def application(environ: Any, start_response: Any) -> Any:
        announced = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", [("Content-Type", "text/plain"), *announced])
        return body()

    return application


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of requests: its only element is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(request_module, "perf_counter", lambda: now[0])
    return now


class Sized:
    """An iterable of known length that is neither a list nor a tuple."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter((b"one", b"two"))


class SlottedWrapper:
    """A file wrapper whose instances take no attribute."""

    __slots__ = ("file",)

    def __init__(self, file: Any) -> None:
        self.file = file

    def __iter__(self) -> Any:
        return iter(self.file)


class FileWrapper:
    """A file wrapper as most servers have it."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.closed = 0

    def __iter__(self) -> Any:
        return iter(self.file)

    def close(self) -> None:
        self.closed += 1


def test_the_kind_of_a_body_follows_from_what_the_application_returned(recorder: Recorder) -> None:
    """A finished list costs no call per chunk, a length is kept, a single chunk stays as it is."""
    wrap = recorder.wrap
    single = [b"one"]
    assert start(wrap(returning(lambda: single))).body is single
    kinds = {
        kind: start(wrap(returning(lambda value=value: value))).body
        for kind, value in ((ListBody, [b"1", b"2"]), (SizedBody, Sized()), (Body, iter([b"1"])))
    }
    for kind, body in kinds.items():
        assert type(body) is kind
        close(body)
    assert len(kinds[ListBody]) == len(kinds[SizedBody]) == 2


@pytest.mark.parametrize("chunks_read", [0, 1])
@pytest.mark.parametrize(
    "body",
    [
        pytest.param(lambda: [b"one", b"two"], id="list"),
        pytest.param(lambda: (b"one", b"two"), id="tuple"),
        pytest.param(Sized, id="sized"),
        pytest.param(lambda: iter((b"one", b"two")), id="iterator"),
    ],
)
def test_a_body_that_the_server_drops_counts(
    recorder: Recorder, body: Callable[[], Any], chunks_read: int
) -> None:
    """A server that neither exhausts nor closes a body breaks PEP 3333; its request counts."""
    exchange = start(recorder.wrap(returning(body)))
    iterator = iter(exchange.body)
    for _ in range(chunks_read):
        next(iterator)
    assert recorder.value(REQUESTS) == 0
    del iterator, exchange.body
    assert recorder.value(REQUESTS, status_code="200") == 1


def test_a_list_body_counts_at_its_last_chunk_and_not_before(recorder: Recorder) -> None:
    """Without a length the end is the exhaustion; closing it afterwards counts nothing more."""
    body = start(recorder.wrap(returning(lambda: [b"one", b"two"]))).body
    iterator = iter(body)
    assert [next(iterator), next(iterator)] == [b"one", b"two"]
    assert recorder.value(REQUESTS) == 0
    assert next(iterator, None) is None
    assert recorder.value(REQUESTS) == 1
    body.close()
    assert recorder.value(REQUESTS) == 1


def test_a_list_body_that_is_closed_early_counts(recorder: Recorder) -> None:
    """A client that goes away after the first chunk: the server closes the body."""
    body = start(recorder.wrap(returning(lambda: [b"one", b"two"]))).body
    next(iter(body))
    body.close()
    assert recorder.value(REQUESTS) == 1


def test_the_first_byte_is_the_first_chunk_that_is_not_empty(
    recorder: Recorder, clock: list[float]
) -> None:
    """Empty chunks are no data; what comes after the first byte is of the duration alone."""

    def chunks() -> Any:
        yield b""
        clock[0] += 1.0
        yield b"data"
        clock[0] += 2.0
        yield b"more"

    call(recorder.wrap(returning(chunks)))
    assert recorder.value(FIRST_BYTE) == 1.0
    assert recorder.value(DURATION) == 3.0


def test_the_first_byte_of_a_file_is_its_return(recorder: Recorder, clock: list[float]) -> None:
    """With sendfile no byte passes through here: the application is done when it returns the
    file, and the duration goes on until the server closes it."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        clock[0] += 1.0
        return environ["wsgi.file_wrapper"]([b"content"])

    exchange = start(recorder.wrap(application), wsgi__file_wrapper=FileWrapper)
    clock[0] += 5.0
    finish(exchange)
    assert recorder.value(FIRST_BYTE) == 1.0
    assert recorder.value(DURATION) == 6.0


def test_closing_a_file_closes_the_applications_file_once(recorder: Recorder) -> None:
    """The wrapper's own close() runs, and only what it raises stands in the way of nothing."""

    class Failing(FileWrapper):
        def close(self) -> None:
            super().close()
            raise OSError("mine")

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"]([b"content"])

    exchange = start(recorder.wrap(application), wsgi__file_wrapper=Failing)
    with pytest.raises(OSError, match="mine"):
        finish(exchange)
    assert exchange.body.closed == 1
    assert recorder.value(REQUESTS, status_code="200") == 1


@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param(SlottedWrapper, id="slots"),
        pytest.param(itertools.chain, id="C type"),
    ],
)
def test_a_file_wrapper_that_takes_no_attribute_counts(recorder: Recorder, wrapper: type) -> None:
    """A wrapper with __slots__, or written in C, reaches the server as it is, and its request
    counts once."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"]([b"content"])

    exchange = call(recorder.wrap(application), wsgi__file_wrapper=wrapper)
    assert type(exchange.body) is wrapper
    assert exchange.content == b"content"
    assert recorder.value(REQUESTS, status_code="200") == 1


def test_a_function_as_file_wrapper_is_no_class(recorder: Recorder) -> None:
    """A server whose wrapper is a function (PEP 3333 asks for a callable) gets a body of ours."""
    exchange = call(
        recorder.wrap(lambda environ, start: (start("200 OK", []), Sized())[1]),
        wsgi__file_wrapper=lambda file: file,
    )
    assert exchange.content == b"onetwo"
    assert recorder.value(REQUESTS) == 1


def avatar_environ() -> dict[str, Any]:
    return make_environ(path="/avatar/" + "0" * 32)


def close_failing(error: Exception, length: int | None = None) -> Any:
    class Failing(Sized):
        def close(self) -> None:
            raise error

    def application(environ: Any, start_response: Any) -> Any:
        announced = [] if length is None else [("Content-Length", str(length))]
        start_response("200 OK", [("Content-Type", "image/png"), *announced])
        return Failing()

    return application


@pytest.mark.parametrize("length", [None, 6], ids=["exhausted", "length reached"])
def test_a_close_that_fails_after_the_end_keeps_the_status(
    recorder: Recorder, length: int | None
) -> None:
    """The client has its whole answer; the access log shows what it got, not what came after."""
    environ = avatar_environ()
    with pytest.raises(OSError, match="mine"):
        call(recorder.wrap(close_failing(OSError("mine"), length)), environ)
    request = environ[ENVIRON_KEY]
    assert (request.status, str(request)) == ("200", "avatar.serve_png")
    assert request.error is None
    assert recorder.value(REQUESTS, status_code="200") == recorder.value(REQUESTS) == 1


def test_a_close_that_fails_before_the_end_is_an_error(recorder: Recorder) -> None:
    """A body that was not sent to its end, and cannot be closed either, has failed."""
    environ = avatar_environ()
    exchange = start(recorder.wrap(close_failing(OSError("mine"))), environ)
    with pytest.raises(OSError, match="mine"):
        close(exchange.body)
    assert environ[ENVIRON_KEY].status == "500"
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1


def test_the_request_is_current_while_the_applications_code_runs(recorder: Recorder) -> None:
    """In iter(), next() and close() of a body that is still being made, and never between."""
    seen = []

    class Watching:
        def __iter__(self) -> Any:
            seen.append(current_request())
            return self

        def __next__(self) -> bytes:
            seen.append(current_request())
            if len(seen) > 3:
                raise StopIteration
            return b"chunk"

        def close(self) -> None:
            seen.append(current_request())

    environ = make_environ()
    exchange = start(recorder.wrap(returning(Watching)), environ)
    for _ in exchange.body:
        assert current_request() is None
    exchange.body.close()
    assert len(seen) == 5
    assert set(seen) == {environ[ENVIRON_KEY]}
    assert current_request() is None
