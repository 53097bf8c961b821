"""The guard: counts, logs once a minute, raises never."""

from __future__ import annotations

import logging
from threading import RLock

import pytest

from avatar_telemetry._base.guard import LOG_INTERVAL, Guard
from tests.support.clock import PauseClock


def test_failures_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Every failure counts; each place has one log record in a minute, with its traceback."""
    counted: list[str] = []
    clock = PauseClock(0.0)
    guard = Guard(counted.append, clock)
    with caplog.at_level(logging.ERROR):
        for clock.now in (0.0, 1.0, LOG_INTERVAL - 1, LOG_INTERVAL + 1):
            for where in ("here", "there"):
                with guard.at(where):
                    raise ValueError(where)
    assert counted == ["here", "there"] * 4
    assert [record.args for record in caplog.records] == [("here",), ("there",)] * 2
    assert "ValueError: here" in caplog.text


def test_a_guard_that_cannot_count_is_silent() -> None:
    """Not even a failure in telling of a failure reaches the application."""

    def broken(where: str) -> None:
        raise RuntimeError

    with Guard(broken).at("here"):
        raise ValueError


def test_what_fails_under_a_lock_is_reported_after_it(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a count nor a record is made while the lock is held, however often it is taken."""
    lock, reported = RLock(), []

    def count(where: str) -> None:
        assert not lock._is_owned()  # type: ignore[attr-defined]
        reported.append(where)

    guard = Guard(count)
    with guard.at("outer"), guard.holding(lock):
        with guard.holding(lock), guard.at("inner"):
            raise ValueError("first")
        guard.warn("a %s", "warning")
        assert (reported, caplog.records) == ([], [])
        raise ValueError("second")
    assert reported == ["inner", "outer"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "ERROR"]
    assert "ValueError: first" in caplog.text
    guard.warn("at once")
    assert caplog.records[-1].getMessage() == "at once"


def test_what_ends_a_process_passes() -> None:
    """SystemExit is not a failure of ours."""
    with pytest.raises(SystemExit), Guard().at("here"):
        raise SystemExit
