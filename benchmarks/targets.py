"""What we want to reach, and why not where we do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """One figure and its goal.

    Args:
        what: in words.
        figure: where it stands: part, then the keys of its results.
        goal: the value that is wanted.
        unit: of both.
        over: the figure that it is divided by.
        at_least: whether more is better.
        reason: why it is not met, where it is not.
        least: the same figure of the least that could be done, which a reason may point to.
    """

    what: str
    figure: str
    goal: float
    unit: str = ""
    over: str = ""
    at_least: bool = False
    reason: str = ""
    least: str = ""

    def measured(self, results: Results) -> float | None:
        """The median that was measured, or ``None``."""
        value = median(results, self.figure)
        if value is None or not self.over:
            return value
        other = median(results, self.over)
        return value / other if other else None

    def met(self, value: float) -> bool:
        """Whether a value reaches the goal."""
        return value >= self.goal if self.at_least else value <= self.goal


def median(results: Results, figure: str) -> float | None:
    """The median that stands at a place of the results, or ``None``."""
    part, *keys = figure.split("/")
    found: Any = results.get(part, {}).get("results", {})
    for key in keys:
        found = found.get(key, {}) if isinstance(found, Mapping) else {}
    value = found.get("median") if isinstance(found, Mapping) else found
    return float(value) if isinstance(value, (int, float)) else None


_US, _MS, _MB = "us", "ms", "MB"
_ADDED, _SERVER = "in_process/{}/added_us", "server/{}-{}/{}/{}"
_SIXTH = 1 / 6
SHARED = "RSS counts in each worker what all share with their master"
OWN_TRANSPORT = "each worker imports its HTTP client, which gevent wants to patch before"
OURS = "what it runs for a request takes longer there than in a loop, see the end of the page"
LOCK = f"{OURS}; the thread that exports holds the same interpreter lock"
PILLOW = f"the probe of Pillow makes a third span of each picture; {LOCK}"
_WHAT = {"metrics": "metrics only", "spans-5": "2 spans, 5 %", "spans-100": "2 spans, all"}
_LEAST = {"metrics": "floor", "spans-100": "floor-100"}


def _throughput(
    worker_class: str, application: str, variant: str, goal: float, reason: str = OURS
) -> Target:
    """Share of the bare server's requests a second."""
    least = _LEAST.get(variant, "")
    return Target(
        f"throughput, {worker_class}, {application}: {_WHAT[variant]}",
        _SERVER.format(worker_class, application, variant, "throughput"), goal, at_least=True,
        reason=reason,
        least=least and _SERVER.format(worker_class, application, least, "throughput"),
    )  # fmt: skip


TARGETS = (
    Target("added in process, all metrics", _ADDED.format("metrics"), 6, _US),
    Target("the same, 2 spans, none sampled", _ADDED.format("spans-0"), 8, _US),
    Target("the same, 2 spans, all sampled", _ADDED.format("spans-100"), 15, _US),
    Target("metrics, share of django-prometheus", _ADDED.format("metrics"), 0.1,
           over=_ADDED.format("django-prometheus")),
    Target("none sampled, share of OpenTelemetry WSGI", _ADDED.format("spans-0"), _SIXTH,
           over=_ADDED.format("otel-0")),
    Target("all sampled, share of OpenTelemetry WSGI (1 span)", _ADDED.format("spans-100"), _SIXTH,
           over=_ADDED.format("otel-100")),
    Target("cost with 10,000 samples, share of that with few", "series/many-one/to_few", 1.05),
    Target("export, a span in batches of 512", "export/512/ours/per_span_us", 5, _US),
    Target("export, times cheaper than the official exporter", "export/512/ours/times_cheaper", 8,
           at_least=True),
    Target("scrape, 16 x 1,000", "scrape/16x1000/ours_ms", 8, _MS),
    Target("scrape, 48 x 10,000", "scrape/48x10000/ours_ms", 150, _MS),
    Target("scrape, 16 x 1,000, times faster", "scrape/16x1000/times_faster", 10, at_least=True),
    Target("scrape, 48 x 10,000, times faster", "scrape/48x10000/times_faster", 10, at_least=True),
    Target("scrape, 16 x 1,000, after a new series, of a later one",
           "scrape/16x1000/new_series_to_later", 2),
    Target("the same after a recycle", "scrape/16x1000/recycle_to_later", 2),
    Target("the same with a conflict of declarations", "scrape/16x1000/conflict_to_later", 1.5),
    Target("memory that one more worker adds, metrics only", "footprint/metrics/more_mb", 4, _MB),
    Target("memory that one more worker adds, all on", "footprint/spans-100/more_mb", 12, _MB,
           reason=OWN_TRANSPORT),
    Target("the same with preload", "footprint/spans-100/more_preload_mb", 12, _MB),
    Target("memory of a worker (RSS), metrics only", "footprint/metrics/rss_mb", 4, _MB,
           reason=SHARED),
    Target("memory of a worker (RSS), all on", "footprint/spans-100/rss_mb", 12, _MB,
           reason=SHARED),
    Target("start of a worker (preload) to its first answer, all on",
           "footprint/spans-100/answered_cpu_ms", 20, _MS),
    _throughput("sync", "trivial", "metrics", 0.95),
    _throughput("sync", "trivial", "spans-5", 0.92),
    _throughput("sync", "trivial", "spans-100", 0.87, LOCK),
    Target("p99, sync, trivial: 2 spans, all",
           _SERVER.format("sync", "trivial", "spans-100", "p99"), 2.4),
    _throughput("gthread", "trivial", "spans-100", 0.82, LOCK),
    _throughput("sync", "identicon", "spans-100", 0.88, PILLOW),
)  # fmt: skip
