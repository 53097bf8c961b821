"""What tends to break when a driver is observed: each library's own ways with cursors."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from avatar_telemetry.probes import LIBRARY_PROBES
from tests.support import drivers, real_servers
from tests.support.drivers import Driver, Servers
from tests.support.paths import REPOSITORY
from tests.support.recorder import Recorder
from tests.support.requirements import require
from tests.support.rows import by_default, rows
from tests.support.spans import Spans
from tests.support.waiting import eventually

COUNT = "ivatar_db_queries_total"


@pytest.fixture
def psycopg2(servers: Servers) -> Driver:
    driver = servers.driver("psycopg2")
    LIBRARY_PROBES["psycopg2"]()
    return driver


def test_psycopg2_connections_of_another_class(recorder: Recorder, within, psycopg2) -> None:
    """DictConnection and its kin give their own cursors and rows, and are counted once."""
    from psycopg2 import extensions, extras

    connection = psycopg2.connect(connection_factory=extras.DictConnection)

    def work() -> Any:
        with connection.cursor() as cursor:
            assert isinstance(cursor, extras.DictCursor)
            cursor.execute("SELECT 5 AS five")
            return cursor.fetchone()["five"]

    assert within(work) == 5
    assert isinstance(connection, extras.DictConnection)
    assert isinstance(connection, extensions.connection)
    assert recorder.value(COUNT) == 1
    connection.close()


@pytest.mark.parametrize("kind", ["DictCursor", "RealDictCursor", "NamedTupleCursor"])
@pytest.mark.parametrize("where", ["connect", "attribute", "cursor"])
def test_psycopg2_cursor_factories(recorder: Recorder, within, psycopg2, kind, where) -> None:
    """A cursor factory works wherever it is named, and reads back as it was set."""
    from psycopg2 import extras

    factory = getattr(extras, kind)
    connection = psycopg2.connect(**({"cursor_factory": factory} if where == "connect" else {}))
    if where == "attribute":
        connection.cursor_factory = factory
    more = {"cursor_factory": factory} if where == "cursor" else {}

    def work() -> Any:
        with connection.cursor(**more) as cursor:
            assert isinstance(cursor, factory)
            cursor.execute("SELECT 5 AS five")
            row = cursor.fetchone()
            return row.five if kind == "NamedTupleCursor" else row["five"]

    assert within(work) == 5
    assert connection.cursor_factory is (factory if where != "cursor" else None)
    assert recorder.value(COUNT) == 1
    connection.close()


def test_psycopg2_extras(recorder: Recorder, within, psycopg2) -> None:
    """Types registered on a connection, named cursors, execute_values and sql.Composed work."""
    from psycopg2 import extensions, extras, sql

    connection = psycopg2.connect()

    def work() -> None:
        extensions.register_type(extensions.UNICODE, connection)
        extras.register_uuid(conn_or_curs=connection)
        extras.register_default_jsonb(conn_or_curs=connection)
        with connection.cursor(name="server_side") as cursor:
            cursor.execute("SELECT generate_series(1, 5)")
            assert [row[0] for row in cursor] == [1, 2, 3, 4, 5]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE many (a int)")
            extras.execute_values(cursor, "INSERT INTO many VALUES %s", [(i,) for i in range(5)])
            query = sql.SQL("SELECT {} FROM {}").format(sql.Literal("x"), sql.Identifier("many"))
            cursor.execute(query)
            assert len(cursor.fetchall()) == 5
            assert extensions.quote_ident("a", cursor) == '"a"'

    within(work)
    operations = {each["operation"] for each in recorder.labels(COUNT)}
    assert operations == {"SELECT", "CREATE", "INSERT"}
    connection.close()


@pytest.mark.parametrize("name", ["psycopg2", "psycopg"])
def test_composed_statements(spans: Spans, policy, servers: Servers, name) -> None:
    """The text of a composed statement is told without its literals."""
    driver = servers.driver(name)
    LIBRARY_PROBES[name]()
    sql = __import__(f"{name}.sql", fromlist=["sql"])
    connection = driver.connect()
    with spans.recording():
        query = sql.SQL("SELECT {} AS {}").format(sql.Literal("secret"), sql.Identifier("b c"))
        connection.cursor().execute(query)
        connection.cursor().execute(sql.SQL("SELECT 1"))
    connection.close()
    texts = [dict(span.attributes or {})["db.statement"] for span in spans.all()]
    assert texts == ['SELECT ? AS "b c"', "SELECT ?"]


def test_psycopg_server_cursors_and_shortcuts(
    recorder: Recorder, spans: Spans, within, servers: Servers
) -> None:
    """psycopg's server-side cursors, row factories, pipelines and connection.execute are seen."""
    from psycopg.rows import dict_row

    driver = servers.driver("psycopg")
    LIBRARY_PROBES["psycopg"]()
    connection = driver.connect(row_factory=dict_row)

    def work() -> None:
        with spans.recording():
            with connection.cursor(name="server_side") as cursor:
                cursor.execute("SELECT generate_series(1, 3) AS a")
                assert [row["a"] for row in cursor] == [1, 2, 3]
            assert connection.execute(query="SELECT 7 AS a").fetchone() == {"a": 7}
            with connection.pipeline():
                connection.execute("SELECT 8 AS a")

    within(work)
    connection.close()
    assert spans.names() == ["SELECT"] * 3
    assert recorder.value(COUNT, operation="SELECT") == 3


def test_psycopg_asynchronous(spans: Spans, policy, servers: Servers) -> None:
    """The cursors of an asynchronous connection make spans, too."""
    import asyncio

    driver = servers.driver("psycopg")
    LIBRARY_PROBES["psycopg"]()

    async def work() -> Any:
        connection = await driver.module.AsyncConnection.connect(**driver.arguments)
        async with connection, connection.cursor() as cursor:
            await cursor.execute("SELECT 'secret'")
            return await cursor.fetchone()

    with spans.recording():
        assert asyncio.run(work()) == ("secret",)
    assert dict(spans.one().attributes or {})["db.statement"] == "SELECT ?"


def test_sqlite3_in_its_ways(recorder: Recorder, spans: Spans, within, tmp_path: Path) -> None:
    """Backup, factories, row factories, scripts and the shortcuts of a connection work."""
    LIBRARY_PROBES["sqlite3"]()

    class Mine(sqlite3.Connection):
        pass

    class MineToo(sqlite3.Cursor):
        def execute(self, *args: Any) -> Any:
            return super().execute(*args)

    def work() -> None:
        with spans.recording():
            connection = sqlite3.connect(str(tmp_path / "a"), factory=Mine)
            assert isinstance(connection, Mine)
            connection.row_factory = sqlite3.Row
            connection.executescript("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
            assert connection.execute("SELECT a FROM t").fetchone()["a"] == 1
            cursor = connection.cursor(MineToo)
            assert isinstance(cursor, MineToo)
            assert cursor.execute("SELECT a FROM t") is cursor
            assert next(cursor)["a"] == 1
            other = sqlite3.connect(":memory:", 5, 0, None, True, sqlite3.Connection)
            connection.backup(other)
            assert other.execute("SELECT count(*) FROM t").fetchall() == [(1,)]
            connection.create_function("twice", 1, lambda a: 2 * a)
            connection.executemany("DELETE FROM t WHERE a = twice(?)", [(1,), (2,)])
            other.close()
            connection.close()

    within(work)
    assert spans.names() == ["CREATE", "SELECT", "SELECT", "SELECT", "DELETE"]
    assert recorder.value(COUNT, system="sqlite") == 5


PRELOAD = """
import json, sys
from tests.support.drivers import arguments
name, module, order, url = sys.argv[1:]
def imports():
    return __import__(module, fromlist=["connect"]).connect
def probe():
    from avatar_telemetry.probes import LIBRARY_PROBES
    LIBRARY_PROBES[name]()
connection = None
if order == "before":
    connect = imports()
    if name in ("psycopg", "pymysql", "mysqlclient"):
        connection = connect(**arguments(name, url))
    probe()
else:
    probe()
    connect = imports()
connection = connection or connect(**arguments(name, url))
from pathlib import Path
import tempfile
from tests.support.recorder import Recorder
from tests.support.wsgi_client import call
recorder = Recorder(Path(tempfile.mkdtemp()))
def application(environ, start_response):
    connection.cursor().execute("SELECT 1")
    start_response("200 OK", [])
    return [b""]
call(recorder.wrap(application))
print(json.dumps([recorder.value("ivatar_db_queries_total")]))
"""


@pytest.mark.parametrize(
    ("name", "order"),
    by_default(
        "pymysql-before",
        [
            pytest.param(name, order, id=f"{name}-{order}")
            for name in drivers.NAMES[1:]
            for order in ("before", "after")
        ],
    ),
)
def test_imported_before_the_probe_or_after(servers: Servers, name, order) -> None:
    """``from driver import connect`` and, but for psycopg2, connections of before are seen."""
    driver = servers.driver(name)
    url = driver.url.partition("+")[0] + "://" + driver.url.partition("://")[2]
    done = subprocess.run(
        [sys.executable, "-c", PRELOAD, name, driver.module.__name__, order, url],
        capture_output=True, text=True, check=True, cwd=REPOSITORY,
    )  # fmt: skip
    assert json.loads(done.stdout)[0] == 1


@pytest.mark.parametrize("name", by_default("psycopg", rows(*drivers.NAMES[1:])))
def test_the_server_dies_in_mid_request(recorder: Recorder, spans: Spans, within, name) -> None:
    """The application gets the driver's own exception; count and span say what happened."""
    module = drivers.load(name)
    LIBRARY_PROBES[name]()
    system = drivers.SYSTEMS[name]
    start = real_servers.postgresql if system == "postgresql" else real_servers.mariadb
    ending = signal.SIGQUIT if system == "postgresql" else signal.SIGKILL

    def work() -> None:
        with ExitStack() as stack, spans.recording():
            server = stack.enter_context(start())
            connection = module.connect(**drivers.arguments(name, server.url))
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            os.kill(server.pid, ending)
            eventually(lambda: not real_servers.accepts(urlport(server.url)))
            with pytest.raises(module.OperationalError):
                cursor.execute("SELECT 2")

    within(work)
    assert recorder.value(COUNT, system=system, operation="SELECT") == 2
    good, bad = spans.all()
    assert good.status.status_code is StatusCode.UNSET
    assert bad.status.status_code is StatusCode.ERROR
    error_type = str((bad.attributes or {})["error.type"])
    assert error_type.startswith(module.__name__) or "psycopg" in error_type


def urlport(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])


# Django takes PyMySQL only in place of mysqlclient.
DJANGO_DRIVERS = [name for name in drivers.NAMES if name != "pymysql"]


@pytest.mark.parametrize("name", by_default("psycopg", rows(*DJANGO_DRIVERS)))
def test_django(servers: Servers, tmp_path: Path, name) -> None:
    """Django's own backends work on an observed driver, and each of their statements is counted."""
    require("django")
    driver = servers.driver(name)
    engine = {"sqlite": "sqlite3"}.get(driver.system, driver.system)
    database = {"ENGINE": f"django.db.backends.{engine}", "NAME": str(tmp_path / "db")}
    if name != "sqlite3":
        given = driver.arguments
        database |= {"NAME": given.get("dbname") or given["database"], "USER": given["user"],
                     "HOST": given["host"], "PORT": str(given["port"]),
                     "PASSWORD": given.get("password", "")}  # fmt: skip
    block = "import sys; sys.modules['psycopg'] = None\n" if name == "psycopg2" else ""
    program = REPOSITORY / "tests/support/django_queries.py"
    done = subprocess.run(
        [sys.executable, "-c", block + program.read_text(), name, json.dumps(database)],
        capture_output=True, text=True, check=False, cwd=REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["failures"] == 0
    assert seen["counted"] == seen["spans"] >= 5
    assert {"INSERT", "SELECT", "UPDATE"} <= set(seen["names"])
    for secret in ("evelyn", "bob", "hidden"):
        assert secret not in seen["text"]
