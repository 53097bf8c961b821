"""The probe of errors that an application answers by itself."""

from __future__ import annotations

import logging
import logging.config
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from django.core.handlers.wsgi import WSGIHandler

from avatar_telemetry.probes import errors
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.wsgi.request import CURRENT
from tests.support.django_setup import set_up
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call

set_up()
errors.install(replace(PROFILE, error_loggers=("a_shop",)))
FAULT = ValueError("bob@example.com")


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """The loggers as they were."""
    everybody = [
        each for each in logging.root.manager.loggerDict.values()
        if isinstance(each, logging.Logger)
    ]  # fmt: skip
    states = [(each.disabled, each.level, each.propagate) for each in everybody]
    yield
    for each, (disabled, level, propagate) in zip(everybody, states, strict=True):
        each.disabled, each.propagate = disabled, propagate
        each.setLevel(level)
    FAULT.__traceback__ = None  # it holds the frames, and they the recorder


def told(recorder: Recorder, function: Callable[[], object]) -> BaseException | None:
    """The error that a request with this in it knows of at its end."""
    seen = []

    def application(environ, start_response):
        function()
        request = CURRENT.get()
        assert request is not None
        seen.append(request.error)
        start_response("500 Internal Server Error", [])
        return [b"x"]

    call(recorder.wrap(application))
    return seen[0]


def log(name: str, *, method: str = "exception", fault: Exception = FAULT) -> None:
    try:
        raise fault
    except ValueError:
        getattr(logging.getLogger(name), method)("failed")


def in_django(path: str) -> Callable[[], object]:
    handler = WSGIHandler()
    return lambda: call(handler, path=path)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(lambda: log("django.request"), FAULT, id="Django's logger"),
        pytest.param(lambda: log("a_shop"), FAULT, id="the profile's"),
        pytest.param(lambda: log("a_shop.till"), FAULT, id="one below the profile's"),
        pytest.param(lambda: log("a_shopping"), None, id="one with a similar name"),
        pytest.param(lambda: log("b"), None, id="another"),
        pytest.param(lambda: log("a_shop", method="error"), None, id="no exception"),
        pytest.param(lambda: logging.getLogger("a_shop").warning("x", exc_info=FAULT), None,
                     id="a warning"),
        pytest.param(lambda: logging.getLogger("a_shop").error("x", exc_info=True), None,
                     id="an exception that is none"),
    ],
)  # fmt: skip
def test_which_records_tell(recorder: Recorder, function, expected) -> None:
    """Errors with an exception, of the named loggers and of those below them."""
    assert told(recorder, function) is expected


def test_the_first_error_counts(recorder: Recorder) -> None:
    """What was logged after it came of it."""
    later = ValueError("later")
    assert told(recorder, lambda: (log("a_shop"), log("a_shop", fault=later))) is FAULT


def test_a_new_configuration_of_logging(recorder: Recorder) -> None:
    """dictConfig takes handlers and levels away, and nothing of ours."""
    logging.config.dictConfig({
        "version": 1, "disable_existing_loggers": True,
        "loggers": {"a_shop": {"level": "ERROR", "propagate": False, "handlers": []}},
    })  # fmt: skip
    assert told(recorder, lambda: log("a_shop")) is FAULT


def test_loggers_are_not_made(recorder: Recorder) -> None:
    """A logger that existed too early is what disable_existing_loggers turns off."""
    errors.install(replace(PROFILE, error_loggers=("never_made",)))
    assert "never_made" not in logging.root.manager.loggerDict


def test_records_go_where_they_went(recorder: Recorder, caplog: pytest.LogCaptureFixture) -> None:
    """A record comes to the handlers once, with the place that wrote it."""
    told(recorder, lambda: log("a_shop"))
    (record,) = (each for each in caplog.records if each.name == "a_shop")
    assert (record.filename, record.funcName) == ("test_errors.py", "log")


def test_what_django_answers(recorder: Recorder) -> None:
    """An exception of a view, of which Django makes a 500, is known to the request."""
    assert isinstance(told(recorder, in_django("/fail/")), LookupError)


def test_what_django_answers_when_its_logger_is_off(recorder: Recorder) -> None:
    """Its signal tells where its logger makes no record."""
    logging.getLogger("django.request").disabled = True
    assert isinstance(told(recorder, in_django("/fail/")), LookupError)


@pytest.mark.parametrize("path", ["/missing/", "/nothing/", "/shop/7/"])
def test_no_error(recorder: Recorder, path: str) -> None:
    """A page, and a page that is not there, are no errors."""
    assert told(recorder, in_django(path)) is None


def test_outside_of_a_request() -> None:
    """Records and signals without a request pass."""
    log("a_shop")
    assert call(WSGIHandler(), path="/fail/").status.startswith("500")


def test_nothing_is_kept_after_the_end(recorder: Recorder) -> None:
    """A traceback holds the frames that hold the request; it goes when the request ends."""
    requests = []

    def application(environ, start_response):
        requests.append(CURRENT.get())
        log("a_shop")
        start_response("500 Internal Server Error", [])
        return [b"x"]

    call(recorder.wrap(application))
    assert requests[0].error is None
