"""Read the trace context of a caller, as far as callers are trusted.

``AVATAR_TELEMETRY_TRUST_INCOMING``: ``continue`` continues the caller's trace, ``link`` starts a
new trace with a link to it, ``ignore`` does not read it. An untrusted caller controls neither the
trace id, nor the sampling, nor the propagated baggage.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from functools import lru_cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, TextMapPropagator
from opentelemetry.trace import SpanContext

from avatar_telemetry._base.log import debug
from avatar_telemetry._base.otel_private import context_variable

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from avatar_telemetry.config.settings import TrustIncoming

EMPTY = context_api.Context()
# The API's parsers log a warning with each malformed part of a header: one request could write
# hundreds of lines, or text of its choice, to a log.
PARSERS = (
    "opentelemetry.baggage", "opentelemetry.baggage.propagation", "opentelemetry.trace.span",
    "opentelemetry.trace.propagation.tracecontext", "opentelemetry.util.re",
)  # fmt: skip
# They split at "[ \t]*,[ \t]*", which takes quadratic time for a run of blanks: 0.1 s for the
# maximum length of a header.
_BLANKS = re.compile(r"[ \t]{16}")
BAGGAGE = "baggage"
MAX_BAGGAGE = 8192
"""Bytes of baggage (W3C Baggage, section 3.3.2)."""
MAX_MEMBERS = 180
MAX_HEADER = 512
"""Characters of any other header: the part of a tracestate that must be propagated (W3C Trace
Context, section 3.3.1.5); the others are shorter."""
_READING: ContextVar[bool] = ContextVar("avatar_telemetry.incoming", default=False)
"""Set while a caller's headers are parsed."""


class _HeaderLogFilter(logging.Filter):
    """A filter that drops records about a caller's headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _READING.get():
            return True
        debug("a header of a caller is malformed (%s)", record.name)
        return False


_HEADER_LOG_FILTER = _HeaderLogFilter()
"""One object, so that a logger has it only once."""


class Caller(NamedTuple):
    """The trace context of the caller of a request.

    Args:
        parent: the parent of the server span, if any.
        link: the link of the server span, if any.
        context: the context for the server span, with the baggage.
    """

    parent: SpanContext | None = None
    link: SpanContext | None = None
    context: context_api.Context = EMPTY


NO_CALLER = Caller()


class _BoundedGetter(Getter[Mapping[str, Any]]):
    """The headers that a propagator can parse at a bounded cost. All others are absent.

    A propagator creates a log record for each malformed member of a header, before the filter.

    Args:
        withheld: the names of other absent headers.
    """

    def __init__(self, withheld: Collection[str] = ()) -> None:
        self._withheld = withheld

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """Return the values of a header, which WSGI joins to one."""
        name = key.lower()
        value = None if name in self._withheld else carrier.get(_environ_key(name))
        return [value] if value is not None and _is_bounded(name, value) else None

    def keys(self, carrier: Mapping[str, Any]) -> list[str]:
        """Return the names of all headers."""
        return [key[5:].lower().replace("_", "-") for key in carrier if key.startswith("HTTP_")]


def _environ_key(name: str) -> str:
    return "HTTP_" + name.upper().replace("-", "_")


def _is_bounded(name: str, value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= (MAX_BAGGAGE if name == BAGGAGE else MAX_HEADER)
        and value.isascii()
        and value.count(",") < MAX_MEMBERS
        and not _BLANKS.search(value)
    )


class Incoming:
    """A reader of the trace context of requests.

    Args:
        propagator: the propagator that parses the headers.
        trust: the trust in callers: ``continue``, ``link`` or ``ignore``.
    """

    def __init__(self, propagator: TextMapPropagator, trust: TrustIncoming) -> None:
        withheld = () if trust == "continue" else (BAGGAGE,)
        self._getter = _BoundedGetter(withheld)
        self._propagator = propagator
        self._trust = trust
        self._current = context_variable().get
        self._headers = tuple(
            _environ_key(field)
            for field in sorted(propagator.fields)
            if trust != "ignore" and field.lower() not in withheld
        )

    def caller(self, environ: WSGIEnvironment) -> Caller:
        """Return the trace context of a request. Malformed headers are ignored.

        A current span, such as that of an outer middleware, takes precedence over the headers.
        """
        current = self._current()
        if current:
            span = trace_api.get_current_span(current).get_span_context()
            if span.is_valid:
                return Caller(span, None, current)
        if not environ.keys().isdisjoint(self._headers):
            return self._extract(environ, current)
        return Caller(None, None, current) if current else NO_CALLER

    def _extract(self, environ: WSGIEnvironment, current: context_api.Context) -> Caller:
        token = _READING.set(True)
        try:
            context = self._propagator.extract(environ, current, self._getter)
        except Exception:  # noqa: BLE001 - any propagator with any client data
            debug("a propagator cannot read the headers of a request")
            return Caller(None, None, current)
        finally:
            _READING.reset(token)
        remote = trace_api.get_current_span(context).get_span_context()
        valid = remote if remote.is_valid else None
        if self._trust == "link":
            return Caller(None, _without_tracestate(valid) if valid else None, current)
        return Caller(valid, None, context)


def _without_tracestate(remote: SpanContext) -> SpanContext:
    """Remove the caller's tracestate, which only a continued trace needs."""
    return SpanContext(remote.trace_id, remote.span_id, True, remote.trace_flags)


def make_propagator(names: Sequence[str]) -> TextMapPropagator:
    """Return one propagator for those of ``OTEL_PROPAGATORS``.

    Args:
        names: the names of installed propagators, or ``none`` alone.
    """
    propagators = [_propagator_class(name)() for name in names if name != "none"]
    for name in (*PARSERS, *(type(each).__module__ for each in propagators)):
        logging.getLogger(name).addFilter(_HEADER_LOG_FILTER)
    return CompositePropagator(propagators)


@lru_cache(maxsize=8)  # the lookup reads the metadata of every installed distribution
def _propagator_class(name: str) -> Callable[[], TextMapPropagator]:
    point = next(iter(entry_points(group="opentelemetry_propagator", name=name)))
    factory: Callable[[], TextMapPropagator] = point.load()
    return factory
