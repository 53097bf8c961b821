"""The probes of database drivers, each against its real server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from avatar_telemetry.probes import LIBRARY_PROBES
from avatar_telemetry.wsgi.request import CURRENT
from tests.support import drivers
from tests.support.drivers import Driver, Servers
from tests.support.recorder import Recorder
from tests.support.spans import Spans

COUNT = "ivatar_db_queries_total"
SECRET = "secret0a1b2c3d"
LOUD = SECRET.upper()


@pytest.fixture(params=drivers.NAMES)
def driver(request: pytest.FixtureRequest, servers: Servers) -> Driver:
    found = servers.driver(request.param)
    LIBRARY_PROBES[request.param]()
    return found


@pytest.fixture
def connection(driver: Driver) -> Iterator[Any]:
    """A connection with a table of three rows."""
    connection = driver.connect()
    cursor = connection.cursor()
    cursor.execute("DROP TABLE IF EXISTS shop")
    cursor.execute("CREATE TABLE shop (id INTEGER PRIMARY KEY, name VARCHAR(40))")
    cursor.execute("INSERT INTO shop VALUES (1, 'a'), (2, 'b'), (3, 'c')")
    cursor.close()
    connection.commit()
    yield connection
    connection.close()


def counted(recorder: Recorder) -> dict[str, float]:
    return {
        each["operation"]: recorder.value(COUNT, **each) for each in recorder.labels(COUNT)
    }  # fmt: skip


def test_statements_of_a_request(recorder: Recorder, within, driver: Driver, connection) -> None:
    """Each statement counts once under its system and operation, and nothing outside a request."""

    def work() -> int:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM shop")
        assert len(cursor.fetchall()) == 3
        cursor.execute(f"insert into shop values (4, {driver.mark})", ("d",))
        cursor.executemany(
            f"INSERT INTO shop VALUES ({driver.mark}, {driver.mark})", [(5, "e"), (6, "f")]
        )
        cursor.execute("/* why */ UPDATE shop SET name = 'x'")
        cursor.execute("DELETE FROM shop")
        assert cursor.rowcount == 6
        cursor.close()
        connection.commit()
        request = CURRENT.get()
        assert request is not None
        return request.db_queries

    assert within(work) == 5
    expected = {"SELECT": 1, "INSERT": 2, "UPDATE": 1, "DELETE": 1}
    assert counted(recorder) == expected
    assert recorder.value(COUNT, system=driver.system) == 5
    assert recorder.value("ivatar_db_query_seconds_count", system=driver.system) == 5
    connection.cursor().execute("SELECT 1")
    assert counted(recorder) == expected


def test_a_span_for_a_statement(spans: Spans, policy, driver: Driver, connection) -> None:
    """A span bears the statement without literals and parameters, rows, the database; no user."""
    cursor = connection.cursor()
    with spans.recording():
        cursor.execute(
            f"SELECT id FROM shop WHERE name = {driver.mark} OR name = '{SECRET}' OR id = 77",
            ("a",),
        )
        assert cursor.fetchall()[0][0] == 1
    span = spans.one()
    attributes = dict(span.attributes or {})
    assert span.name == "SELECT"
    assert attributes["db.system"] == driver.system
    where = f"SELECT id FROM shop WHERE name = {driver.mark} OR name = ? OR id = ?"
    assert attributes["db.statement"] == where
    assert "db.user" not in attributes
    assert SECRET not in spans.text()
    assert attributes.get("db.response.returned_rows", 1) == 1
    if driver.name in ("psycopg", "psycopg2", "pymysql"):
        assert attributes["db.response.returned_rows"] == 1
        assert attributes["net.peer.name"] == "127.0.0.1"
        assert attributes["db.name"] in ("postgres", "demo")


def test_affected_rows(spans: Spans, policy, driver: Driver, connection) -> None:
    """The number of changed rows is told."""
    with spans.recording():
        connection.cursor().execute("UPDATE shop SET name = 'x' WHERE id < 3")
    assert dict(spans.one().attributes or {})["ivatar.db.rows_affected"] == 2


@pytest.mark.parametrize(
    ("privacy", "shown"),
    [("off", f"SELECT '{SECRET}'"), ("balanced", "SELECT ?"), ("strict", None)],
)
def test_privacy(spans: Spans, policy, driver: Driver, connection, privacy, shown) -> None:
    """The statement is told as it is, without literals, or not at all."""
    policy(privacy=privacy)
    with spans.recording():
        connection.cursor().execute(f"SELECT '{SECRET}'")
    assert dict(spans.one().attributes or {}).get("db.statement") == shown


def test_a_statement_that_fails(
    recorder: Recorder, spans: Spans, within, driver: Driver, connection
) -> None:
    """The driver's exception passes; the span bears its class, and nothing of its message."""
    error = driver.module.DatabaseError

    def work() -> None:
        with spans.recording(), pytest.raises(error, match=r"(?i)duplicate|unique|exist"):
            connection.cursor().execute(f"INSERT INTO shop VALUES (1, '{SECRET}')")
        connection.rollback()

    within(work)
    span = spans.one()
    assert span.status.status_code is StatusCode.ERROR
    error_type = (span.attributes or {})["error.type"]
    assert "Violation" in str(error_type) or "IntegrityError" in str(error_type)
    assert SECRET not in spans.text()
    assert not span.status.description
    assert counted(recorder) == {"INSERT": 1}


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("statement", [" ", "/* nothing */", None, 5, b"SELECT 1"])
def test_odd_statements(
    spans: Spans, within, driver: Driver, connection, statement, recorded
) -> None:
    """What is no statement does as it does without a probe."""

    def outcome() -> tuple[type[BaseException] | None, str]:
        try:
            connection.cursor().execute(statement)
        except Exception as error:  # noqa: BLE001 - compared with the bare outcome
            return type(error), str(error)
        finally:
            connection.rollback()
        return None, ""

    def observed() -> tuple[type[BaseException] | None, str]:
        if not recorded:
            return outcome()
        with spans.recording():
            return outcome()

    assert within(observed) == outcome()


def test_cursors_stay_cursors(spans: Spans, policy, driver: Driver, connection) -> None:
    """Attributes, iteration, context managers and classes are the driver's own."""
    with spans.recording():
        cursor = connection.cursor()
        cursor.arraysize = 2
        cursor.execute("SELECT id, name FROM shop ORDER BY id")
        assert [column[0] for column in cursor.description] == ["id", "name"]
        assert next(iter(cursor))[0] == 1
        assert [row[0] for row in cursor.fetchmany()] == [2, 3]
        assert cursor.connection is connection or driver.name == "mysqlclient"
        cursor.close()
        if driver.name != "sqlite3":
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        if driver.name in ("sqlite3", "psycopg2"):  # others close it
            with connection as entered:
                assert entered is connection
    kind = {"psycopg2": "extensions.connection", "mysqlclient": "connections.Connection",
            "pymysql": "connections.Connection"}.get(driver.name, "Connection")  # fmt: skip
    owner = driver.module
    for name in kind.split("."):
        owner = getattr(owner, name)
    assert isinstance(connection, owner)


def test_only_in_a_trace_or_a_request(spans: Spans, policy, driver: Driver, connection) -> None:
    """A statement outside of both makes no span of its own."""
    connection.cursor().execute("SELECT 1")
    assert spans.all() == []


@pytest.mark.parametrize("name", ["psycopg2", "pymysql", "mysqlclient"])
def test_procedures(recorder: Recorder, spans: Spans, within, servers: Servers, name) -> None:
    """callproc is a CALL, once. (psycopg has none.)"""
    driver = servers.driver(name)
    LIBRARY_PROBES[name]()

    def work() -> Any:
        with closing(driver.connect()) as connection, connection.cursor() as cursor:
            if driver.system == "mysql":
                cursor.execute("CREATE OR REPLACE PROCEDURE small(a TEXT) SELECT LOWER(a)")
            with spans.recording():
                cursor.callproc("lower" if driver.system == "postgresql" else "small", [LOUD])
                return cursor.fetchall()[0][0]

    assert within(work) == SECRET
    assert spans.names() == ["CALL"]
    assert counted(recorder)["CALL"] == 1
    assert SECRET not in spans.text().lower()


def test_a_failure_of_ours(
    recorder: Recorder, within, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A count that fails is told to the guard; the statement goes on."""
    driver = servers.driver("sqlite3")
    LIBRARY_PROBES["sqlite3"]()
    connection = driver.connect()
    failures: list[str] = []
    monkeypatch.setattr(recorder.guard, "failed", failures.append)
    monkeypatch.setattr("avatar_telemetry.wsgi.request.DB_QUERIES", None)
    assert within(lambda: connection.execute("SELECT 1").fetchone()) == (1,)
    connection.close()
    assert failures == ["probe_database"]
