"""How often a request finds its blocks encoded already, for traffic of several kinds.

    python -m benchmarks.memos [--quick] [--out FOLDER]

A page view is one browser, with an address and a user agent, that asks for the pictures of a page:
most of few people, some of many. Every request is traced; what counts is the share of lookups that
a memo answers, however fast the machine is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.guard import Guard
from avatar_telemetry.memo import Memo
from avatar_telemetry.profiles.ivatar import PROFILE
from avatar_telemetry.store.mapped import Book
from avatar_telemetry.store.metrics import Metrics
from avatar_telemetry.tracing.pipeline import Pipeline
from avatar_telemetry.tracing.writer import SpanWriter
from avatar_telemetry.wsgi.request import AvatarRequest
from avatar_telemetry.wsgi.telemetry import Telemetry
from benchmarks.command import run_part
from benchmarks.request import ENVIRON, start_response
from benchmarks.results import say

AGENTS = 400
"""User agents in the wild; the share of each falls with its rank."""
DEFAULTS = ("identicon", "retro", "mm", "404", "robohash")
SIZES = ("32", "40", "48", "64", "80", "96", "128", "256", "512")
HIT, MISS, IMAGE, NOT_FOUND = "hit", "miss", "image/png", "404 Not Found"
CACHE = "django:filesystem"


@dataclass(frozen=True)
class Traffic:
    """One kind of traffic.

    Args:
        people: persons whose pictures are asked for.
        clients: browsers, each with an address.
        sites: pages that embed the pictures, each with a query of its own.
        pictures: on a page.
        requests: in all.
    """

    people: int
    clients: int
    sites: int
    pictures: int
    requests: int


class Spans:
    """Counts the spans that would be written into a ring."""

    def __init__(self) -> None:
        self.count = 0

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        """Count the spans of a frame."""
        self.count += items
        return True


KINDS = {
    "one site": Traffic(people=2_000, clients=500, sites=3, pictures=20, requests=40_000),
    "a public server": Traffic(
        people=100_000, clients=20_000, sites=200, pictures=8, requests=100_000
    ),
    "single pictures": Traffic(
        people=1_000_000, clients=200_000, sites=2_000, pictures=1, requests=100_000
    ),
}


def run(quick: bool) -> dict[str, Any]:
    """The shares of all kinds of traffic."""
    results = {}
    for name, traffic in KINDS.items():
        say(f"memos: {name}")
        results[name] = shares(replace(traffic, requests=10_000) if quick else traffic)
    return results


def shares(traffic: Traffic) -> dict[str, Any]:
    """The share of lookups that each memo answers."""
    profile = replace(PROFILE)  # with a memo of its own
    settings = Settings.from_env({"OTEL_EXPORT_ENABLED": "true", "OTEL_TRACES_EXPORTER": "none"})
    spans = Spans()
    pipeline = Pipeline(settings, Resource({}), b"key", Guard(), SpanWriter(spans))
    tracing = pipeline.tracing(profile)
    sizes = {size: str(size) for size in settings.sizes}
    telemetry = Telemetry(Metrics(Book(), settings.max_series), Guard(), profile, sizes, tracing)
    for environ, status, content_type, length, cache in requests_of(traffic):
        serve(telemetry, environ, status, content_type, length, cache)
    if spans.count != 2 * traffic.requests:
        return {"failed": f"{spans.count} spans of {traffic.requests} requests"}
    memos: dict[str, Memo[Any, Any]] = {
        "route of a path": profile._known,
        "target": tracing.targets,
        "user agent": tracing.agents,
        "address": tracing.addresses,
        "person": tracing.people,
        "size": tracing.sizes,
        "ending": tracing.endings,
    }
    misses = {name: memo.misses for name, memo in memos.items()}
    misses["conclusion"] = telemetry.conclusions.misses
    return {
        "hits": {name: round(1 - count / traffic.requests, 4) for name, count in misses.items()}
    }


def serve(
    telemetry: Telemetry, environ: dict[str, Any], status: str, content_type: str, length: str,
    cache: str,
) -> None:  # fmt: skip
    """One request, as the middleware and a probe of the cache observe it."""
    route = telemetry.profile.route(environ["PATH_INFO"])
    request = AvatarRequest(telemetry, environ, route, start_response)
    request.cache_lookup(CACHE, hit=cache == HIT)
    head = [("Content-Type", content_type), ("Content-Length", length)]
    request.start_response(status, head)
    request.sending_all([b""])


def requests_of(traffic: Traffic) -> Iterator[tuple[dict[str, Any], str, str, str, str]]:
    """Environ, status, Content-Type, Content-Length, and result of the cache lookup."""
    chance = random.Random(1)
    made = 0
    while made < traffic.requests:
        client = ranked(chance, traffic.clients, 2)
        site = ranked(chance, traffic.sites, 3)
        query = f"s={SIZES[site % len(SIZES)]}&d={DEFAULTS[site % len(DEFAULTS)]}"
        shared = {
            **ENVIRON,
            "QUERY_STRING": query + ("&f=y" if site % 7 == 0 else ""),
            "REMOTE_ADDR": f"10.{client >> 16}.{client >> 8 & 255}.{client & 255}",
            "HTTP_USER_AGENT": f"Mozilla/5.0 (browser {ranked(chance, AGENTS, 3)}) Gecko/20100101",
            "HTTP_HOST": "cdn.example.org" if site % 4 else "seccdn.example.org",
        }
        for _ in range(min(traffic.pictures, traffic.requests - made)):
            person = ranked(chance, traffic.people, 2)
            path = f"/avatar/{person * 0x9E3779B97F4A7C15 % (1 << 128):032x}"
            missing = person % 20 == 0
            length = str(400 + person % 30_000) if not missing else "153"
            yield (
                {**shared, "PATH_INFO": path}, NOT_FOUND if missing else "200 OK",
                "text/html" if missing else IMAGE, length, HIT if chance.random() < 0.8 else MISS,
            )  # fmt: skip
            made += 1


def ranked(chance: random.Random, number: int, power: int) -> int:
    """One of so many; the first ones are the most frequent."""
    return int(chance.random() ** power * number)


if __name__ == "__main__":
    run_part("memos", run, __doc__)
