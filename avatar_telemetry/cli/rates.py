"""Rates, percentiles and workers, from two metrics pages and the time between them.

look(now.minus(before), now, seconds).requests  # per second
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

from avatar_telemetry.cli.samples import Samples

QUANTILES = (0.5, 0.95, 0.99)
INFINITE = float("inf")
REQUESTS = "ivatar_requests_total"
SPANS = "avatar_telemetry_spans_total"

Percentiles = tuple[float | None, ...]
"""Seconds for each of :data:`QUANTILES`; ``None`` where nothing was measured."""


@dataclass(frozen=True)
class RouteLook:
    """One route: template, requests per second, ratio of 5xx, percentiles of the duration."""

    path: str
    rate: float
    errors: float
    percentiles: Percentiles


@dataclass(frozen=True)
class WorkerLook:
    """One process: slot or ``master``, bytes of memory, open descriptors, threads, start (Unix)."""

    name: str
    resident: float
    files: float
    threads: float
    started: float


@dataclass(frozen=True)
class Look:
    """The server in an interval.

    Args:
        seconds: length of the interval.
        requests, avatars, made, outside, uploads, attempts: per second: requests, those for an
            avatar, avatars made, calls of outside services, uploads, authentication attempts.
        errors: ratio of requests with a 5xx status.
        percentiles: of the duration of all requests.
        in_progress, busy, idle, backlog: now: requests, workers with one, workers without,
            waiting connections.
        cache: ratio of lookups that hit, ``None`` where there was none.
        spans: per second, by result.
        cpu: processors in use.
        routes: by p95, the slowest first.
        workers: by name.
    """

    seconds: float
    requests: float
    errors: float
    percentiles: Percentiles
    in_progress: float
    avatars: float
    made: float
    cache: float | None
    outside: float
    uploads: float
    attempts: float
    spans: dict[str, float]
    cpu: float
    busy: float
    idle: float
    backlog: float
    routes: list[RouteLook]
    workers: list[WorkerLook]


def look(added: Samples, now: Samples, seconds: float) -> Look:
    """Derive the rates of an interval.

    Args:
        added: the increase of the counters.
        now: the page at the end.
        seconds: length of the interval.
    """

    def rate(name: str, **labels: str) -> float:
        return added.total(name, **labels) / seconds

    routes = [
        RouteLook(path, rate(REQUESTS, path=path), _errors(added, path=path),
                  percentiles(added, path=path))
        for path in added.values(REQUESTS, "path")
        if added.total(REQUESTS, path=path)
    ]  # fmt: skip
    hits = added.total("ivatar_avatar_cache_hits_total")
    lookups = hits + added.total("ivatar_avatar_cache_misses_total")
    return Look(
        seconds, rate(REQUESTS), _errors(added), percentiles(added),
        now.total("ivatar_requests_in_progress"), rate("ivatar_avatar_requests_total"),
        rate("ivatar_avatars_generated_total"), hits / lookups if lookups else None,
        rate("ivatar_external_avatar_requests_total"), rate("ivatar_file_uploads_total"),
        rate("ivatar_auth_attempts_total"),
        {result: rate(SPANS, result=result) for result in now.values(SPANS, "result")},
        rate("process_cpu_seconds_total"), now.total("gunicorn_workers", state="busy"),
        now.total("gunicorn_workers", state="idle"), now.total("gunicorn_backlog"),
        sorted(routes, key=lambda route: route.percentiles[1] or 0.0, reverse=True), _workers(now),
    )  # fmt: skip


def age(now: Samples, clock: float) -> float:
    """Return the seconds since the start of the oldest process, at a Unix time; at least 1."""
    started = [value for _, value in now.series("process_start_time_seconds")]
    return max(clock - min(started, default=clock), 1.0)


def percentiles(added: Samples, **labels: str) -> Percentiles:
    """Return the percentiles of the duration of the requests with these labels."""
    buckets: defaultdict[float, float] = defaultdict(float)
    for have, value in added.series("ivatar_request_duration_seconds_bucket"):
        if labels.items() <= have.items():
            buckets[float(have["le"])] += value
    return tuple(quantile(share, dict(buckets)) for share in QUANTILES)


def quantile(share: float, buckets: dict[float, float]) -> float | None:
    """Return a quantile of a histogram, as Prometheus' ``histogram_quantile`` defines it.

    Args:
        share: from 0 to 1.
        buckets: upper bound -> number of values at most that large.

    Returns:
        ``None`` where nothing was counted; the highest finite bound for a quantile above it.
    """
    bounds = sorted(buckets)
    counts = [buckets[bound] for bound in bounds]
    if len(bounds) < 2 or bounds[-1] != INFINITE or counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    place = bisect_left(counts, rank)
    if place >= len(bounds) - 1:
        return bounds[-2]
    lower, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    inside = counts[place] - below
    return lower + (bounds[place] - lower) * ((rank - below) / inside if inside else 0.0)


def _errors(added: Samples, **labels: str) -> float:
    total = added.total(REQUESTS, **labels)
    return added.errors(**labels) / total if total else 0.0


def _workers(now: Samples) -> list[WorkerLook]:
    metrics = ("process_resident_memory_bytes", "process_open_fds", "process_threads",
               "process_start_time_seconds")  # fmt: skip
    names = sorted(now.values(metrics[0], "worker"), key=lambda name: (len(name), name))
    return [
        WorkerLook(name, *(now.total(metric, worker=name) for metric in metrics)) for name in names
    ]
