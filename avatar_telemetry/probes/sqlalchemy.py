"""Probe of SQLAlchemy: every statement of every engine, also of earlier engines.

It listens on the class and so observes other drivers and earlier connections, which the probes of
drivers do not. A statement that both observe is counted once, by this probe.
"""

from __future__ import annotations

from contextvars import ContextVar
from importlib import import_module
from time import perf_counter
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace

from avatar_telemetry._base import otel_private
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.http import sql
from avatar_telemetry.probes.cursor_spans import record_rows, statement_text
from avatar_telemetry.probes.database import IN_PROGRESS, count
from avatar_telemetry.probes.patching import MARK, Versions, when_imported
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import PrivateTracerProvider, end, fail, span_wanted
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

SUPPORTED = Versions((1, 4), (2, 2))
INSTRUMENTATION = "opentelemetry.instrumentation.sqlalchemy"


def install() -> None:
    """Listen to all engines."""
    when_imported("sqlalchemy", _patch, SUPPORTED)


def _patch(module: ModuleType) -> None:
    engine: Any = module.engine.Engine
    if not hasattr(engine, MARK):
        setattr(engine, MARK, True)
        module.event.listen(engine, "before_cursor_execute", _before)
        module.event.listen(engine, "after_cursor_execute", _after)
        module.event.listen(engine, "handle_error", _failed)


class _Running:
    """A statement between the two events of its engine."""

    __slots__ = ("cursor", "execution", "operation", "outer", "request", "span", "started",
                 "system")  # fmt: skip

    def __init__(
        self,
        system: str,
        operation: str,
        cursor: Any,
        request: AvatarRequest | None,
        execution: tuple[Any, Any],
    ) -> None:
        self.system = system
        self.operation = operation
        self.cursor = cursor
        self.execution = execution
        self.request = request
        self.span: trace.Span = trace.INVALID_SPAN
        self.outer = (_RUNNING.get(), IN_PROGRESS.get())
        self.started = perf_counter()
        _RUNNING.set(self)
        IN_PROGRESS.set(cursor)

    def finish(self, error: BaseException | None = None) -> None:
        """Record the end of the statement. Never raises."""
        seconds = perf_counter() - self.started
        _RUNNING.set(self.outer[0])
        IN_PROGRESS.set(self.outer[1])
        count(self.request, self.system, self.operation, seconds)
        if error is not None:
            fail(self.span, error)
        else:
            record_rows(self.span, self.cursor)
        end(self.span)


_RUNNING: ContextVar[_Running | None] = ContextVar("avatar_telemetry.engine", default=None)


def _before(conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> None:
    request = CURRENT.get()
    wanted = span_wanted(request)
    if (request is None and not wanted) or IN_PROGRESS.get() is cursor:
        return
    try:
        system = sql.system_label(conn.engine.name)
        operation = sql.operation(statement)
        running = _Running(system, operation, cursor, request, (conn, context))
        if wanted and operation not in sql.FRAMING:
            running.span = ENGINES.start(conn, cursor, statement)
    except Exception:  # noqa: BLE001 - the statement must run
        POLICY.guard.failed("probe_database")


def _after(conn: Any, cursor: Any, statement: Any, params: Any, context: Any, many: Any) -> None:
    running = _RUNNING.get()
    if running is not None and running.cursor is cursor:
        running.finish()


def _failed(context: Any) -> None:
    """Record an error on a connection, where its statement is still running."""
    running = _RUNNING.get()
    execution = (context.connection, context.execution_context)
    if running is not None and running.execution == execution:
        running.finish(context.original_exception)


class _Engines:
    """OpenTelemetry's tracer of each engine, without its listeners."""

    def __init__(self) -> None:
        self._tracers: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        self._missing = False

    def start(self, conn: Any, cursor: Any, statement: Any) -> trace.Span:
        """Start the span of a statement."""
        if self._missing:
            return trace.INVALID_SPAN
        tracer = self._tracers.get(conn.engine)
        if tracer is None:
            try:
                tracer = self._tracers[conn.engine] = _engine_tracer(conn.engine)
            except ImportError as error:
                self._missing = True
                LOGGER.warning("no spans of sqlalchemy: %s", error)
                return trace.INVALID_SPAN
        return otel_private.start_statement(tracer, conn, cursor, statement) or trace.INVALID_SPAN


ENGINES = _Engines()


def _engine_tracer(engine: Any) -> Any:
    system = sql.system_label(engine.name)
    provider = PrivateTracerProvider(lambda text: statement_text(system, text))
    tracer = provider.get_tracer(INSTRUMENTATION, import_module(INSTRUMENTATION).__version__)

    def span_name(statement: Any) -> str:
        # Without the database's name, which is a path for SQLite.
        operation = sql.operation(statement)
        return system if operation == "other" else operation

    return otel_private.engine_tracer(tracer, engine, span_name)
