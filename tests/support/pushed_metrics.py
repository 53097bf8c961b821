"""The metrics that a gunicorn pushes, as they come to a sink."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client.utils import floatToGoString

from tests.support.gunicorn_server import Metrics, eventually, total
from tests.support.otlp_records import INSTANCE, Received, plain

INTERVAL = 300
"""Milliseconds between two pushes."""
CUMULATIVE = 2


def environment(url: str, **more: str) -> dict[str, str | None]:
    """The settings of a server that pushes to a sink, and no spans."""
    return {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_METRIC_EXPORT_INTERVAL": str(INTERVAL),
        "HOSTNAME": "here",
        **more,
    }


def points(sink: Received, instance: str = "here") -> Iterator[tuple[Any, Any, str]]:
    """Metric, point and kind, in the order of their arrival, of one service instance."""
    for each in sink.resource_metrics():
        if plain(each.resource.attributes)[INSTANCE] == instance:
            for scope in each.scope_metrics:
                for metric in scope.metrics:
                    kind = metric.WhichOneof("data") or "gauge"
                    for point in getattr(metric, kind).data_points:
                        yield metric, point, kind


def api_metrics(sink: Received) -> Metrics:
    """The last value of each series of a scope that is not ours, as the page would name it."""
    metrics: Metrics = {}
    for each in sink.resource_metrics():
        for of_scope in each.scope_metrics:
            scope = of_scope.scope
            named = {("otel_scope_name", scope.name), ("otel_scope_version", scope.version)}
            for metric in of_scope.metrics if scope.name != "avatar_telemetry" else ():
                kind = metric.WhichOneof("data") or "gauge"
                for point in getattr(metric, kind).data_points:
                    for suffix, labels, value in samples(point, kind):
                        own = {pair for pair in labels | named if pair[1]}
                        metrics[metric.name + suffix, frozenset(own)] = value
    return metrics


def latest(sink: Received) -> Metrics:
    """The last value of each series, as a page in the text format would name it."""
    metrics: Metrics = {}
    for metric, point, kind in points(sink):
        for suffix, labels, value in samples(point, kind):
            metrics[metric.name + suffix, frozenset(labels)] = value
    return metrics


def samples(point: Any, kind: str) -> Iterator[tuple[str, set[tuple[str, str]], float]]:
    labels = set(plain(point.attributes).items())
    if kind != "histogram":
        yield "", labels, point.as_double
        return
    below = 0
    for bound, count in zip(
        (*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True
    ):
        below += count
        yield "_bucket", labels | {("le", floatToGoString(bound))}, below
    yield "_count", labels, point.count
    yield "_sum", labels, point.sum


def pushed(sink: Received, number: float, **labels: str) -> None:
    """Wait until the last push counts so many requests."""
    eventually(lambda: total(latest(sink), "ivatar_requests_total", **labels) == number)


def assert_goes_on(sink: Received) -> None:
    """Each series of a sum or histogram has one start, before its points, and only grows.

    The processor time is that of one master and its workers, so it may differ after an upgrade.
    """
    seen: dict[tuple[str, frozenset[tuple[str, str]]], Any] = {}
    for metric, point, kind in points(sink):
        if kind == "gauge" or metric.name == "process_cpu_seconds_total":
            continue
        assert getattr(metric, kind).aggregation_temporality == CUMULATIVE
        key = metric.name, frozenset(plain(point.attributes).items())
        last = seen.get(key, point)
        assert 0 < point.start_time_unix_nano == last.start_time_unix_nano
        assert point.start_time_unix_nano < point.time_unix_nano >= last.time_unix_nano
        assert value_of(point, kind) >= value_of(last, kind)
        seen[key] = point


def value_of(point: Any, kind: str) -> float:
    return float(point.count if kind == "histogram" else point.as_double)
