"""The ready formatters."""

from __future__ import annotations

import json
import logging
import logging.config
from io import StringIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from avatar_telemetry.logs.formatters import JsonFormatter, TraceFormatter


def record(message: Any = "hello", *args: Any, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("shop", logging.WARNING, "shop.py", 7, message, args, None, "sell")
    vars(made).update(fields)
    return made


def fields_of(made: logging.LogRecord, **options: Any) -> dict[str, Any]:
    line = JsonFormatter(**options).format(made)
    assert "\n" not in line
    return json.loads(line, parse_constant=pytest.fail)  # type: ignore[no-any-return]


def test_a_record_as_json() -> None:
    """One object on one line: when, how bad, who, what, and whatever extra there was."""
    made = record("two\nlines of %s", "ümlaut", customer=7, tags=["a", "b"], created=1.25)
    assert fields_of(made) == {
        "time": "1970-01-01T00:00:01.250+00:00", "level": "WARNING", "logger": "shop",
        "message": "two\nlines of ümlaut", "customer": 7, "tags": ["a", "b"],
    }  # fmt: skip


def test_the_trace_stands_there_where_there_is_one() -> None:
    """The trace's fields are left out of a record without a trace; the service is there."""
    trace = {"trace_id": "ab", "span_id": "cd", "trace_sampled": True}
    service = {"service_name": "x", "service.name": "x"}
    line = fields_of(record(**trace, **service))
    assert line.items() >= {**trace, "service.name": "x"}.items()
    line = fields_of(record(trace_id="0", span_id="0", trace_sampled=False, **service))
    assert not line.keys() & trace.keys()
    assert line["service.name"] == "x"


def raised(error: ValueError) -> Any:
    try:
        raise error
    except ValueError as caught:
        return type(caught), caught, caught.__traceback__


@pytest.mark.parametrize(
    ("mode", "shown", "hidden"),
    [
        pytest.param("off", ["ann@example.org", "raise error"], [], id="off"),
        pytest.param("balanced", ["REDACTED", "in raised"], ["ann@", "raise error"], id="balanced"),
        pytest.param("strict", ["ValueError"], ["REDACTED", "in raised", "ann@"], id="strict"),
    ],
)
def test_an_exception_as_the_privacy_mode_has_it(mode, shown, hidden) -> None:
    """Type, message and stack of an exception, as far as they may be logged."""
    made = record(exc_info=raised(ValueError("no user ann@example.org")))
    line = json.dumps({**fields_of(made, privacy=mode)})
    assert json.loads(line)["exception.type"] == "ValueError"
    assert all(text in line for text in shown), line
    assert not any(text in line for text in hidden), line


@pytest.mark.parametrize(("text", "stack"), [("off", True), ("strict", False), ("odd", False)])
def test_the_mode_is_that_of_the_environment(monkeypatch, text, stack) -> None:
    """Without an argument the environment says; what it says wrongly counts as strict."""
    monkeypatch.setenv("AVATAR_TELEMETRY_PRIVACY", text)
    line = fields_of(record(exc_info=raised(ValueError("x"))))
    assert ("exception.stacktrace" in line) is stack


class Broken:
    def __str__(self) -> str:
        raise OSError("broken")

    __repr__ = __str__


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    "value",
    [
        Broken(),
        CIRCLE,
        {1, 2},
        b"\xff",
        float("nan"),
        {(1, 2): 3},
        "\ud800",
        object,
        pytest.param(10**5000, id="longer than a number may be"),
    ],
)
def test_a_strange_extra_does_not_cost_the_line(value) -> None:
    """Whatever an extra holds, the rest of the record is logged."""
    line = fields_of(record(value=value, count=3))
    assert (line["message"], line["count"]) == ("hello", 3)
    assert "value" in line


@pytest.mark.parametrize("message", ["%d of %d", Broken(), ("a",)])
def test_a_strange_message_does_not_cost_the_line(message) -> None:
    """Arguments that do not fit, and messages that are no text, are logged as far as can be."""
    assert "message" in fields_of(record(message, "x"))


def test_an_extra_does_not_take_the_place_of_ours() -> None:
    """An extra with a name of ours stands beside it."""
    line = fields_of(record(level="high"))
    assert (line["level"], line["extra.level"]) == ("WARNING", "high")


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(message=st.text(), extra=st.dictionaries(st.text(), values, max_size=4))
def test_any_record_is_one_object_on_one_line(message, extra) -> None:
    """Whatever was logged, a line is one object of JSON as its standard has it."""
    made = record(message)
    for key, value in extra.items():
        vars(made).setdefault(key, value)
    assert fields_of(made)["message"] == message


def test_lines_know_a_value_for_every_field() -> None:
    """The formatter of lines works with a record that no factory of ours has made."""
    line = TraceFormatter().format(record())
    assert line.endswith("WARNING [shop] [trace_id=0 span_id=0 service.name=] hello")
    mine = TraceFormatter("{trace_id} {tenant} {message}", style="{", defaults={"tenant": "-"})
    assert mine.format(record(trace_id="ab")) == "ab - hello"


@pytest.mark.parametrize(
    "formatter",
    [
        {"()": "avatar_telemetry.logs.JsonFormatter"},
        {"class": "avatar_telemetry.logs.JsonFormatter"},
        {"()": "avatar_telemetry.logs.TraceFormatter"},
        {"class": "avatar_telemetry.logs.TraceFormatter", "format": "%(trace_id)s %(message)s"},
    ],
)
def test_dict_config_makes_them(formatter) -> None:
    """Both forms of dictConfig make both formatters."""
    stream = StringIO()
    handler = {"class": "logging.StreamHandler", "stream": stream, "formatter": "mine"}
    logging.config.dictConfig(
        {
            "version": 1, "disable_existing_loggers": False, "formatters": {"mine": formatter},
            "handlers": {"mine": handler},
            "loggers": {"tests.formatted": {"handlers": ["mine"], "propagate": False}},
        }
    )  # fmt: skip
    logging.getLogger("tests.formatted").warning("hello")
    assert "hello" in stream.getvalue()
    assert "0" in stream.getvalue()
