"""A taken socket is a switch of protocols, and no failure."""

from __future__ import annotations

from contextlib import suppress

import pytest
from opentelemetry.trace import StatusCode

from tests.support.recorder import Recorder
from tests.support.wsgi_client import call, close, finish, start

REQUESTS = "ivatar_requests_total"
UPGRADE = {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "Upgrade"}
HEADER_ALONE = {"HTTP_UPGRADE": "websocket", "HTTP_CONNECTION": "keep-alive"}
GUNICORN = {"gunicorn__socket": object()}
WERKZEUG = {"werkzeug__socket": object()}


def raising(kind):
    def application(environ, start_response):
        raise kind

    return application


def returning(body, *, status="", headers=()):
    def application(environ, start_response):
        if status:
            start_response(status, list(headers))
        return body

    return application


def run(application, environ) -> None:
    with suppress(StopIteration, ConnectionError, ValueError):
        call(application, **environ)


@pytest.mark.parametrize(
    ("application", "environ"),
    [
        pytest.param(raising(StopIteration), GUNICORN, id="gunicorn"),
        pytest.param(raising(ConnectionError), WERKZEUG, id="werkzeug, raising"),
        pytest.param(
            returning([b""], status="200 OK", headers=[("Content-Length", "0")]), WERKZEUG,
            id="werkzeug, empty",
        ),
        pytest.param(returning([]), GUNICORN, id="gunicorn, returning"),
        pytest.param(returning([]), {"SERVER_SOFTWARE": "gevent/24 Python/3.11"}, id="gevent"),
        pytest.param(returning([]), {"wsgi__websocket": object()}, id="gevent-websocket"),
        pytest.param(returning(b""), {"uwsgi__version": b"2.0"}, id="uWSGI"),
        pytest.param(raising(StopIteration), GUNICORN | {"HTTP_CONNECTION": "keep-alive, UPGRADE"},
                     id="two options of the connection"),
    ],
)  # fmt: skip
def test_a_taken_socket_is_a_switch_of_protocols(traced: Recorder, application, environ) -> None:
    """It counts as 101, is no error, and leaves no duration of a response."""
    run(traced.wrap(application), UPGRADE | environ)
    assert traced.labels(REQUESTS) == [{"method": "GET", "status_code": "101", "path": "/"}]
    assert traced.server.attributes["http.status_code"] == 101
    assert traced.server.status.status_code is StatusCode.UNSET
    assert not traced.server.events
    assert "error.type" not in traced.server.attributes
    for histogram in ("ivatar_request_duration_seconds", "ivatar_request_first_byte_seconds"):
        assert traced.value(f"{histogram}_count") == 0


@pytest.mark.parametrize(
    ("status", "timed"),
    [("100 Continue", 1), ("101 Switching Protocols", 0), ("103 Early Hints", 1)],
)
@pytest.mark.parametrize("environ", [{}, UPGRADE | GUNICORN], ids=["plain", "upgrade"])
def test_an_interim_status_as_the_last_one(
    traced: Recorder, status: str, timed: int, environ
) -> None:
    """It counts as what it is, is no failure, and a switch of protocols has no duration."""
    run(traced.wrap(returning([], status=status)), environ)
    assert traced.labels(REQUESTS) == [{"method": "GET", "status_code": status[:3], "path": "/"}]
    assert traced.value(REQUESTS) == 1
    assert traced.value("ivatar_requests_in_progress") == 0
    assert traced.server.attributes["http.status_code"] == int(status[:3])
    assert traced.server.status.status_code is StatusCode.UNSET
    assert "error.type" not in traced.server.attributes
    for histogram in ("ivatar_request_duration_seconds", "ivatar_request_first_byte_seconds"):
        assert traced.value(f"{histogram}_count") == timed


@pytest.mark.parametrize(
    ("application", "environ", "status"),
    [
        pytest.param(raising(ValueError), UPGRADE | GUNICORN, "500", id="another exception"),
        pytest.param(raising(StopIteration), GUNICORN, "500", id="no upgrade"),
        pytest.param(raising(StopIteration), HEADER_ALONE | GUNICORN, "500",
                     id="no option of the connection"),
        pytest.param(returning([], status="200 OK", headers=[("Content-Length", "0")]),
                     HEADER_ALONE | WERKZEUG, "200", id="no option of the connection, empty"),
        pytest.param(raising(StopIteration), UPGRADE, "500", id="no socket"),
        pytest.param(raising(ConnectionRefusedError), UPGRADE | WERKZEUG, "500",
                     id="connection to something else"),
        pytest.param(raising(ConnectionError), UPGRADE | GUNICORN, "500",
                     id="not gunicorn's exception"),
        pytest.param(returning([b"x"], status="200 OK"), UPGRADE | WERKZEUG, "200", id="ignored"),
        pytest.param(returning([], status="200 OK", headers=[("Content-Length", "0")]),
                     UPGRADE | GUNICORN, "200", id="ignored under gunicorn"),
        pytest.param(returning([], status="426 Upgrade Required"), UPGRADE | WERKZEUG, "426",
                     id="refused"),
    ],
)  # fmt: skip
def test_any_other_end_counts_as_what_it_is(
    recorder: Recorder, application, environ, status
) -> None:
    """A header that any client may send hides no failure and no response."""
    run(recorder.wrap(application), environ)
    assert recorder.value(REQUESTS, status_code=status) == recorder.value(REQUESTS) == 1
    assert recorder.value("ivatar_request_duration_seconds_count") == 1


def test_a_generator_that_never_answers_an_upgrade(traced: Recorder) -> None:
    """A client that goes away before the generator has run has seen no switch of protocols."""

    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"late"

    close(start(traced.wrap(application), **UPGRADE, **GUNICORN).body)
    assert traced.labels(REQUESTS) == [{"method": "GET", "status_code": "other", "path": "/"}]
    assert "http.status_code" not in traced.server.attributes


def test_a_generator_that_answers_an_upgrade(recorder: Recorder) -> None:
    """A status that comes after the call of the application is the request's."""

    def application(environ, start_response):
        start_response("400 Bad Request", [])
        yield b"no"

    exchange = start(recorder.wrap(application), **UPGRADE, **GUNICORN)
    finish(exchange)
    close(exchange.body)
    assert recorder.value(REQUESTS, status_code="400") == recorder.value(REQUESTS) == 1
