"""Add the trace of the request in progress to every log record.

This is a log record factory, so that no handler, format or logger of the application changes.
Records outside of a request have default values, so that a format with the fields never fails.
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
"""The fields of records outside of a trace, as in OpenTelemetry's instrumentation."""
FIELDS = frozenset((*NO_TRACE, "service_name", "service.name"))


class CorrelatedFields(dict[str, Any]):
    """The fields of a record, of which the added ones can be overridden.

    ``Logger.makeRecord`` refuses an ``extra`` with a key that the record already has. An
    application that passes its own ``trace_id`` must not fail, so ``in`` does not find the added
    fields.
    """

    __slots__ = ()

    def __contains__(self, key: object) -> bool:
        return key not in FIELDS and super().__contains__(key)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a record may be sent to a process without this package


class CorrelatedFactory:
    """A log record factory that adds the trace and the service to records of another factory.

    Args:
        inner: the other factory.
        service_name: the name of the service.
    """

    def __init__(self, inner: Factory, service_name: str) -> None:
        self.inner = inner
        self._service = {"service_name": service_name, "service.name": service_name}
        # A request often logs more than once.
        self._latest = (INVALID_SPAN_CONTEXT, {**NO_TRACE, **self._service})

    def __call__(self, *args: Any, **options: Any) -> logging.LogRecord:
        record = self.inner(*args, **options)
        try:
            context = get_current_span().get_span_context()
            latest = self._latest
            if latest[0] is not context:
                latest = self._latest = (context, {**_trace(context), **self._service})
            known = record.__dict__
            if type(known) is not CorrelatedFields:  # else the inner factory calls this one
                fields = CorrelatedFields(latest[1])
                fields.update(known)
                record.__dict__ = fields
        except Exception:  # noqa: BLE001 - a record without a trace is better than none
            return record
        return record


def install_correlation(service_name: str) -> None:
    """Wrap the current log record factory, or update the service if it is wrapped already.

    Args:
        service_name: the name of the service.
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
