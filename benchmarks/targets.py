"""The figures to reach, those from before the exporter process, and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Figure:
    """A figure and its goal.

    Args:
        path: part, then the keys of its results.
        goal: the value that is wanted.
        at_least: whether more is better.
        instead: another figure that is enough if it reaches its goal.
    """

    path: str
    goal: float
    at_least: bool = False
    instead: Figure | None = None

    def is_met(self, results: Results) -> bool:
        """Return whether the median reaches the goal."""
        value = median(results, self.path)
        met = value is not None and (value >= self.goal if self.at_least else value <= self.goal)
        return met or (self.instead is not None and self.instead.is_met(results))


@dataclass(frozen=True)
class Target:
    """One row of the table: figures of one kind.

    Args:
        what: in words, with the unit.
        before: the figures of the version before the exporter process.
        figures: in the order of the words.
        digits: after the point.
        reason: why it is not met, where it is not.
    """

    what: str
    before: str
    figures: tuple[Figure, ...]
    digits: int = 1
    reason: str = ""


def median(results: Results, path: str) -> float | None:
    """Return the median at a path of the results, ``None`` where there is none."""
    part, *keys = path.split("/")
    value: Any = results.get(part, {}).get("results")
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    value = value.get("median") if isinstance(value, Mapping) else value
    return float(value) if isinstance(value, (int, float)) else None


def _at_most(*figures: tuple[str, float]) -> tuple[Figure, ...]:
    return tuple(Figure(path, goal) for path, goal in figures)


def _at_least(*figures: tuple[str, float]) -> tuple[Figure, ...]:
    return tuple(Figure(path, goal, at_least=True) for path, goal in figures)


_SYNC, _GTHREAD = "server/sync-trivial", "server/gthread-trivial"
_IDENTICON, _OPEN = "server/sync-identicon", "latency/sync-identicon/spans-100"
_RECYCLE = "latency/recycle/spans-100"
PYTHON = "the rest is pure Python"
COLD = "between system calls the caches of the processor are cold"
CORES = "two cores serve, load, send and receive"
IMPORTS = "the modules of tracing are imported once by each worker"

TARGETS = (
    Target("instructions added, thousands: metrics / 2 spans sampled / threads of the worker",
           "59 / 137 + 61 in a thread",
           _at_most(("instructions/metrics/added_k", 47), ("instructions/spans-100/added_k", 100),
                    ("instructions/spans-100/threads", 1)), 0, reason=PYTHON),
    Target("added in process, serving thread, us: metrics / 2 spans sampled", "4.3 / 12.6",
           _at_most(("in_process/metrics/added_us", 3.5), ("in_process/spans-100/added_us", 8)),
           reason="this machine is half as fast as the one before: OpenTelemetry's own middleware"
                  " takes 176 us here, 82 us there"),
    Target("throughput of bare, sync, trivial: metrics / 5 % / all sampled", "0.90 / 0.82 / 0.67",
           _at_least((f"{_SYNC}/metrics/throughput", 0.93), (f"{_SYNC}/spans-5/throughput", 0.91),
                     (f"{_SYNC}/spans-100/throughput", 0.87)), 2, reason=f"{COLD}; {CORES}"),
    Target("throughput, all sampled: gthread, trivial / sync, identicon (3 spans)", "0.71 / 0.75",
           _at_least((f"{_GTHREAD}/spans-100/throughput", 0.85),
                     (f"{_IDENTICON}/spans-100/throughput", 0.88)), 2, reason=f"{COLD}; {CORES}"),
    Target("p99, all sampled, times bare, closed loop: sync / gthread", "1.1 / 1.5",
           _at_most((f"{_SYNC}/spans-100/p99", 1.1), (f"{_GTHREAD}/spans-100/p99", 1.2)),
           reason=CORES),
    Target("p90 / p99, open loop at 80 % of its saturation, identicon, all sampled, times bare at"
           " the same rate", "3.6 / 3.7",
           _at_most((f"{_OPEN}/same_p90", 1.2), (f"{_OPEN}/same_p99", 1.3)),
           reason=f"{CORES}, and what is sent each second delays the requests of that moment"),
    Target("longest wait at a recycle, one sync worker, times bare (or <= 15 ms more)", "7",
           (Figure(f"{_RECYCLE}/longest", 1.3, instead=Figure(f"{_RECYCLE}/longest_added_ms", 15)),
            ), reason=IMPORTS),
    Target("first answer after the start of the server, times bare: metrics / all", "1.9 / 3.6",
           _at_most(("footprint/metrics/first_answer", 1.4),
                    ("footprint/spans-100/first_answer", 1.4)), 2,
           reason="OpenTelemetry's API and our modules are imported first"),
    Target("scrape of 16 x 1,000 after one new series, times a warm one", "11",
           _at_most(("scrape/16x1000/new_series_to_later", 2)),
           reason="the lines of its metric are laid out anew"),
    Target("memory of the host after 200 scrapes, 16 workers x 1,200 series, MB more", "135",
           _at_most(("footprint/scraped/host_mb", 12)), reason="the reader keeps values"),
    Target("spans lost with the collector down 20 s in each 30 s", "17 %",
           _at_most(("delivery/down/lost", 0)), 3, reason="a fault"),
    Target("memory of one more worker, all on, MB: no preload / preload", "15.6 / 11.3",
           _at_most(("footprint/spans-100/more_mb", 7.5),
                    ("footprint/spans-100/more_preload_mb", 7)),
           reason=IMPORTS),
    Target("memory of 4 workers and the exporter together, MB", "62.4",
           _at_most(("footprint/spans-100/together_mb", 37.4)),
           reason="the exporter has the HTTP client, each worker the modules of tracing"),
    Target("spans lost of requests that had ended when a worker is killed", "its queue",
           _at_most(("delivery/killed/lost", 0)), 3, reason="a fault"),
    Target("processor time of the exporter, outside of the worker, us a span", "3.0 in the worker",
           _at_most(("in_process/spans-100/exporter_us_a_span", 3)),
           reason="reading, joining and posting are Python"),
    Target("memory of the exporter (PSS), MB: export on / off", "-",
           _at_most(("footprint/spans-100/exporter_mb", 30),
                    ("footprint/metrics/exporter_mb", 15)),
           reason="a Python of its own, with the page that it merges"),
)  # fmt: skip
