"""Rates, percentiles and workers, from two metrics pages and the time between them.

derive_state(now.minus(before), now, seconds)["requests"]  # per second
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Any

from avatar_telemetry.cli.samples import Samples

QUANTILES = (0.5, 0.95, 0.99)
INFINITE = float("inf")
REQUESTS = "ivatar_requests_total"
SPANS = "avatar_telemetry_spans_total"

Percentiles = tuple[float | None, ...]
"""Seconds for each of :data:`QUANTILES`; ``None`` without values."""


def derive_state(added: Samples, now: Samples, seconds: float) -> dict[str, Any]:
    """Derive the state of the server in an interval: the object of ``top --json``.

    Args:
        added: the increase of the counters.
        now: the page at the end of the interval.
        seconds: the length of the interval.

    Returns:
        The rates per second (``cpu``: processors in use), ratios (``errors``: with a 5xx status;
        ``cache``: of lookups that hit, ``None`` without any), percentiles in seconds, the present
        numbers of requests, workers and waiting connections, the routes by p95, the slowest first,
        and the workers by name (memory in bytes, start in seconds since the epoch).
    """

    def rate(name: str, **labels: str) -> float:
        return added.total(name, **labels) / seconds

    routes = [
        {"path": path, "rate": rate(REQUESTS, path=path), "errors": _errors(added, path=path),
         "percentiles": percentiles(added, path=path)}
        for path in added.values(REQUESTS, "path")
        if added.total(REQUESTS, path=path)
    ]  # fmt: skip
    hits = added.total("ivatar_avatar_cache_hits_total")
    lookups = hits + added.total("ivatar_avatar_cache_misses_total")
    return {
        "seconds": seconds,
        "requests": rate(REQUESTS),
        "errors": _errors(added),
        "percentiles": percentiles(added),
        "in_progress": now.total("ivatar_requests_in_progress"),
        "avatars": rate("ivatar_avatar_requests_total"),
        "made": rate("ivatar_avatars_generated_total"),
        "cache": hits / lookups if lookups else None,
        "outside": rate("ivatar_external_avatar_requests_total"),
        "uploads": rate("ivatar_file_uploads_total"),
        "attempts": rate("ivatar_auth_attempts_total"),
        "spans": {result: rate(SPANS, result=result) for result in now.values(SPANS, "result")},
        "cpu": rate("process_cpu_seconds_total"),
        "busy": now.total("gunicorn_workers", state="busy"),
        "idle": now.total("gunicorn_workers", state="idle"),
        "backlog": now.total("gunicorn_backlog"),
        "routes": sorted(routes, key=lambda each: each["percentiles"][1] or 0.0, reverse=True),
        "workers": _workers(now),
    }


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
        share: the quantile, from 0 to 1.
        buckets: the number of values up to each upper bound.

    Returns:
        The quantile; ``None`` without values, and the highest finite bound for a larger quantile.
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


def _workers(now: Samples) -> list[dict[str, Any]]:
    metrics = {
        "resident": "process_resident_memory_bytes", "files": "process_open_fds",
        "threads": "process_threads", "started": "process_start_time_seconds",
    }  # fmt: skip
    names = sorted(now.values(metrics["resident"], "worker"), key=lambda name: (len(name), name))
    return [
        {"name": name, **{key: now.total(each, worker=name) for key, each in metrics.items()}}
        for name in names
    ]
