"""Spans of OpenTelemetry's instrumentations, without private data.

The instrumentations get the :class:`PrivateTracerProvider` in place of the global one. It removes
data that may identify a person: statements are filtered by a function; database users, messages of
exceptions (they quote values) and events are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.util import types

from avatar_telemetry.http.privacy import error_type
from avatar_telemetry.probes.policy import POLICY
from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest

Text = Callable[[str], str]

STATEMENTS = ("db.statement", "db.query.text")
WITHHELD = ("db.user",)
LOCATIONS = ("db.name", "db.namespace", "net.peer.name", "server.address")
"""Attributes that hold a file path where the database is a file or a unix socket."""


def span_wanted(request: AvatarRequest | None) -> bool:
    """Return whether a new span would be recorded.

    Args:
        request: the request in progress, or ``None``.
    """
    if getattr(request, "tracer", None) is not None:
        return True
    return trace.get_current_span().is_recording()


def fail(span: Span, error: BaseException) -> None:
    """Mark a span as failed: ``error.type``, and the message only in privacy mode ``off``.

    Never raises.
    """
    try:
        message = str(error) if POLICY.privacy == "off" else None
        span.set_status(Status(StatusCode.ERROR, message))
        span.set_attribute("error.type", error_type(error))
    except Exception:  # noqa: BLE001 - str() of an exception may raise
        POLICY.guard.failed("probe_span")


class PrivateSpan(Span):
    """A span without private data, for an instrumentation.

    Args:
        span: the recorded span.
        statement: a function that returns the permitted text of a statement, which may be empty.
    """

    def __init__(self, span: Span, statement: Text) -> None:
        self._span = span
        self._statement = statement

    def set_attribute(self, key: str, value: types.AttributeValue) -> None:
        if key in STATEMENTS:
            value = self._statement(str(value))
            if not value:
                return
        if key in WITHHELD or (key in LOCATIONS and _is_path(value)):
            return
        if value is not None:
            self._span.set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, types.AttributeValue]) -> None:
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        code = status if isinstance(status, StatusCode) else status.status_code
        if POLICY.privacy == "off":
            self._span.set_status(status, description)
        else:
            self._span.set_status(Status(code))

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        fail(self._span, exception)

    def add_event(
        self, name: str, attributes: types.Attributes = None, timestamp: int | None = None
    ) -> None:
        """Drop the event: events of instrumentations have messages of exceptions."""

    def end(self, end_time: int | None = None) -> None:
        self._span.end(end_time)

    def get_span_context(self) -> SpanContext:
        return self._span.get_span_context()

    def update_name(self, name: str) -> None:
        self._span.update_name(name)

    def is_recording(self) -> bool:
        return self._span.is_recording()


class PrivateTracer(trace.Tracer):
    """A tracer that makes a span only where it is recorded.

    Args:
        tracer: the tracer of the global provider.
        statement: see :class:`PrivateSpan`.
        prefix: the prefix of each span name.
    """

    def __init__(self, tracer: trace.Tracer, statement: Text, prefix: str = "") -> None:
        self._tracer = tracer
        self._statement = statement
        self._prefix = prefix

    def start_span(self, name: str, *args: Any, **kwargs: Any) -> Span:
        try:
            if span_wanted(CURRENT.get()):
                span = self._tracer.start_span(self._prefix + name, *args, **kwargs)
                return PrivateSpan(span, self._statement)
        except Exception:  # noqa: BLE001 - a sampler or processor of the application may raise
            POLICY.guard.failed("probe_span")
        return trace.INVALID_SPAN

    @contextmanager
    def start_as_current_span(  # type: ignore[override]
        self,
        name: str,
        context: Any = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: types.Attributes = None,
        *args: Any,
        **kwargs: Any,
    ) -> Iterator[Span]:
        span = self.start_span(name, context, kind)
        if span is trace.INVALID_SPAN:
            yield span
            return
        span.set_attributes(attributes or {})
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield span
            except BaseException as error:
                span.record_exception(error)
                raise
            finally:
                end(span)


def _is_path(value: types.AttributeValue) -> bool:
    return isinstance(value, str) and not {"/", "\\"}.isdisjoint(value)


def end(span: Span) -> None:
    """End a span. Never raises."""
    try:
        span.end()
    except Exception:  # noqa: BLE001 - a processor of the application may raise
        POLICY.guard.failed("probe_span")


class PrivateTracerProvider(trace.TracerProvider):
    """A provider of private tracers, on top of the global provider.

    Args:
        statement: see :class:`PrivateSpan`.
        prefix: the prefix of each span name.
    """

    def __init__(self, statement: Text, prefix: str = "") -> None:
        self._statement = statement
        self._prefix = prefix

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: types.Attributes = None,
    ) -> trace.Tracer:
        tracer = trace.get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url=schema_url
        )
        return PrivateTracer(tracer, self._statement, self._prefix)
