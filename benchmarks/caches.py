"""The share of requests that find encoded blocks and outcome in caches, for traffic of three kinds.

    python -m benchmarks.caches [--quick] [--out FOLDER]

A page view is one browser, with an address and a user agent, that requests the pictures of a page:
most of few people, some of many. Every request is traced. The result is a share of lookups, which
does not depend on the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.resources import Resource

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.memo import Memo
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.exposition import MetricsPage
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.writer import SpanWriter
from avatar_telemetry.wsgi.middleware import TelemetryMiddleware, build_layer
from avatar_telemetry.wsgi.request import current_request
from benchmarks.command import run_part
from benchmarks.request import ENVIRON, serve
from benchmarks.results import say

AGENTS = 400
"""User agents; the share of each falls with its rank."""
DEFAULTS = ("identicon", "retro", "mm", "404", "robohash")
SIZES = ("32", "40", "48", "64", "80", "96", "128", "256", "512")
CACHE = "django:filesystem"


@dataclass(frozen=True)
class Traffic:
    """One kind of traffic.

    Args:
        people: the number of persons whose pictures are requested.
        clients: the number of browsers, each with an address.
        sites: the number of pages with pictures, each with its own query.
        pictures: the number of pictures on a page.
        requests: the number of requests.
    """

    people: int
    clients: int
    sites: int
    pictures: int
    requests: int


KINDS = {
    "one site": Traffic(2_000, 500, 3, 20, 40_000),
    "a public server": Traffic(100_000, 20_000, 200, 8, 100_000),
    "single pictures": Traffic(1_000_000, 200_000, 2_000, 1, 100_000),
}


class Frames:
    """A target that counts the spans of frames."""

    spans = 0

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        self.spans += items
        return True


def run(quick: bool) -> dict[str, Any]:
    """Measure the shares of all kinds of traffic."""
    results = {}
    for name, traffic in KINDS.items():
        say(f"caches: {name}")
        results[name] = shares(replace(traffic, requests=10_000) if quick else traffic)
    return results


def shares(traffic: Traffic) -> dict[str, Any]:
    """Measure the share of requests whose value each cache had."""
    profile = replace(PROFILE)  # with a cache of its own
    settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none"})
    guard, frames = Guard(), Frames()
    pipeline = Pipeline(settings, Resource({}), b"key", guard, SpanWriter(frames))
    tracing = pipeline.tracing(profile)
    metrics = Metrics(Book(), settings.max_series)
    layer = build_layer(settings, profile, metrics, guard, MetricsPage(list, guard), tracing)
    application = TelemetryMiddleware(respond, lambda: layer)
    for environ in requests_of(traffic):
        serve(application, environ)
    if frames.spans != 2 * traffic.requests:
        return {"failed": f"{frames.spans} spans of {traffic.requests} requests"}
    caches: dict[str, Memo[Any, Any]] = {
        "route of the path": profile._known,
        "target": tracing.targets,
        "user agent": tracing.agents,
        "address": tracing.addresses,
        "person": tracing.people,
        "response size": tracing.sizes,
        "end of the spans": tracing.endings,
    }
    misses = {name: cache.misses for name, cache in caches.items()}
    misses["outcome"] = layer.telemetry.outcomes.misses
    return {name: 1 - count / traffic.requests for name, count in misses.items()}


def respond(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Respond as an avatar server that looks into its cache first."""
    request = current_request()
    assert request is not None
    request.cache_lookup(CACHE, hit=environ["benchmark.hit"])
    if person := environ["benchmark.person"] % 20:
        length = 400 + environ["benchmark.person"] % 30_000
        start_response("200 OK", [("Content-Type", "image/png"), ("Content-Length", str(length))])
    else:
        start_response("404 Not Found", [("Content-Type", "text/html"), ("Content-Length", "153")])
    return [b"picture" if person else b"page"]


def requests_of(traffic: Traffic) -> Iterator[dict[str, Any]]:
    """Yield the environ of each request, the same ones at every run."""
    chance = random.Random(1)
    for number in range(traffic.requests):
        if number % traffic.pictures == 0:
            page = page_view(chance, traffic)
        person = ranked(chance, traffic.people, 2)
        yield {
            **page,
            "PATH_INFO": f"/avatar/{person * 0x9E3779B97F4A7C15 % (1 << 128):032x}",
            "benchmark.person": person,
            "benchmark.hit": chance.random() < 0.8,
        }


def page_view(chance: random.Random, traffic: Traffic) -> dict[str, Any]:
    """Return the variables that all requests of a page have."""
    client, site = ranked(chance, traffic.clients, 2), ranked(chance, traffic.sites, 3)
    query = f"s={SIZES[site % len(SIZES)]}&d={DEFAULTS[site % len(DEFAULTS)]}"
    return {
        **ENVIRON,
        "QUERY_STRING": query + ("&f=y" if site % 7 == 0 else ""),
        "REMOTE_ADDR": f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}",
        "HTTP_USER_AGENT": f"Mozilla/5.0 (browser {ranked(chance, AGENTS, 3)}) Gecko/20100101",
        "HTTP_HOST": "cdn.example.org" if site % 4 else "seccdn.example.org",
    }


def ranked(chance: random.Random, number: int, power: int) -> int:
    """Return a number below a maximum; low ones are the most frequent."""
    return int(chance.random() ** power * number)


if __name__ == "__main__":
    run_part("caches", run, __doc__)
