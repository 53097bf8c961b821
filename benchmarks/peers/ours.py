"""This project's layer, by its public interface; ``OTEL_*`` variables select what is traced."""

from __future__ import annotations

import os
from dataclasses import replace

from opentelemetry import trace

from avatar_telemetry import instrument
from avatar_telemetry.profiles.ivatar import PROFILE as IVATAR
from avatar_telemetry.profiles.model import Route
from benchmarks.applications import watched
from benchmarks.peers import Wrapped
from benchmarks.request import DIGEST, ENVIRON, ask, serve
from benchmarks.samples import total

METRICS = "/metrics"
# No generators: each would give a request a third span, and what is compared is two. The picture
# counts as an uploaded one, in the same number of metrics.
WATCHED = replace(IVATAR, generators=(), avatar_cache=("benchmarks.applications:WatchedCache.get",))


def wrap(name: str) -> Wrapped:
    """The application inside the layer; ``BENCH_ROUTES`` more routes were asked for once each."""
    number = int(os.environ.get("BENCH_ROUTES", "0"))
    routes = [Route(rf"^/r{each}/", f"/r{each}/", "avatar", cached=True) for each in range(number)]
    profile = replace(WATCHED, routes=(*WATCHED.routes, *routes))
    application = instrument(watched(name), profile=profile)
    for each in range(number):
        serve(application, ENVIRON | {"PATH_INFO": f"/r{each}/{DIGEST}"})

    def requests() -> float:
        return total(ask(application, METRICS).decode(), "ivatar_requests_total") - number

    return Wrapped(application, _flush, requests)


def _flush() -> None:
    flush = getattr(trace.get_tracer_provider(), "force_flush", None)
    if flush is not None:
        flush()
