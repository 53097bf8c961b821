"""The common part of the database probes: one count and one span per statement, however nested.

The hooks are ours, the spans OpenTelemetry's. Its instrumentations of drivers patch ``connect`` and
return proxies: earlier connections are not observed, DictConnection loses the type of its rows,
sqlite3's ``backup`` refuses the proxy, ``next(cursor)`` fails, a blank statement raises IndexError.
Here the methods of the cursor are patched, and the instrumentation is called only where a span is
recorded; elsewhere a statement costs a few lookups and its count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import Any

from avatar_telemetry.http import sql
from avatar_telemetry.probes.cursor_spans import CursorSpans, SafeStatement, text_of
from avatar_telemetry.probes.patching import Around, Call
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import span_wanted
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

IN_PROGRESS: ContextVar[Any] = ContextVar("avatar_telemetry.statement", default=None)
"""The cursor of the statement in progress: further calls on it are part of that statement."""

QUERY_NAMES = ("query", "operation", "sql", "sql_script", "procname")
MAX_DEPTH = 8
"""Levels of a composed statement that are searched for its first word."""


class Statement:
    """A context manager that counts one statement.

    Args:
        system: the value of the ``system`` label.
        operation: the value of the ``operation`` label.
        cursor: the cursor that runs it.
        request: the request in progress, or ``None``.
    """

    __slots__ = ("_cursor", "_operation", "_request", "_started", "_system", "_token")

    def __init__(
        self, system: str, operation: str, cursor: Any, request: AvatarRequest | None
    ) -> None:
        self._system = system
        self._operation = operation
        self._cursor = cursor
        self._request = request

    def __enter__(self) -> None:
        self._token: Token[Any] = IN_PROGRESS.set(self._cursor)
        self._started = perf_counter()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        seconds = perf_counter() - self._started
        IN_PROGRESS.reset(self._token)
        count(self._request, self._system, self._operation, seconds)


def count(request: AvatarRequest | None, system: str, operation: str, seconds: float) -> None:
    """Report a statement that has run to the request. Never raises."""
    if request is not None:
        try:
            request.db_query(system, operation, seconds)
        except Exception:  # noqa: BLE001 - the statement has run, and must not fail
            POLICY.guard.failed("probe_database")


def observed(spans: CursorSpans, operation: str = "") -> Around:
    """Return the wrapper of a cursor's method that runs a statement.

    Args:
        spans: the spans of the driver.
        operation: the operation, where it depends on the method and not on its argument.
    """

    def around(original: Call) -> Call:
        def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            wanted = span_wanted(request)
            if (request is None and not wanted) or IN_PROGRESS.get() is self:
                return original(self, *args, **kwargs)
            done = operation or operation_of(args, kwargs)
            with Statement(spans.system, done, self, request):
                if not wanted or done in sql.FRAMING:
                    return original(self, *args, **kwargs)
                call = _bind(original, self, args, kwargs)
                return spans.run(self, _safe_statement(spans, done, self, args, kwargs), call)

        return run

    return around


def observed_async(spans: CursorSpans) -> Around:
    """Return the wrapper of a cursor's coroutine method that runs a statement."""

    def around(original: Callable[..., Awaitable[Any]]) -> Call:
        async def run(self: Any, *args: Any, **kwargs: Any) -> Any:
            request = CURRENT.get()
            wanted = span_wanted(request)
            if (request is None and not wanted) or IN_PROGRESS.get() is self:
                return await original(self, *args, **kwargs)
            done = operation_of(args, kwargs)
            with Statement(spans.system, done, self, request):
                if not wanted or done in sql.FRAMING:
                    return await original(self, *args, **kwargs)
                call = _bind(original, self, args, kwargs)
                return await spans.run_async(
                    self, _safe_statement(spans, done, self, args, kwargs), call
                )

        return run

    return around


def operation_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return the operation of the arguments of a cursor's method, ``other`` where unknown."""
    query = _query(args, kwargs)
    try:
        for _ in range(MAX_DEPTH):
            if isinstance(query, str):
                return sql.operation(query)
            if isinstance(query, (bytes, bytearray)):
                return sql.operation(query[: sql.MAX_READ_LENGTH].decode("latin-1"))
            query = _first_piece(query)
    except Exception:  # noqa: BLE001 - the driver reports an invalid statement
        return "other"
    return "other"


def _first_piece(query: Any) -> Any:
    """Return the first piece: psycopg2's SQL has a string, Composed a seq, psycopg's an _obj."""
    for name in ("string", "seq", "_obj", "strings"):
        piece = getattr(query, name, None)
        if piece is not None:
            return piece if isinstance(piece, (str, bytes)) else piece[0]
    return ""


def _query(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        return args[0]
    return next((kwargs[name] for name in QUERY_NAMES if name in kwargs), "")


def _safe_statement(
    spans: CursorSpans, done: str, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> SafeStatement:
    try:
        return SafeStatement(done, text_of(_query(args, kwargs), cursor))
    except Exception:  # noqa: BLE001 - the driver reports an invalid statement
        return SafeStatement(done, done)


def _bind(original: Call, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    def call(*statement: Any) -> Any:
        return original(cursor, *args, **kwargs)

    return call
