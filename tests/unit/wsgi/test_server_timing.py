"""The Server-Timing header."""

from __future__ import annotations

import re
from wsgiref.validate import validator

import pytest

from avatar_telemetry.testing import recording
from tests.support.wsgi_client import call, make_environ, start

ON = {"AVATAR_TELEMETRY_SERVER_TIMING": "true"}
# W3C Server Timing, "The Server-Timing Header Field", with the grammar of RFC 9110.
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
PARAMETER = rf'[ \t]*;[ \t]*{TOKEN}[ \t]*=[ \t]*(?:{TOKEN}|"[^"\\]*")'
METRIC = rf"{TOKEN}(?:{PARAMETER})*"
FIELD = re.compile(rf"{METRIC}(?:[ \t]*,[ \t]*{METRIC})*")
HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "2")]


def answer(environ, start_response):
    start_response("200 OK", list(HEADERS))
    return [b"ok"]


def test_trace_and_duration() -> None:
    """With a trace the header names it, and the milliseconds until the head is sent."""
    with recording(environ=ON) as recorded:
        environ = make_environ("/about/")
        exchange = call(recorded.wrap(answer), environ)
        header = exchange.header("Server-Timing")
        assert FIELD.fullmatch(header), header
        found = re.fullmatch(r'trace;desc="([0-9a-f]{32})", app;dur=(\d+\.\d)', header)
        assert found
        assert found[1] == environ["avatar_telemetry.trace_id"]
        ended = recorded.spans()[-1]
        assert 0 <= float(found[2]) <= (ended.end_time - ended.start_time) / 1e6 + 0.1


def test_without_a_trace_the_duration_alone() -> None:
    """Where no trace has an id, such as for an excluded URL, only the duration is told."""
    excluded = {**ON, "OTEL_PYTHON_EXCLUDED_URLS": "about"}
    with recording(environ=excluded) as recorded:
        header = call(recorded.wrap(answer), path="/about/").header("Server-Timing")
        assert re.fullmatch(r"app;dur=\d+\.\d", header), header
        assert FIELD.fullmatch(header)


def test_off_by_default() -> None:
    """Nobody gets the header who has not asked for it."""
    with recording() as recorded:
        assert call(recorded.wrap(answer), path="/about/").headers == HEADERS


def test_the_list_of_the_application_stays_as_it_is() -> None:
    """An application that sends the same list each time does not collect headers."""
    headers = [("Content-Type", "text/plain"), ("Server-Timing", "db;dur=1")]

    def application(environ, start_response):
        start_response("200 OK", headers)
        return [b"ok"]

    with recording(environ=ON) as recorded:
        wrapped = recorded.wrap(application)
        for _ in range(3):
            exchange = call(wrapped, path="/about/")
            assert [name for name, _ in exchange.headers].count("Server-Timing") == 2
    assert len(headers) == 2


def test_a_head_that_is_made_anew_has_it_once() -> None:
    """An error page in place of a head that was not sent yet (PEP 3333, exc_info) has it, too."""

    def application(environ, start_response):
        start_response("200 OK", list(HEADERS))
        try:
            raise OSError("late")
        except OSError as error:
            start_response("500 Oops", list(HEADERS), (OSError, error, None))
        return [b"no"]

    with recording(environ=ON) as recorded:
        exchange = call(recorded.wrap(application), path="/about/")
        assert exchange.status == "500 Oops"
        assert [name for name, _ in exchange.headers].count("Server-Timing") == 1
        assert recorded.value("ivatar_requests_total", status_code="500") == 1


def test_the_error_after_the_first_byte_passes() -> None:
    """An exception that start_response raises after the first byte reaches the application."""

    def application(environ, start_response):
        start_response("200 OK", list(HEADERS))(b"o")
        try:
            raise OSError("late")
        except OSError as error:
            start_response("500 Oops", list(HEADERS), (OSError, error, error.__traceback__))
        return []

    with recording(environ=ON) as recorded, pytest.raises(OSError, match="late"):
        call(recorded.wrap(application), path="/about/")


def test_both_sides_keep_to_the_interface() -> None:
    """``wsgiref.validate`` finds no fault on either side of the layer."""
    with recording(environ=ON) as recorded:
        wrapped = validator(recorded.wrap(validator(answer)))
        exchange = call(wrapped, make_environ("/about/", SERVER_PROTOCOL="HTTP/1.1"))
        assert exchange.content == b"ok"
        assert exchange.header("Server-Timing")


@pytest.mark.parametrize("headers", [tuple(HEADERS), iter(HEADERS), None])
def test_what_is_no_list_goes_as_it_came(headers) -> None:
    """It is the server that says what it thinks of other things than a list."""
    got = []

    def application(environ, start_response):
        start_response("200 OK", headers)
        return []

    with recording(environ=ON) as recorded:
        wrapped = recorded.wrap(application)
        wrapped(make_environ("/about/"), lambda status, given, *more: got.append(given))
    assert got[0] is headers


def test_a_head_alone(recorder) -> None:
    """The tests' own layer has no header unless its settings say so."""
    assert start(recorder.wrap(answer)).header("Server-Timing") is None
