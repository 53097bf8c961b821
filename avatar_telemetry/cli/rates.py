"""Rates, percentiles and workers, from two metrics pages and the time between them.

derive_state(now.minus(before), now, seconds)["requests"]  # per second
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from itertools import accumulate
from typing import Any

from avatar_telemetry.cli.samples import Samples

QUANTILES = (0.5, 0.95, 0.99)
INFINITE = float("inf")
REQUESTS = "ivatar_requests_total"
MADE = "ivatar_avatars_generated_total"
OUTSIDE = "ivatar_external_avatar_requests_total"
UPLOADS = "ivatar_file_uploads_total"
ATTEMPTS = "ivatar_auth_attempts_total"
SPANS = "avatar_telemetry_spans_total"
LOG_RECORDS = "avatar_telemetry_log_records_total"
PUSHES = "avatar_telemetry_metric_pushes_total"
EXPORTER_UP = "avatar_telemetry_exporter_up"
INTERNAL_ERRORS = "avatar_telemetry_internal_errors_total"
SERIES_REFUSED = "avatar_telemetry_series_refused_total"
IN_PROGRESS = "gunicorn_worker_requests_in_progress"
FREE_BYTES = "avatar_telemetry_folder_free_bytes"

State = dict[str, Any]
Percentiles = tuple[float | None, ...]
"""Seconds for each of :data:`QUANTILES`; ``None`` without values."""


def derive_state(added: Samples, now: Samples, seconds: float) -> State:
    """Derive the state of the server in an interval: the object of ``top --json``.

    Args:
        added: the increase of the counters.
        now: the page at the end of the interval.
        seconds: the length of the interval.

    Returns:
        The rates per second (``cpu``: processors in use), ratios (``errors``: with a 5xx status, 0
        without requests; ``cache``: of lookups that hit; ``success``; these ``None`` without any
        event), percentiles in
        seconds, the present numbers of requests, workers and waiting connections, the routes by
        p95, the slowest first, the outside services, the operations of authentication, and the
        workers by name (memory in bytes, start in seconds since the epoch, ``in_progress`` ``None``
        for the master). ``exporter`` is whether one runs, ``None`` where none is needed;
        ``internal_errors`` and ``series_refused`` are totals, with the increase in
        ``new_internal_errors`` and ``new_series_refused``.

    Raises:
        KeyError: a series lacks a label.
        ValueError: the bound of a bucket is not a number.
    """

    def rate(name: str) -> float:
        return added.total(name) / seconds

    def by_result(name: str) -> dict[str, float]:
        results = now.values(name, "result")
        return {result: added.total(name, result=result) / seconds for result in results}

    def outcomes(label: str, name: str) -> list[State]:
        return [
            {"name": value, "rate": part.total(name) / seconds, "success": _success(part, name),
             "p95": percentiles(part, "ivatar_external_avatar_request_seconds")[1]}
            for value, part in sorted(added.split(label).items())
            if part.total(name)
        ]  # fmt: skip

    routes = [
        {"path": path, "rate": part.total(REQUESTS) / seconds, "errors": _errors(part),
         "percentiles": percentiles(part)}
        for path, part in added.split("path").items()
        if part.total(REQUESTS)
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
        "made": rate(MADE),
        "generation": percentiles(added, "ivatar_avatar_generation_seconds"),
        "cache": hits / lookups if lookups else None,
        "lookups": lookups / seconds,
        "outside": rate(OUTSIDE),
        "services": outcomes("service", OUTSIDE),
        "uploads": rate(UPLOADS),
        "uploads_success": _success(added, UPLOADS),
        "attempts": rate(ATTEMPTS),
        "operations": outcomes("operation", ATTEMPTS),
        "exporter": bool(now.total(EXPORTER_UP)) if now.has(EXPORTER_UP) else None,
        "spans": by_result(SPANS),
        "log_records": by_result(LOG_RECORDS),
        "pushes": by_result(PUSHES),
        "internal_errors": now.total(INTERNAL_ERRORS),
        "new_internal_errors": added.total(INTERNAL_ERRORS),
        "series_refused": now.total(SERIES_REFUSED),
        "new_series_refused": added.total(SERIES_REFUSED),
        "free_bytes": now.total(FREE_BYTES) if now.has(FREE_BYTES) else None,
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


def percentiles(added: Samples, name: str = "ivatar_request_duration_seconds") -> Percentiles:
    """Return the percentiles of all series of a histogram."""
    buckets: defaultdict[float, float] = defaultdict(float)
    for have, value in added.series(f"{name}_bucket"):
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
    # The increase of a histogram that was reset may decrease from bucket to bucket.
    counts = list(accumulate((buckets[bound] for bound in bounds), max))
    if len(bounds) < 2 or bounds[-1] != INFINITE or counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    place = bisect_left(counts, rank)
    if place >= len(bounds) - 1:
        return bounds[-2]
    lower, below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    inside = counts[place] - below
    return lower + (bounds[place] - lower) * ((rank - below) / inside if inside else 0.0)


def _errors(added: Samples) -> float:
    total = added.total(REQUESTS)
    return added.errors() / total if total else 0.0


def _success(added: Samples, name: str) -> float | None:
    total = added.total(name)
    return added.total(name, success="true") / total if total else None


def _workers(now: Samples) -> list[State]:
    metrics = {
        "resident": "process_resident_memory_bytes", "files": "process_open_fds",
        "threads": "process_threads", "started": "process_start_time_seconds",
    }  # fmt: skip
    names = sorted(now.values(metrics["resident"], "worker"), key=lambda name: (len(name), name))
    in_progress = {labels["worker"]: value for labels, value in now.series(IN_PROGRESS)}
    return [
        {"name": name, "in_progress": in_progress.get(name),
         **{key: now.total(each, worker=name) for key, each in metrics.items()}}
        for name in names
    ]  # fmt: skip
