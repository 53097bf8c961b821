"""Read the trace context that a caller sends, as far as it is trusted.

``AVATAR_TELEMETRY_TRUST_INCOMING``: ``continue`` goes on with the caller's trace, ``link`` begins a
trace of our own that points to it, ``ignore`` does not look. A caller who is not trusted decides
neither which trace we are in, nor whether it is recorded, nor what baggage we carry on.
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
# The API's parsers log each malformed part of a header with a warning that holds it: one request
# could fill a log with hundreds of lines, or with whatever somebody wants to stand there.
PARSERS = (
    "opentelemetry.baggage", "opentelemetry.baggage.propagation", "opentelemetry.trace.span",
    "opentelemetry.trace.propagation.tracecontext", "opentelemetry.util.re",
)  # fmt: skip
# They split at "[ \t]*,[ \t]*", which takes time as the square of a run of blanks: a tenth of a
# second for what fits into one header.
_BLANKS = re.compile(r"[ \t]{16}")
BAGGAGE = "baggage"
MAX_BAGGAGE = 8192
"""Bytes of baggage (W3C Baggage, section 3.3.2)."""
MAX_MEMBERS = 180
MAX_HEADER = 512
"""Characters of any other header: as much of a tracestate as has to be propagated (W3C Trace
Context, section 3.3.1.5), and more than any other of these headers needs."""
_READING: ContextVar[bool] = ContextVar("avatar_telemetry.incoming", default=False)
"""Set while a caller's headers are parsed."""


class _Discretion(logging.Filter):
    """Lets nothing pass that is logged of a caller's headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not _READING.get():
            return True
        debug("a header of a caller is malformed (%s)", record.name)
        return False


_DISCRETION = _Discretion()
"""One, so that a logger has it once however often it is added."""


class Caller(NamedTuple):
    """The trace context of the caller of a request.

    Args:
        parent: the span to go on under, if any.
        link: the span to point to, if any.
        context: with the baggage, to put our span into.
    """

    parent: SpanContext | None = None
    link: SpanContext | None = None
    context: context_api.Context = EMPTY


NOBODY = Caller()


class _BoundedGetter(Getter[Mapping[str, Any]]):
    """Gives a propagator the headers that can be parsed at a bounded cost; all others are absent.

    A propagator builds a log record for each malformed member of a header, before it is filtered.

    Args:
        withheld: names of headers that are absent.
    """

    def __init__(self, withheld: Collection[str] = ()) -> None:
        self._withheld = withheld

    def get(self, carrier: Mapping[str, Any], key: str) -> list[str] | None:
        """Return the values of a header; WSGI has joined several into one."""
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
    """Reads the trace context of requests.

    Args:
        propagator: that knows the headers.
        trust: how far a caller is trusted.
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
        """Return the trace context of a request. Malformed headers count as none.

        A span that is current already, such as that of an outer middleware, takes precedence over
        the headers.
        """
        current = self._current()
        if current:
            span = trace_api.get_current_span(current).get_span_context()
            if span.is_valid:
                return Caller(span, None, current)
        if not environ.keys().isdisjoint(self._headers):
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
            return Caller(None, _bare(valid) if valid else None, current)
        return Caller(valid, None, context)


def _bare(remote: SpanContext) -> SpanContext:
    """The identity without the caller's tracestate, which concerns only those who go on with it."""
    return SpanContext(remote.trace_id, remote.span_id, True, remote.trace_flags)


def make_propagator(names: Sequence[str]) -> TextMapPropagator:
    """The propagators of ``OTEL_PROPAGATORS`` as one.

    Args:
        names: of installed propagators, or ``none`` alone.
    """
    propagators = [_propagator_class(name)() for name in names if name != "none"]
    for name in (*PARSERS, *(type(each).__module__ for each in propagators)):
        logging.getLogger(name).addFilter(_DISCRETION)
    return CompositePropagator(propagators)


@lru_cache(maxsize=8)  # the lookup reads the metadata of every installed distribution
def _propagator_class(name: str) -> Callable[[], TextMapPropagator]:
    point = next(iter(entry_points(group="opentelemetry_propagator", name=name)))
    factory: Callable[[], TextMapPropagator] = point.load()
    return factory
