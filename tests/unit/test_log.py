"""Debug output: written once, by the first of our loggers that shows it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from avatar_telemetry.log import ALIAS, LOGGER, OPENTELEMETRY, debug, debugging

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
