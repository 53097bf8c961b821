"""The probe of SQLAlchemy: one statement is one, whoever else sees it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from opentelemetry.trace import StatusCode
from sqlalchemy import text
from sqlalchemy.pool import StaticPool

from avatar_telemetry.probes import LIBRARY_PROBES
from tests.support.drivers import Driver
from tests.support.recorder import Recorder
from tests.support.spans import Spans

COUNT = "ivatar_db_queries_total"
EARLY = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
"""An engine with a connection, of before any probe."""


@pytest.fixture
def driver() -> Driver:
    return Driver("sqlite3", sqlite3, {}, "sqlite://")


@pytest.fixture(scope="module", autouse=True)
def probes() -> Iterator[None]:
    with EARLY.connect() as connection:
        connection.execute(text("SELECT 1"))
    for _ in range(2):
        LIBRARY_PROBES["sqlalchemy"]()
    yield
    EARLY.dispose()


def test_one_statement_is_one(recorder: Recorder, spans: Spans, within, driver: Driver) -> None:
    """What SQLAlchemy and its driver see has one count, and one span: SQLAlchemy's."""
    LIBRARY_PROBES[driver.name]()
    engine = sqlalchemy.create_engine(driver.url)
    with engine.connect():
        pass  # the first one asks for versions

    def work() -> None:
        with spans.recording(), engine.connect() as connection:
            query = text("SELECT 'secret', :a")
            assert connection.execute(query, {"a": "hidden"}).fetchall()[0][0] == "secret"

    within(work)
    engine.dispose()
    span = spans.one()
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "opentelemetry.instrumentation.sqlalchemy"
    assert span.name.startswith("SELECT")
    assert dict(span.attributes or {})["db.system"] == driver.system
    assert "secret" not in spans.text()
    assert "hidden" not in spans.text()
    assert "demo" not in str((span.attributes or {}).get("db.user", ""))
    assert recorder.value(COUNT) == recorder.value(COUNT, system=driver.system) == 1


def test_engines_and_connections_of_before(recorder: Recorder, spans: Spans, within) -> None:
    """An engine made, and connected, before the probe is seen."""

    def work() -> None:
        with spans.recording(), EARLY.begin() as connection:
            connection.execute(text("CREATE TABLE early (a INTEGER PRIMARY KEY)"))
            connection.execute(text("INSERT INTO early VALUES (:a)"), [{"a": 1}, {"a": 2}])

    within(work)
    assert [name.split()[0] for name in spans.names()] == ["CREATE", "INSERT"]
    assert dict(spans.all()[1].attributes or {})["ivatar.db.rows_affected"] == 2
    assert recorder.value(COUNT, operation="INSERT") == 1


def test_errors(recorder: Recorder, spans: Spans, within) -> None:
    """An error of the statement ends its span without its message; the next one is as ever."""

    def work() -> None:
        with spans.recording(), EARLY.connect() as connection:
            with pytest.raises(sqlalchemy.exc.OperationalError, match="nothing"):
                connection.execute(text("SELECT 'secret' FROM nothing"))
            assert connection.execute(text("SELECT 2")).scalar() == 2

    within(work)
    bad, good = spans.all()
    assert bad.status.status_code is StatusCode.ERROR
    assert dict(bad.attributes or {})["error.type"] == "sqlite3.OperationalError"
    assert good.status.status_code is StatusCode.UNSET
    assert "nothing" not in str(bad.status.description)
    assert "secret" not in spans.text()
    assert recorder.value(COUNT) == 2


def test_a_statement_within_a_statement(recorder: Recorder, spans: Spans, within) -> None:
    """What a listener of the application runs meanwhile is a statement of its own."""
    engine = sqlalchemy.create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect():
        pass  # the first one asks for versions

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def listen(conn, cursor, statement, parameters, context, executemany):
        if "outer" in statement:
            conn.exec_driver_sql("SELECT 'inner'")

    def work() -> None:
        with spans.recording(), engine.connect() as connection:
            assert connection.execute(text("SELECT 'outer'")).scalar() == "outer"
            connection.execute(text("SELECT 3"))

    within(work)
    engine.dispose()
    assert len(spans.names()) == recorder.value(COUNT) == 3


@pytest.mark.parametrize(("privacy", "shown"), [("off", "SELECT 'secret'"), ("strict", None)])
def test_privacy(spans: Spans, policy, privacy, shown) -> None:
    """The statement is told as it is, or not at all."""
    policy(privacy=privacy)
    with spans.recording(), EARLY.connect() as connection:
        connection.execute(text("SELECT 'secret'"))
    assert dict(spans.one().attributes or {}).get("db.statement") == shown


@pytest.mark.parametrize("privacy", ["off", "balanced", "strict"])
def test_no_path_of_a_database_file(
    spans: Spans, policy: Callable[..., None], tmp_path: Path, privacy: str
) -> None:
    """The path of a SQLite file is in no name and no attribute, whatever the privacy mode."""
    policy(privacy=privacy)
    LIBRARY_PROBES["sqlite3"]()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/secret-place.sqlite3")
    with spans.recording(), engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        connection.execute(text("VALUES (1)"))
        with closing(sqlite3.connect(tmp_path / "secret-place.sqlite3")) as plain:
            plain.execute("SELECT 2")
            plain.execute("VALUES (2)")
    engine.dispose()
    assert spans.names() == ["SELECT", "sqlite", "SELECT", "sqlite"]
    assert "secret-place" not in spans.text()
    assert str(tmp_path) not in spans.text()


def test_framing_statements_have_no_span(
    recorder: Recorder, spans: Spans, within: Callable[..., Any]
) -> None:
    """What drivers and frameworks send around the application's statements is only counted."""

    def work() -> None:
        with spans.recording(), EARLY.begin() as connection:
            for statement in ("PRAGMA foreign_keys", "SAVEPOINT a", "SELECT 1", "RELEASE a"):
                connection.exec_driver_sql(statement)

    within(work)
    assert spans.names() == ["SELECT"]
    assert recorder.value(COUNT) == 4


def test_only_in_a_trace_or_a_request(recorder: Recorder, spans: Spans, policy) -> None:
    """A statement outside of both is nobody's."""
    with EARLY.connect() as connection:
        connection.execute(text("SELECT 1"))
    assert spans.all() == []
    assert recorder.value(COUNT) == 0
