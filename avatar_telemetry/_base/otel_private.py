"""Private names of OpenTelemetry, in one module because any release may rename them.

OpenTelemetry is imported at the first use of a name: a process that exports nothing does not need
the SDK. ``PATHS`` lists every name, so that a test can report a missing one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import _Gauge
    from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
    from opentelemetry.trace import Span as ApiSpan
    from opentelemetry.trace import Tracer

    Gauge = _Gauge

_SDK = "opentelemetry.sdk"
_PYMEMCACHE = "opentelemetry.instrumentation.pymemcache"
_ENGINE = "opentelemetry.instrumentation.sqlalchemy.engine:EngineTracer"

_GAUGE = "opentelemetry.metrics:_Gauge"
PATHS = (
    _GAUGE,
    "opentelemetry.context:_RUNTIME_CONTEXT",
    "opentelemetry.context.contextvars_context:ContextVarsRuntimeContext",
    "opentelemetry.trace.propagation:_SPAN_KEY",
    f"{_SDK}.trace:SpanProcessor._on_ending",
    "opentelemetry.instrumentation.dbapi:CursorTracer._populate_span",
    f"{_ENGINE}._before_cur_exec",
    f"{_ENGINE}._operation_name",
    f"{_ENGINE}._register_event_listener",
    f"{_PYMEMCACHE}:_OpenTelemetrySemanticConventionStability._initialize",
    f"{_PYMEMCACHE}:_OpenTelemetrySemanticConventionStability"
    "._get_opentelemetry_stability_opt_in_mode",
    f"{_PYMEMCACHE}:_OpenTelemetryStabilitySignalType.DATABASE",
    f"{_PYMEMCACHE}:_wrap_cmd",
)
"""``module:attribute`` of each private class, function and method that is used here."""


def __getattr__(name: str) -> Any:
    if name != "Gauge":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return look_up(_GAUGE)


def look_up(path: str) -> Any:
    """Import the object that a ``module:attribute`` path names.

    Raises:
        ImportError: the module is not installed.
        AttributeError: the module has no such attribute.
    """
    module, _, attributes = path.partition(":")
    found: Any = import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


def context_variable() -> ContextVar[Context]:
    """Return the variable with the current context of OpenTelemetry.

    Setting it costs half as much as ``attach`` and ``detach``. If ``OTEL_PYTHON_CONTEXT`` selects
    another implementation of the context, the result calls that implementation.
    """
    runtime = look_up("opentelemetry.context:_RUNTIME_CONTEXT")
    base = look_up("opentelemetry.context.contextvars_context:ContextVarsRuntimeContext")
    if type(runtime) is base:
        variable: ContextVar[Context] = runtime._current_context
        return variable
    calls = {"get": runtime.get_current, "set": runtime.attach, "reset": runtime.detach}
    return cast("ContextVar[Context]", SimpleNamespace(**calls))


def span_key() -> str:
    """Return the key of the current span in a context."""
    return str(look_up("opentelemetry.trace.propagation:_SPAN_KEY"))


def active_processor(provider: TracerProvider) -> Any:
    """Return the span processor that passes spans to all processors of a provider."""
    return provider._active_span_processor


def on_ending(processor: SpanProcessor, span: Span) -> None:
    """Notify a processor that a span is about to end, while the span can still be changed."""
    processor._on_ending(span)


def pymemcache_wrapper(tracer: Tracer, operation: str) -> Any:
    """Return the instrumentation's wrapper of a pymemcache command.

    Args:
        tracer: the tracer that starts the span.
        operation: the name of the command.
    """
    theirs = import_module(_PYMEMCACHE)
    stability = theirs._OpenTelemetrySemanticConventionStability
    stability._initialize()
    mode = stability._get_opentelemetry_stability_opt_in_mode(
        theirs._OpenTelemetryStabilitySignalType.DATABASE
    )
    return theirs._wrap_cmd(tracer, operation, mode)


def guarded_cursor_tracer(failed: Callable[[], None]) -> Any:
    """Return a subclass of the DB-API instrumentation's cursor tracer that raises no error into a
    statement.

    Args:
        failed: a function that is called in the ``except`` block if a span cannot be filled.
    """
    base: Any = look_up("opentelemetry.instrumentation.dbapi:CursorTracer")

    class CursorTracer(base):  # type: ignore[misc]
        def _populate_span(self, *args: Any, **kwargs: Any) -> None:
            try:
                super()._populate_span(*args, **kwargs)
            except Exception:  # noqa: BLE001 - the statement must still run
                failed()

    return CursorTracer


def engine_tracer(tracer: Tracer, engine: Any, operation_name: Callable[[Any], str]) -> Any:
    """Return the SQLAlchemy instrumentation's tracer of an engine, without its listeners.

    Args:
        tracer: the tracer that starts the spans.
        engine: the engine that is traced.
        operation_name: a function that returns the name of a span for a statement.
    """
    base: Any = look_up(_ENGINE)

    class EngineTracer(base):  # type: ignore[misc]
        @classmethod
        def _register_event_listener(cls, *args: Any, **kwargs: Any) -> None:
            """Register nothing: one listener on the class sees all engines."""

        def _operation_name(self, db_name: str | None, statement: Any) -> str:
            return operation_name(statement)

    return EngineTracer(tracer, engine, None)


def start_statement(tracer: Any, conn: Any, cursor: Any, statement: Any) -> ApiSpan | None:
    """Start the span of a statement with an engine's tracer; ``None`` if it started none.

    Args:
        tracer: the result of :func:`engine_tracer`.
        conn: the connection that runs the statement.
        cursor: the cursor that runs the statement.
        statement: the text of the statement.
    """
    holder = SimpleNamespace()
    tracer._before_cur_exec(conn, cursor, statement, None, holder, False)
    return getattr(holder, "_otel_span", None)
