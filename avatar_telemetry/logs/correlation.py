"""The trace of the request in progress on every log record, whatever handlers and formats do.

A log record factory: no handler, no format and no logger of the application changes. Outside of a
request the fields are there, too, and say nothing, so that a format string that names them never
fails.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    SpanContext,
    format_span_id,
    format_trace_id,
    get_current_span,
)

Factory = Callable[..., logging.LogRecord]

NO_TRACE: Mapping[str, Any] = {"trace_id": "0", "span_id": "0", "trace_sampled": False}
"""Fields of records outside of a trace, as those of OpenTelemetry's own instrumentation do."""
FIELDS = frozenset((*NO_TRACE, "service_name", "service.name"))


class CorrelatedFields(dict[str, Any]):
    """The fields of a record.

    ``Logger.makeRecord`` refuses an ``extra`` with a key that the record has already. An
    application that gives a ``trace_id`` of its own must not fail for ours: it does not find ours,
    and its own takes the place.
    """

    __slots__ = ()

    def __contains__(self, key: object) -> bool:
        return key not in FIELDS and super().__contains__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a record may be sent to a process that does not know us


class CorrelatedFactory:
    """Makes records as the factory before did, and adds what these do not say themselves.

    Args:
        inner: the factory that was set before.
        service_name: of the resource.
    """

    def __init__(self, inner: Factory, service_name: str) -> None:
        self.inner = inner
        self._service = {"service_name": service_name, "service.name": service_name}
        # A request that logs once often logs again.
        self._latest = (INVALID_SPAN_CONTEXT, {**NO_TRACE, **self._service})

    def __call__(self, *args: Any, **options: Any) -> logging.LogRecord:
        record = self.inner(*args, **options)
        try:
            context = get_current_span().get_span_context()
            latest = self._latest
            if latest[0] is not context:
                latest = self._latest = (context, {**_trace(context), **self._service})
            known = record.__dict__
            if type(known) is not CorrelatedFields:  # else the inner factory calls one of ours
                fields = CorrelatedFields(latest[1])
                fields.update(known)
                record.__dict__ = fields
        except Exception:  # noqa: BLE001 - a record without a trace is better than none
            return record
        return record


def install_correlation(service_name: str) -> None:
    """Put our factory around the one that is set, or give the one of ours that is set a name.

    Args:
        service_name: of the resource.
    """
    current = logging.getLogRecordFactory()
    inner = current.inner if isinstance(current, CorrelatedFactory) else current
    logging.setLogRecordFactory(CorrelatedFactory(inner, service_name))


def _trace(context: SpanContext) -> Mapping[str, Any]:
    if not context.is_valid:
        return NO_TRACE
    return {
        "trace_id": format_trace_id(context.trace_id),
        "span_id": format_span_id(context.span_id),
        "trace_sampled": context.trace_flags.sampled,
    }
