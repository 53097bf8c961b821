"""The trace context that a caller sends, and how far it is trusted.

``AVATAR_TELEMETRY_TRUST_INCOMING``: ``continue`` goes on with the caller's trace, ``link`` begins a
trace of our own that points to it, ``ignore`` does not look. A caller who is not trusted decides
neither which trace we are in, nor whether it is recorded, nor what baggage we carry on.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.instrumentation.wsgi import wsgi_getter
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import SpanContext

from avatar_telemetry.log import debug

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.settings import TrustIncoming

EMPTY = context_api.Context()


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
        for header in self._headers:
            if header in environ:
                return self._extract(environ, current)
        return Caller(None, None, current) if current else NOBODY

    def _extract(self, environ: WSGIEnvironment, current: context_api.Context) -> Caller:
        try:
            context = self._propagator.extract(environ, current, wsgi_getter)
        except Exception:  # noqa: BLE001 - a propagator of anybody's, and what a client sends
            debug("a propagator cannot read the headers of a request")
            return Caller(None, None, current)
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
    return CompositePropagator([point.load()() for point in points])
