"""Spans of statements, made by OpenTelemetry's instrumentation of the driver.

It is imported with the first span: a process that records none does not need it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from opentelemetry import trace

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry._base.otel_private import guarded_cursor_tracer
from avatar_telemetry.http import sql
from avatar_telemetry.probes.patching import Call
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import PrivateTracerProvider

# MySQL's drivers report the largest possible number before they have read the rows.
MAX_ROWS = 1 << 62
RETURNED_ROWS = "db.response.returned_rows"
AFFECTED_ROWS = "ivatar.db.rows_affected"


class SafeStatement(NamedTuple):
    """The operation and the text that an instrumentation gets in place of the statement."""

    operation: str
    text: str


def statement_text(system: str, text: str) -> str:
    """Return the text of a statement that the privacy mode permits, or an empty text."""
    if POLICY.privacy == "off":
        return text
    if POLICY.privacy == "strict":
        return ""
    return sql.without_literals(text, system)


def text_of(query: Any, cursor: Any) -> str:
    """Return the text of any object that a driver accepts as a statement."""
    if isinstance(query, str):
        return query
    if isinstance(query, (bytes, bytearray)):
        return query.decode("utf-8", "replace")
    return str(query.as_string(cursor))


def record_rows(span: trace.Span, cursor: Any) -> None:
    """Set the number of rows on a span, where the driver reports it. Never raises."""
    try:
        rows = cursor.rowcount
        if isinstance(rows, int) and 0 <= rows < MAX_ROWS:
            key = AFFECTED_ROWS if cursor.description is None else RETURNED_ROWS
            span.set_attribute(key, rows)
    except Exception:  # noqa: BLE001 - the method may have closed its cursor
        return


class CursorSpans:
    """The spans of one driver.

    Args:
        system: the value of the ``system`` label.
        instrumentation: the name of OpenTelemetry's package, without its prefix.
        attributes: the attribute paths of ``database``, ``host`` and ``port`` of a connection.
    """

    def __init__(self, system: str, instrumentation: str, attributes: dict[str, str]) -> None:
        self.system = system
        self._instrumentation = instrumentation
        self._attributes = attributes
        self._tracers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._missing = False

    def run(self, cursor: Any, statement: SafeStatement, call: Call) -> Any:
        """Run a statement inside its span."""
        tracer = self._tracer(cursor)
        if tracer is None:
            return call()

        def counted(*args: Any) -> Any:
            result = call()
            record_rows(trace.get_current_span(), cursor)
            return result

        return tracer.traced_execution(cursor, counted, statement)

    async def run_async(self, cursor: Any, statement: SafeStatement, call: Call) -> Any:
        """Run a statement of a coroutine function inside its span."""
        tracer = self._tracer(cursor)
        if tracer is None:
            return await call()

        async def counted(*args: Any) -> Any:
            result = await call()
            record_rows(trace.get_current_span(), cursor)
            return result

        return await tracer.traced_execution_async(cursor, counted, statement)

    def _tracer(self, cursor: Any) -> Any:
        """Return the tracer of the cursor's connection, or ``None`` without instrumentation."""
        if self._missing:
            return None
        try:
            connection = cursor.connection
            tracer = self._tracers.get(connection)
            if tracer is None:
                tracer = self._tracers[connection] = self._make(connection)
            return tracer
        except ImportError as error:
            self._missing = True
            LOGGER.info("%s: statements are counted but have no spans;"
                        " pip install 'avatar-telemetry[databases]'", error)  # fmt: skip
        except Exception:  # noqa: BLE001 - an unknown kind of connection must not fail
            POLICY.guard.failed("probe_database")
        return None

    def _make(self, connection: Any) -> Any:
        name = f"opentelemetry.instrumentation.{self._instrumentation}"
        package = import_module(name)
        dbapi = import_module("opentelemetry.instrumentation.dbapi")
        integration = dbapi.DatabaseApiIntegration(
            name,
            self.system,
            connection_attributes=self._attributes,
            version=package.__version__,
            tracer_provider=PrivateTracerProvider(lambda text: statement_text(self.system, text)),
        )
        integration.get_connection_attributes(connection)
        return _tracer_class()(integration)


def _tracer_class() -> Any:
    """Return the instrumentation's cursor tracer, for :class:`SafeStatement`."""

    base: Any = guarded_cursor_tracer(lambda: POLICY.guard.failed("probe_span"))

    class Tracer(base):  # type: ignore[misc]
        def get_operation_name(self, cursor: Any, args: tuple[SafeStatement, ...]) -> str:
            # An empty name would be replaced by the database's, which is a path for SQLite.
            operation = args[0].operation
            return self._db_api_integration.database_system if operation == "other" else operation

        def get_statement(self, cursor: Any, args: tuple[SafeStatement, ...]) -> str:
            return args[0].text

    return Tracer
