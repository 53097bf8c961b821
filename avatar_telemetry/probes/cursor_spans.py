"""Spans of statements, by OpenTelemetry's instrumentation of the driver that runs them.

It is imported when the first span is wanted, so that a process which records none has none of it.
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

# MySQL's drivers say "as many as there may be" before they have read the rows.
MAX_ROWS = 1 << 62
RETURNED_ROWS = "db.response.returned_rows"
AFFECTED_ROWS = "ivatar.db.rows_affected"


class Shown(NamedTuple):
    """What an instrumentation is given in place of the statement."""

    operation: str
    text: str


def statement_text(system: str, text: str) -> str:
    """What the privacy mode lets be told of a statement; empty for nothing."""
    if POLICY.privacy == "off":
        return text
    if POLICY.privacy == "strict":
        return ""
    return sql.without_literals(text, system)


def text_of(query: Any, cursor: Any) -> str:
    """The text of whatever a driver takes for a statement."""
    if isinstance(query, str):
        return query
    if isinstance(query, (bytes, bytearray)):
        return query.decode("utf-8", "replace")
    return str(query.as_string(cursor))


def note_rows(span: trace.Span, cursor: Any) -> None:
    """Put the number of rows on a span, where the driver knows it. Never raises."""
    try:
        rows = cursor.rowcount
        if isinstance(rows, int) and 0 <= rows < MAX_ROWS:
            key = AFFECTED_ROWS if cursor.description is None else RETURNED_ROWS
            span.set_attribute(key, rows)
    except Exception:  # noqa: BLE001 - a cursor that its own method has closed
        return


class CursorSpans:
    """The spans of one driver.

    Args:
        system: a value of the ``system`` label.
        instrumentation: name of OpenTelemetry's package, without its prefix.
        attributes: where a connection has its ``database``, ``host`` and ``port``.
    """

    def __init__(self, system: str, instrumentation: str, attributes: dict[str, str]) -> None:
        self.system = system
        self._instrumentation = instrumentation
        self._attributes = attributes
        self._tracers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._missing = False

    def run(self, cursor: Any, shown: Shown, call: Call) -> Any:
        """Run a statement inside its span."""
        tracer = self._tracer(cursor)
        if tracer is None:
            return call()

        def counted(*args: Any) -> Any:
            result = call()
            note_rows(trace.get_current_span(), cursor)
            return result

        return tracer.traced_execution(cursor, counted, shown)

    async def run_async(self, cursor: Any, shown: Shown, call: Call) -> Any:
        """The same for a coroutine function."""
        tracer = self._tracer(cursor)
        if tracer is None:
            return await call()

        async def counted(*args: Any) -> Any:
            result = await call()
            note_rows(trace.get_current_span(), cursor)
            return result

        return await tracer.traced_execution_async(cursor, counted, shown)

    def _tracer(self, cursor: Any) -> Any:
        """The tracer of this cursor's connection, ``None`` where there is no instrumentation."""
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
            LOGGER.info("%s; statements get no spans, but are counted: the extra databases has it",
                        error)  # fmt: skip
        except Exception:  # noqa: BLE001 - a connection of another kind; the statement runs
            POLICY.guard.failed("probe_database")
        return None

    def _make(self, connection: Any) -> Any:
        name = f"opentelemetry.instrumentation.{self._instrumentation}"
        theirs = import_module(name)
        dbapi = import_module("opentelemetry.instrumentation.dbapi")
        integration = dbapi.DatabaseApiIntegration(
            name,
            self.system,
            connection_attributes=self._attributes,
            version=theirs.__version__,
            tracer_provider=PrivateTracerProvider(lambda text: statement_text(self.system, text)),
        )
        integration.get_connection_attributes(connection)
        return _tracer_class()(integration)


def _tracer_class() -> Any:
    """The instrumentation's tracer of cursors, which is given what is shown, not the statement."""

    base: Any = guarded_cursor_tracer(lambda: POLICY.guard.failed("probe_span"))

    class Tracer(base):  # type: ignore[misc]
        def get_operation_name(self, cursor: Any, args: tuple[Shown, ...]) -> str:
            # Not empty, which would give the name of the database: that of SQLite is a path.
            operation = args[0].operation
            return self._db_api_integration.database_system if operation == "other" else operation

        def get_statement(self, cursor: Any, args: tuple[Shown, ...]) -> str:
            return args[0].text

    return Tracer
