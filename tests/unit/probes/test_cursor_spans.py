"""Spans of statements: where an instrumentation is, and where there is none."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace

from avatar_telemetry.probes.cursor_spans import (
    AFFECTED_ROWS,
    RETURNED_ROWS,
    CursorSpans,
    SafeStatement,
    record_rows,
    statement_text,
    text_of,
)
from avatar_telemetry.probes.policy import POLICY
from tests.support.spans import Spans

ATTRIBUTES = {"database": "database", "host": "host", "port": "port"}
SELECT = SafeStatement("SELECT", "SELECT ?")


class Cursor:
    """A cursor of a driver.

    Args:
        rows: as ``rowcount`` gives it.
        description: of the rows, ``None`` where there are none.
    """

    def __init__(self, rows: Any = -1, description: Any = None) -> None:
        self.rowcount = rows
        self.description = description


class Connection(sqlite3.Connection):
    """One that can be referred to weakly, as those of the drivers can."""


class Composed:
    """A statement that a driver puts together."""

    def as_string(self, cursor: Any) -> str:
        return f"SELECT {cursor}"


@pytest.fixture
def cursor() -> Iterator[Any]:
    connection = Connection(":memory:")  # connect() may be observed already
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE t (a)")
    yield cursor
    cursor.close()
    connection.close()


@pytest.mark.parametrize(
    ("cursor", "attributes"),
    [
        pytest.param(Cursor(3, ("a",)), {RETURNED_ROWS: 3}, id="returned"),
        pytest.param(Cursor(3), {AFFECTED_ROWS: 3}, id="affected"),
        pytest.param(Cursor(0), {AFFECTED_ROWS: 0}, id="none"),
        pytest.param(Cursor(-1), {}, id="not known"),
        pytest.param(Cursor((1 << 64) - 1, ("a",)), {}, id="not read yet"),
        pytest.param(Cursor(None), {}, id="no number"),
        pytest.param(object(), {}, id="no cursor"),
    ],
)
def test_number_of_rows(spans: Spans, cursor: Any, attributes: dict[str, int]) -> None:
    """Rows are noted where the driver knows how many."""
    with spans.recording() as root:
        record_rows(root, cursor)
        assert dict(root.attributes or {}) == attributes  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("SELECT 1", "SELECT 1"),
        (b"SELECT \xff", "SELECT \ufffd"),
        (bytearray(b"SELECT 1"), "SELECT 1"),
        (Composed(), "SELECT cursor"),
    ],
)
def test_text_of_a_statement(query: Any, text: str) -> None:
    """A statement may be a text, bytes, or something of the driver's."""
    assert text_of(query, "cursor") == text


@pytest.mark.parametrize(
    ("privacy", "text"),
    [("off", "SELECT 'bob'"), ("balanced", "SELECT ?"), ("strict", "")],
)
def test_text_by_privacy(policy: Callable[..., None], privacy: str, text: str) -> None:
    """Only in mode off a literal is part of the text, and in strict nothing is."""
    policy(privacy=privacy)
    assert statement_text("postgresql", "SELECT 'bob'") == text


def test_statement_has_a_span(spans: Spans, policy: Callable[..., None], cursor: Any) -> None:
    """The result passes, and the span has the text that is shown, not the statement."""
    of_driver = CursorSpans("sqlite", "sqlite3", ATTRIBUTES)
    with spans.recording():
        result = of_driver.run(cursor, SELECT, lambda: cursor.execute("SELECT 'bob'").fetchall())
    assert result == [("bob",)]
    assert dict(spans.one().attributes or {})["db.statement"] == "SELECT ?"
    assert "bob" not in spans.text()


def test_without_instrumentation(
    spans: Spans, policy: Callable[..., None], cursor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Statements run without a span, and one log record says what to install."""
    of_driver = CursorSpans("sqlite", "no_such_driver", ATTRIBUTES)
    with caplog.at_level(logging.INFO), spans.recording():
        for _ in range(3):
            assert of_driver.run(cursor, SELECT, lambda: "result") == "result"
    assert spans.all() == []
    (record,) = caplog.records
    assert "avatar-telemetry[databases]" in record.getMessage()


def test_connection_of_another_kind(
    spans: Spans, policy: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cursor without a connection runs its statement; our failure is counted each time."""
    failures: list[str] = []
    monkeypatch.setattr(POLICY.guard, "count", failures.append)
    of_driver = CursorSpans("sqlite", "sqlite3", ATTRIBUTES)
    with spans.recording():
        assert of_driver.run(object(), SELECT, lambda: 1) == 1
        assert of_driver.run(object(), SELECT, lambda: 2) == 2
        assert trace.get_current_span().is_recording()
    assert failures == ["probe_database", "probe_database"]


def test_error_of_a_statement_passes(
    spans: Spans, policy: Callable[..., None], cursor: Any
) -> None:
    """A statement runs once, and raises what it raises."""
    calls: list[int] = []

    def fail() -> None:
        calls.append(1)
        raise sqlite3.OperationalError("locked")

    with spans.recording(), pytest.raises(sqlite3.OperationalError, match="locked"):
        CursorSpans("sqlite", "sqlite3", ATTRIBUTES).run(cursor, SELECT, fail)
    assert calls == [1]
