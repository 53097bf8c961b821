"""What two metrics pages say of the time between them: rates, percentiles, workers.

look(now.minus(before), now, seconds).requests  # a second
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

from avatar_telemetry.cli.samples import Samples

DURATION = "ivatar_request_duration_seconds"
QUANTILES = (0.5, 0.95, 0.99)
INFINITE = float("inf")

Percentiles = tuple[float | None, ...]
"""Seconds, of each of :data:`QUANTILES`; ``None`` where nothing was measured."""


@dataclass(frozen=True)
class RouteLook:
    """One route.

    Args:
        path: its template.
        rate: requests a second.
        errors: share that ended with a 5xx.
        percentiles: of the duration.
    """

    path: str
    rate: float
    errors: float
    percentiles: Percentiles


@dataclass(frozen=True)
class WorkerLook:
    """One process.

    Args:
        name: slot, or ``master``.
        resident: bytes of memory.
        files: open descriptors.
        threads: how many.
        started: seconds since the epoch.
    """

    name: str
    resident: float
    files: float
    threads: float
    started: float


@dataclass(frozen=True)
class Look:
    """The server as it was for some time.

    Args:
        seconds: how long.
        requests: a second.
        errors: share that ended with a 5xx.
        percentiles: of the duration of all requests.
        in_progress: requests now.
        avatars: requests for one, a second.
        made: avatars made, a second.
        cache: share of look-ups that hit, ``None`` where there was none.
        outside: calls of outside services a second.
        uploads: a second.
        attempts: log-ins and the like, a second.
        spans: a second, by result.
        cpu: processors in use.
        busy: workers with a request in progress.
        idle: workers without.
        backlog: connections that wait.
        routes: the slowest first, by p95.
        workers: in the order of their names.
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
    """Put together what was counted in some time.

    Args:
        added: what the counters have gained.
        now: the page at its end.
        seconds: how long it was.
    """

    def rate(name: str, **labels: str) -> float:
        return added.total(name, **labels) / seconds

    spans = "avatar_telemetry_spans_total"
    return Look(
        seconds, rate("ivatar_requests_total"), _errors(added), percentiles(added),
        now.total("ivatar_requests_in_progress"), rate("ivatar_avatar_requests_total"),
        rate("ivatar_avatars_generated_total"), _cache(added),
        rate("ivatar_external_avatar_requests_total"), rate("ivatar_file_uploads_total"),
        rate("ivatar_auth_attempts_total"),
        {result: rate(spans, result=result) for result in now.values(spans, "result")},
        rate("process_cpu_seconds_total"), now.total("gunicorn_workers", state="busy"),
        now.total("gunicorn_workers", state="idle"), now.total("gunicorn_backlog"),
        _routes(added, seconds), _workers(now),
    )  # fmt: skip


def age(now: Samples, clock: float) -> float:
    """Seconds since the start of the server, as its page tells it; at least one.

    Args:
        now: its page.
        clock: seconds since the epoch.
    """
    started = [value for _, value in now.series("process_start_time_seconds")]
    return max(clock - min(started, default=clock), 1.0)


def percentiles(added: Samples, **labels: str) -> Percentiles:
    """Percentiles of the duration of the requests that bear these labels."""
    buckets: defaultdict[float, float] = defaultdict(float)
    wanted = labels.items()
    for have, value in added.series(f"{DURATION}_bucket"):
        if wanted <= have.items():
            buckets[float(have["le"])] += value
    return tuple(quantile(share, dict(buckets)) for share in QUANTILES)


def quantile(share: float, buckets: dict[float, float]) -> float | None:
    """A quantile of a histogram, as Prometheus' ``histogram_quantile`` has it.

    Args:
        share: from 0 to 1.
        buckets: upper bound -> how many were not above it.

    Returns:
        ``None`` where nothing was counted; the highest bound where it lies beyond that.
    """
    bounds = sorted(buckets)
    counts = [buckets[bound] for bound in bounds]
    if len(bounds) < 2 or bounds[-1] != INFINITE or counts[-1] <= 0:
        return None
    rank = share * counts[-1]
    place = bisect_left(counts, rank)
    if place >= len(bounds) - 1:
        return bounds[-2]
    lower = bounds[place - 1] if place else 0.0
    below = counts[place - 1] if place else 0.0
    inside = counts[place] - below
    return lower + (bounds[place] - lower) * ((rank - below) / inside if inside else 0.0)


def _errors(added: Samples, **labels: str) -> float:
    total = added.total("ivatar_requests_total", **labels)
    failed = sum(
        added.total("ivatar_requests_total", status_code=code, **labels)
        for code in added.values("ivatar_requests_total", "status_code")
        if code[:1] == "5"
    )
    return failed / total if total else 0.0


def _cache(added: Samples) -> float | None:
    hits = added.total("ivatar_avatar_cache_hits_total")
    total = hits + added.total("ivatar_avatar_cache_misses_total")
    return hits / total if total else None


def _routes(added: Samples, seconds: float) -> list[RouteLook]:
    routes = [
        RouteLook(
            path, added.total("ivatar_requests_total", path=path) / seconds,
            _errors(added, path=path), percentiles(added, path=path),
        )
        for path in added.values("ivatar_requests_total", "path")
        if added.total("ivatar_requests_total", path=path)
    ]  # fmt: skip
    return sorted(routes, key=lambda route: route.percentiles[1] or 0.0, reverse=True)


def _workers(now: Samples) -> list[WorkerLook]:
    names = now.values("process_resident_memory_bytes", "worker")
    return [
        WorkerLook(
            name,
            *(
                now.total(metric, worker=name)
                for metric in ("process_resident_memory_bytes", "process_open_fds",
                               "process_threads", "process_start_time_seconds")
            ),
        )
        for name in sorted(names, key=lambda name: (not name.isdigit(), name.zfill(6)))
    ]  # fmt: skip
