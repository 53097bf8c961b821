"""Metrics of every type of prometheus_client."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

MODES = [
    "all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent",
    "livemostrecent",
]  # fmt: skip


def use_instruments(number: int) -> None:
    registry = CollectorRegistry()
    counter = Counter("c", 'help with "quotes"', ["a"], registry=registry)
    counter.labels("x").inc(number + 1)
    counter.labels('ünï\n"\\').inc(2)
    Histogram("h", "h", ["b"], registry=registry).labels("y").observe(0.3 * number)
    Summary("s", "s", registry=registry).observe(number)
    for mode in MODES:
        Gauge(f"g_{mode}", "g", multiprocess_mode=mode, registry=registry).set(number + 0.5)
