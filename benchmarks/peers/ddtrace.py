"""Datadog's WSGI middleware; the variables that its library reads are set by the variant."""

from __future__ import annotations

from ddtrace.contrib.wsgi import DDWSGIMiddleware
from ddtrace.trace import tracer

from benchmarks.applications import bare
from benchmarks.peers import Wrapped


def wrap(name: str) -> Wrapped:
    """The application inside the middleware."""
    return Wrapped(DDWSGIMiddleware(bare(name)), tracer.flush)
