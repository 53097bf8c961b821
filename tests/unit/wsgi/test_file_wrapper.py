"""Whatever the server's file wrapper is, the server gets the object that it returned."""

from __future__ import annotations

import gc
from io import BytesIO
from typing import Any

import pytest

from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, close, finish, make_environ, start

HEADERS = [("Content-Type", "text/plain")]
REQUESTS = "ivatar_requests_total"


class Bounded:
    """Part of a file, as Falcon has it: it is read and closed, and cannot be iterated."""

    def __init__(self, content: bytes) -> None:
        self._file = BytesIO(content)
        self.closed = 0
        self.read = self._file.read

    def close(self) -> None:
        self.closed += 1


class Slotted:
    """A wrapper whose instances take no attributes, as a type in C."""

    __slots__ = ("file",)

    def __init__(self, file, size=8192) -> None:
        self.file = file

    def __iter__(self):
        return iter(self.file)

    def close(self) -> None:
        self.file.close()


class Inheriting(Slotted):
    """A wrapper whose instances take attributes."""


def returns_itself(file, size=8192):
    """uWSGI's wrapper."""
    return file


def makes_inheriting(file, size=8192):
    """A factory, as mod_wsgi's once was."""
    return Inheriting(file)


class Caller:
    """A wrapper that is an instance with ``__call__``."""

    def __call__(self, file, size=8192):
        return Inheriting(file)


def sends(file, seen=None):
    """An application whose response is a file."""

    def application(environ: dict[str, Any], start_response):
        start_response("206 Partial Content", HEADERS)
        wrapped = environ["wsgi.file_wrapper"](file, 4096)
        if seen is not None:
            seen.append(wrapped)
        return wrapped

    return application


@pytest.mark.parametrize(
    "wrapper",
    [
        pytest.param(Inheriting, id="class"),
        pytest.param(Slotted, id="slots"),
        pytest.param(returns_itself, id="identity function"),
        pytest.param(makes_inheriting, id="function"),
        pytest.param(Caller(), id="callable instance"),
        pytest.param(Caller().__call__, id="method"),
    ],
)
def test_the_server_gets_the_very_object(recorder: Recorder, wrapper) -> None:
    """The object that the wrapper returned is the response; its request ends once, at its end."""
    file, seen = Bounded(b"content"), []
    environ = make_environ(wsgi__file_wrapper=wrapper)
    exchange = start(recorder.wrap(sends(file, seen)), environ)
    assert exchange.body is seen[0]
    assert recorder.value(REQUESTS) == 0
    exchange.body.close()
    assert file.closed == 1
    del exchange
    environ.clear()
    assert recorder.value(REQUESTS, status_code="206") == recorder.value(REQUESTS) == 1


def test_what_no_iterator_is_passes_though_it_cannot_be_closed(recorder: Recorder) -> None:
    """An object without ``close`` gets none that stays; its release ends the request."""

    class Plain:
        read = BytesIO(b"content").read

    file = Plain()
    exchange = start(recorder.wrap(sends(file)), wsgi__file_wrapper=returns_itself)
    assert exchange.body is file
    close(file)
    assert not hasattr(file, "close")
    assert recorder.value(REQUESTS) == 1


def test_an_object_that_is_used_again_is_left_as_it_was(recorder: Recorder) -> None:
    """An application may keep one file for all requests: nothing is added to it at each."""
    file = Bounded(b"content")
    application = recorder.wrap(sends(file))
    for _ in range(3):
        start(application, wsgi__file_wrapper=returns_itself).body.close()
        assert "close" not in vars(file)
    assert file.closed == 3
    assert recorder.value(REQUESTS) == 3


def test_a_close_of_the_instance_is_put_back(recorder: Recorder) -> None:
    """gunicorn's wrapper has the file's ``close`` as an attribute of the instance."""

    class Copying:
        def __init__(self, file, size=8192) -> None:
            self.close = file.close

    file = Bounded(b"content")
    exchange = start(recorder.wrap(sends(file)), wsgi__file_wrapper=Copying)
    exchange.body.close()
    exchange.body.close()
    assert file.closed == 2
    assert recorder.value(REQUESTS) == 1


def test_a_close_that_raises_ends_the_request(recorder: Recorder) -> None:
    """The exception of the file passes, and the request is counted."""

    class Broken(Bounded):
        def close(self) -> None:
            raise OSError("mine")

    exchange = start(recorder.wrap(sends(Broken(b""))), wsgi__file_wrapper=returns_itself)
    with pytest.raises(OSError, match="mine"):
        exchange.body.close()
    assert recorder.value(REQUESTS) == 1


def test_a_server_that_never_closes_the_file(recorder: Recorder) -> None:
    """The request ends when the file is released."""
    exchange = start(recorder.wrap(sends(Bounded(b""))), wsgi__file_wrapper=returns_itself)
    assert recorder.value(REQUESTS) == 0
    del exchange
    gc.collect()
    assert recorder.value(REQUESTS) == 1


def test_the_application_sees_the_servers_function(recorder: Recorder) -> None:
    """A function has the attributes that the server's has."""
    seen = []

    def application(environ, start_response):
        seen.append(environ["wsgi.file_wrapper"].__name__)
        start_response("200 OK", HEADERS)
        return []

    call(recorder.wrap(application), wsgi__file_wrapper=returns_itself)
    assert seen == ["returns_itself"]


def test_a_body_of_the_application_is_no_file(recorder: Recorder) -> None:
    """Where the wrapper was called for something else, the body is observed as any other."""

    def application(environ, start_response):
        environ["wsgi.file_wrapper"](BytesIO(b"not sent"))
        start_response("200 OK", HEADERS)
        yield b"sent"

    exchange = start(recorder.wrap(application), wsgi__file_wrapper=returns_itself)
    finish(exchange)
    assert exchange.content == b"sent"
    assert recorder.value(REQUESTS, status_code="200") == 1


def test_an_environ_used_again_does_not_pile_up_functions(recorder: Recorder) -> None:
    """The function of an earlier request is replaced, not called through."""
    environ = make_environ(wsgi__file_wrapper=returns_itself)
    application = recorder.wrap(sends(Bounded(b"")))
    for _ in range(2):
        close(start(application, environ).body)
    assert environ["wsgi.file_wrapper"].original is returns_itself
