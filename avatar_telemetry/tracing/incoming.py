"""The trace context that a caller sends, and how far it is trusted.

``AVATAR_TELEMETRY_TRUST_INCOMING``: ``continue`` goes on with the caller's trace, ``link`` begins a
trace of our own that points to it, ``ignore`` does not look. A caller who is not trusted decides
neither which trace we are in, nor whether it is recorded, nor what baggage we carry on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from contextvars import ContextVar
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import SpanContext

from avatar_telemetry.log import debug

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.config.settings import TrustIncoming

EMPTY = context_api.Context()
# The API's parsers log each malformed part of a header with a warning that holds it: one request
# could fill a log with hundreds of lines, or with whatever somebody wants to stand there.
PARSERS = (
    "opentelemetry.baggage", "opentelemetry.baggage.propagation", "opentelemetry.trace.span",
    "opentelemetry.trace.propagation.tracecontext", "opentelemetry.util.re",
)  # fmt: skip
# They split at "[ \t]*,[ \t]*", which takes time as the square of a run of blanks: a tenth of a
# second for what fits into one header.
_BLANKS = re.compile(r"[ \t]{16}")
_READING: ContextVar[bool] = ContextVar("avatar_telemetry.incoming", default=False)
"""Set while a caller's headers are parsed."""


class _Discretion(logging.Filter):
    """Lets nothing pass that is logged of a caller's headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _READING.get():
            return True
        debug("a header of a caller is malformed, says %s", record.name)
        return False


_DISCRETION = _Discretion()
"""One, so that a logger has it once however often it is added."""


class Caller(NamedTuple):
    """What a request says of where it comes from.

    Args:
        parent: the span to go on under, if any.
        link: the span to point to, if any.
        context: with the baggage, to put our span into.
    """

    parent: SpanContext | None = None
    link: SpanContext | None = None
    context: context_api.Context = EMPTY


NOBODY = Caller()


class Incoming:
    """Reads the trace context of requests.

    Args:
        propagator: that knows the headers.
        trust: how far a caller is trusted.
    """

    def __init__(self, propagator: TextMapPropagator, trust: TrustIncoming) -> None:
        # Not at the top: it reads OTEL_PROPAGATORS at its import, and raises where we would tell.
        from opentelemetry.instrumentation.wsgi import wsgi_getter

        self._getter = wsgi_getter
        self._propagator = propagator
        self._trust = trust
        self._headers = tuple(
            "HTTP_" + field.upper().replace("-", "_")
            for field in sorted(propagator.fields)
            if trust != "ignore"
        )

    def caller(self, environ: WSGIEnvironment) -> Caller:
        """Who sent a request. Malformed headers count as none.

        A span that is current already, such as that of an outer middleware, stands before what the
        headers say.
        """
        current = context_api.get_current()
        if current:
            span = trace_api.get_current_span(current).get_span_context()
            if span.is_valid:
                return Caller(span, None, current)
        sent = [environ[header] for header in self._headers if header in environ]
        if sent and not any(map(_BLANKS.search, sent)):
            return self._extract(environ, current)
        return Caller(None, None, current) if current else NOBODY

    def _extract(self, environ: WSGIEnvironment, current: context_api.Context) -> Caller:
        token = _READING.set(True)
        try:
            context = self._propagator.extract(environ, current, self._getter)
        except Exception:  # noqa: BLE001 - a propagator of anybody's, and what a client sends
            debug("a propagator cannot read the headers of a request")
            return Caller(None, None, current)
        finally:
            _READING.reset(token)
        remote = trace_api.get_current_span(context).get_span_context()
        valid = remote if remote.is_valid else None
        if self._trust == "link":
            return Caller(None, valid, current)
        return Caller(valid, None, context)


def make_propagator(names: Sequence[str]) -> TextMapPropagator:
    """The propagators of ``OTEL_PROPAGATORS`` as one.

    Args:
        names: of installed propagators, or ``none`` alone.
    """
    wanted = [name for name in names if name != "none"]
    points = [next(iter(entry_points(group="opentelemetry_propagator", name=n))) for n in wanted]
    propagators = [point.load()() for point in points]
    for name in (*PARSERS, *(type(each).__module__ for each in propagators)):
        logging.getLogger(name).addFilter(_DISCRETION)
    return CompositePropagator(propagators)
