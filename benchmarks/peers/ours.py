"""This project's layer, by its public face; ``OTEL_*`` variables say whether and where it traces."""

from __future__ import annotations

from opentelemetry import trace

from avatar_telemetry import instrument
from benchmarks.applications import profile, watched
from benchmarks.peers import Wrapped
from benchmarks.request import ask
from benchmarks.samples import total

METRICS = "/metrics"


def wrap(name: str) -> Wrapped:
    """The application inside the layer, with the profile that knows it."""
    application = instrument(watched(name), profile=profile(name))
    return Wrapped(
        application,
        _flush,
        lambda: total(ask(application, METRICS).decode(), "ivatar_requests_total"),
    )


def _flush() -> None:
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()
