"""This project's layer, by its public face; ``OTEL_*`` variables say what it traces."""

from __future__ import annotations

from dataclasses import replace

from opentelemetry import trace

from avatar_demo.profile import PROFILE as DEMO
from avatar_telemetry import instrument
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from benchmarks.applications import watched
from benchmarks.peers import Wrapped
from benchmarks.request import ask
from benchmarks.samples import total

METRICS = "/metrics"
# No generators: each would give a request a third span, and what is compared is two. The picture
# counts as an uploaded one, in the same number of metrics.
WATCHED = replace(IVATAR, generators=(), avatar_cache=("benchmarks.applications:WatchedCache.get",))


def wrap(name: str) -> Wrapped:
    """The application inside the layer, with the profile that knows it."""
    application = instrument(watched(name), profile=DEMO if name == "demo" else WATCHED)
    return Wrapped(
        application,
        _flush,
        lambda: total(ask(application, METRICS).decode(), "ivatar_requests_total"),
    )


def _flush() -> None:
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()
