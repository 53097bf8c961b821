"""An observed body supports all that a server may do with a bare one."""

from __future__ import annotations

from collections import UserList, deque

import pytest

from avatar_telemetry.wsgi.request import current_request
from tests.support.recorder import Recorder
from tests.support.waiting import DEADLINE
from tests.support.wsgi_client import call, finish, start

REQUESTS = "ivatar_requests_total"


class Chunks(list):
    """A list of an application's own class."""


class Reiterable:
    """A body that begins anew with each iteration, in code of the application."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks
        self.seen: list[object] = []

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self):
        for chunk in self.chunks:
            self.seen.append(current_request())
            yield chunk


BODIES = [
    pytest.param(lambda: [b"ab", b"c"], id="list"),
    pytest.param(lambda: (b"ab", b"c"), id="tuple"),
    pytest.param(lambda: Chunks([b"ab", b"c"]), id="list subclass"),
    pytest.param(lambda: {1: b"ab", 2: b"c"}.values(), id="dict values"),
    pytest.param(lambda: deque([b"ab", b"c"]), id="deque"),
    pytest.param(lambda: UserList([b"ab", b"c"]), id="UserList"),
    pytest.param(lambda: Reiterable(b"ab", b"c"), id="own class"),
]


def answering(body):
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return body

    return application


def measured_in_the_middle(body) -> tuple[int, list[bytes]]:
    """Send as gevent does: with the first chunk, the length of all of them is computed."""
    length, sent = -1, []
    for chunk in body:
        if length < 0:
            assert len(body) == 2
            length = sum(len(each) for each in body)
        sent.append(chunk)
    return length, sent


def measured_first(body) -> tuple[int, list[bytes]]:
    return sum(len(each) for each in body), list(body)


def peeked(body) -> tuple[int, list[bytes]]:
    """A server that looks at the first chunk and begins anew."""
    next(iter(body))
    sent = list(body)
    return sum(map(len, sent)), sent


@pytest.mark.parametrize("send", [measured_in_the_middle, measured_first, peeked])
@pytest.mark.parametrize("make", BODIES)
def test_a_body_that_can_be_iterated_again_stays_so(traced: Recorder, make, send) -> None:
    """Each iteration gives all chunks, and each chunk is counted once."""
    exchange = start(traced.wrap(answering(make())))
    assert send(exchange.body) == (3, [b"ab", b"c"])
    exchange.body.close()
    assert traced.server.attributes["http.response_content_length"] == 3
    assert traced.value(REQUESTS, status_code="200") == traced.value(REQUESTS) == 1


def test_the_request_ends_with_the_first_iteration(recorder: Recorder) -> None:
    """An iteration in the middle is not the end of the response: what comes after it counts."""

    class Failing(Reiterable):
        iterations = 0

        def __iter__(self):
            self.iterations += 1
            first = self.iterations == 1
            yield b"ab"
            if first:
                raise ValueError("mine")
            yield b"c"

    exchange = start(recorder.wrap(answering(Failing(b"ab", b"c"))))
    with pytest.raises(ValueError, match="mine"):
        measured_in_the_middle(exchange.body)
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1


def test_a_further_iteration_that_fails_is_an_error(recorder: Recorder) -> None:
    """Code of the application that fails in a further iteration fails its request."""

    class Failing(Reiterable):
        iterations = 0

        def __iter__(self):
            self.iterations += 1
            if self.iterations > 1:
                raise ValueError("mine")
            yield from self.chunks

    exchange = start(recorder.wrap(answering(Failing(b"ab", b"c"))))
    with pytest.raises(ValueError, match="mine"):
        measured_in_the_middle(exchange.body)
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1


def test_code_of_a_further_iteration_finds_its_request(recorder: Recorder) -> None:
    """The application's code has its current request in each iteration, and no other code has."""
    body = Reiterable(b"ab", b"c")
    exchange = start(recorder.wrap(answering(body)))
    measured_in_the_middle(exchange.body)
    assert len(body.seen) == 4
    assert None not in body.seen
    assert current_request() is None


def test_an_iterator_goes_on_where_it_was(recorder: Recorder) -> None:
    """A second ``iter()`` of a generator continues, as it does bare."""
    exchange = start(recorder.wrap(answering(iter([b"ab", b"c"]))))
    assert next(iter(exchange.body)) == b"ab"
    finish(exchange)
    assert exchange.content == b"c"
    assert recorder.value(REQUESTS, status_code="200") == 1


class Marked(bytes):
    """Bytes of an application's own class."""


@pytest.mark.parametrize("body", [b"whole", Marked(b"whole"), b""])
def test_bytes_reach_a_server_that_takes_them(traced: Recorder, body: bytes) -> None:
    """uWSGI and bjoern send bytes as they are; what another server makes of them is its own."""
    assert start(traced.wrap(answering(body))).body is body
    assert traced.value(REQUESTS, status_code="200") == 1
    assert traced.server.attributes["http.response_content_length"] == len(body)


@pytest.mark.parametrize("body", [None, 5], ids=["None", "number"])
def test_what_cannot_be_iterated_fails_as_bare(recorder: Recorder, body) -> None:
    """A body that is none is the server's ``TypeError``, and a failed request."""
    with pytest.raises(TypeError):
        call(recorder.wrap(answering(body)))
    assert recorder.value(REQUESTS, status_code="500") == recorder.value(REQUESTS) == 1


@pytest.mark.parametrize("make", BODIES)
def test_on_gevents_own_server(traced: Recorder, make) -> None:
    """gevent's server computes the Content-Length of a body with a length by iterating it."""
    pywsgi = pytest.importorskip("gevent.pywsgi")
    from gevent import socket

    server = pywsgi.WSGIServer(("127.0.0.1", 0), traced.wrap(answering(make())), log=None)
    with (
        Serving(server) as address,
        socket.create_connection(address) as client,
        client.makefile("rb") as answer,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, content = answer.read().partition(b"\r\n\r\n")
    assert b"Content-Length: 3" in head
    assert content == b"abc"
    assert traced.server.attributes["http.response_content_length"] == 3


class Serving:
    """A server of gevent's within a ``with`` block."""

    def __init__(self, server) -> None:
        self.server = server

    def __enter__(self) -> tuple[str, int]:
        self.server.start()
        return self.server.address

    def __exit__(self, *_: object) -> None:
        self.server.stop(timeout=DEADLINE)
