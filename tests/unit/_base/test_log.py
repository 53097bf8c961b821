"""Debug output: written once, by the first of our loggers that shows it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from avatar_telemetry._base.log import ALIAS, LOGGER, OPENTELEMETRY, debug, debugging, logging_to

LOGGERS = (LOGGER, ALIAS, OPENTELEMETRY)


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    """No logger shows debug output, and each has its own level again at the end."""
    before = [logger.level for logger in LOGGERS]
    for logger in LOGGERS:
        logger.setLevel(logging.INFO)
    yield
    for logger, level in zip(LOGGERS, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("enabled", [(0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)])
def test_one_logger_shows_it(caplog: pytest.LogCaptureFixture, enabled: tuple[int, ...]) -> None:
    """An operator who turns on any of the three sees each line once."""
    for number in enabled:
        LOGGERS[number].setLevel(logging.DEBUG)
    assert debugging()
    debug("%d of %s", 1, "two")
    lines = [(record.name, record.getMessage()) for record in caplog.records]
    assert lines == [(LOGGERS[enabled[0]].name, "1 of two")]
    assert caplog.records[0].filename == "test_log.py"


def test_nothing_is_shown_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """Without a logger at level DEBUG nothing is written, and nothing is formatted."""

    class Unprintable:
        def __str__(self) -> str:
            raise AssertionError("formatted")

    assert not debugging()
    debug("%s", Unprintable())
    assert caplog.records == []


class ServerLog(logging.Logger):
    """The error log of a server."""

    def __init__(self) -> None:
        super().__init__("server", logging.INFO)
        self.lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def unconfigured(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes this process one whose logging nobody has configured."""

    def clear() -> None:  # not earlier: pytest adds its own handlers before the test itself
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
        LOGGER.setLevel(logging.NOTSET)

    return clear


def test_the_start_is_in_the_servers_log(unconfigured: Callable[[], None]) -> None:
    """Records of level INFO and above arrive, and nothing stays behind."""
    unconfigured()
    log = ServerLog()
    with logging_to(log):
        LOGGER.info("started")
        LOGGER.debug("details")
        LOGGER.warning("careful")
    LOGGER.info("later")
    assert log.lines == ["started", "careful"]
    assert (LOGGER.handlers, LOGGER.level) == ([], logging.NOTSET)


def test_the_servers_level_counts(unconfigured: Callable[[], None]) -> None:
    """A server that logs errors only has no INFO in its log."""
    unconfigured()
    log = ServerLog()
    log.setLevel(logging.ERROR)
    with logging_to(log):
        LOGGER.info("started")
    assert log.lines == []


def test_configured_logging_stays_in_charge(caplog: pytest.LogCaptureFixture) -> None:
    """Where an operator has configured handlers no line is written twice."""
    log = ServerLog()
    with logging_to(log):
        LOGGER.warning("careful")
    assert (caplog.messages, log.lines) == (["careful"], [])
