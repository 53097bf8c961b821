"""What the probes of databases share: one count and one span for a statement, however layers nest.

The hooks are ours and the spans OpenTelemetry's. Its instrumentations of drivers patch ``connect``
and return proxies: connections made before are not seen, DictConnection loses the kind of its rows,
sqlite3's ``backup`` refuses the proxy, ``next(cursor)`` fails, a blank statement raises IndexError.
Here the cursor's own methods are observed, and the instrumentation is asked only where a span is
recorded; elsewhere a statement costs a few look-ups and its count.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar, Token
from time import perf_counter
from types import TracebackType
from typing import Any

from avatar_telemetry.http import sql
from avatar_telemetry.probes.cursor_spans import CursorSpans, Shown, text_of
from avatar_telemetry.probes.patching import Around, Call
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.probes.spans import span_wanted
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

IN_PROGRESS: ContextVar[Any] = ContextVar("avatar_telemetry.statement", default=None)
"""The cursor of the statement that is observed: what else happens on it is part of that one."""

QUERY_NAMES = ("query", "operation", "sql", "sql_script", "procname")
# pieces of a composed statement that are looked into, for its first word
DEEPEST = 8


class Statement:
    """One statement while it runs: ``with`` it, and it is counted.

    Args:
        system: a value of the ``system`` label.
        operation: a value of the ``operation`` label.
        cursor: that runs it.
        request: in progress, if one is.
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
    """Tell the request of a statement that has run. Never raises."""
    if request is not None:
        try:
            request.db_query(system, operation, seconds)
        except Exception:  # noqa: BLE001 - the statement has run; the application goes on
            POLICY.guard.failed("probe_database")


def observed(spans: CursorSpans, operation: str = "") -> Around:
    """What is put around a cursor's method that runs a statement.

    Args:
        spans: of the driver.
        operation: where the method, not its argument, says what is done.
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
                return spans.run(self, _shown(spans, done, self, args, kwargs), call)

        return run

    return around


def observed_async(spans: CursorSpans) -> Around:
    """The same for a coroutine function."""

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
                return await spans.run_async(self, _shown(spans, done, self, args, kwargs), call)

        return run

    return around


def operation_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The operation of what a cursor was called with; ``other`` where that cannot be told."""
    query = _query(args, kwargs)
    try:
        for _ in range(DEEPEST):
            if isinstance(query, str):
                return sql.operation(query)
            if isinstance(query, (bytes, bytearray)):
                return sql.operation(query[: sql.MAX_READ_LENGTH].decode("latin-1"))
            query = _first_piece(query)
    except Exception:  # noqa: BLE001 - the driver will say what it thinks of such a statement
        return "other"
    return "other"


def _first_piece(query: Any) -> Any:
    """Of a composed statement: psycopg2's SQL has a string, Composed a seq, psycopg's an _obj."""
    for name in ("string", "seq", "_obj", "strings"):
        piece = getattr(query, name, None)
        if piece is not None:
            return piece if isinstance(piece, (str, bytes)) else piece[0]
    return ""


def _query(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if args:
        return args[0]
    return next((kwargs[name] for name in QUERY_NAMES if name in kwargs), "")


def _shown(
    spans: CursorSpans, done: str, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Shown:
    try:
        return Shown(done, text_of(_query(args, kwargs), cursor))
    except Exception:  # noqa: BLE001 - the driver will say what it thinks of such a statement
        return Shown(done, done)


def _bind(original: Call, cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    def call(*shown: Any) -> Any:
        return original(cursor, *args, **kwargs)

    return call
