"""The merged store as OpenTelemetry metrics: every series of ``/metrics``, under the same name.

Prometheus' OTLP receiver and the collector's ``prometheus`` exporter make a name from the metric's
name, unit and type, and do not add a suffix that the name has. So counters keep ``_total`` in the
name, and only names that end in a unit have one.

Labels that name the instrumentation scope become the scope ("Prometheus Metric points to OTLP" of
OpenTelemetry's Prometheus and OpenMetrics Compatibility): the collector's ``prometheus`` exporter
drops metrics with attributes of these names.

Sums are cumulative since the start of each series, or the increments since the last push that
arrived (``OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, groupby, islice
from math import isfinite
from operator import itemgetter, sub
from typing import Any, NamedTuple

from opentelemetry.sdk.metrics import Exemplar as SentExemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from avatar_telemetry.exporter.continuity import Continuity, Mark, Numbers
from avatar_telemetry.metrics.family import Exemplar, Family, Labels

MAX_POINTS = 500
"""Series in one export: encoding holds the interpreter's lock, and delays other threads."""
RESOURCE_FAMILY = "target"
SCOPE_NAME, SCOPE_VERSION = "otel_scope_name", "otel_scope_version"
UNITS = {"_seconds": "s", "_bytes": "By"}
TRACE_ID = re.compile("[0-9a-f]{32}", re.ASCII)
SPAN_ID = re.compile("[0-9a-f]{16}", re.ASCII)
Point = NumberDataPoint | HistogramDataPoint


class Series(NamedTuple):
    """One series as it is sent, with its metric and its values."""

    family: Family
    metric: str
    key: str
    values: Numbers
    point: Point


@dataclass(frozen=True, slots=True)
class Batch:
    """The series of one export.

    Args:
        data: the data for the exporters.
        values: the values of each series in it, by key.
    """

    data: MetricsData
    values: dict[str, Numbers]


class Bridge:
    """A converter of families to batches.

    Args:
        resource: the resource of the host.
        version: the version of this package, for the scope.
        continuity: the start of each series.
    """

    def __init__(self, resource: Resource, version: str, continuity: Continuity) -> None:
        self._resource = resource
        self._scope = InstrumentationScope("avatar_telemetry", version)
        self._continuity = continuity
        self._temporality = (
            AggregationTemporality.DELTA if continuity.delta else AggregationTemporality.CUMULATIVE
        )

    def batches(self, families: Iterable[Family], now: int) -> Iterator[Batch]:
        """Yield all series, no more than :data:`MAX_POINTS` at once.

        Args:
            families: the families, each name once.
            now: the time of the read, in nanoseconds since the epoch.
        """
        series = chain.from_iterable(self._series(family, now) for family in families)
        while some := list(islice(series, MAX_POINTS)):
            yield self._batch(some)

    def _series(self, family: Family, now: int) -> Iterator[Series]:
        if family.name == RESOURCE_FAMILY and family.type == "info":
            return iter(())
        if family.type == "histogram":
            return self._histograms(family, now)
        if family.type == "counter":
            return self._counters(family, now)
        return _gauges(family, now)

    def _counters(self, family: Family, now: int) -> Iterator[Series]:
        for line, (name, labels, key, value) in enumerate(_samples(family)):
            if isfinite(value):
                mark = self._mark(key, (value,), now)
                exemplars = _sent([family.exemplars.get(line)], mark.start, now)
                point = NumberDataPoint(
                    dict(labels), mark.start, now, value - mark.values[0], exemplars
                )
                yield Series(family, name, key, (value,), point)

    def _histograms(self, family: Family, now: int) -> Iterator[Series]:
        bounds: list[float] = []
        totals: list[float] = []
        exemplars: list[Exemplar | None] = []
        for line, (name, labels, key, value) in enumerate(_samples(family)):
            if name.endswith("_bucket"):
                bound = float(dict(labels)["le"])
                if bounds and bound <= bounds[-1]:
                    bounds, totals, exemplars = [], [], []
                bounds.append(bound)
                exemplars.append(family.exemplars.get(line))
                totals.append(value)
            elif name.endswith("_sum"):
                if bounds and all(map(isfinite, totals)):
                    values = (*map(sub, totals, (0.0, *totals)), value)
                    point = self._histogram(labels, key, bounds, values, now, exemplars)
                    yield Series(family, family.name, key, values, point)
                bounds, totals, exemplars = [], [], []

    def _histogram(
        self,
        labels: Labels,
        key: str,
        bounds: list[float],
        values: Numbers,
        now: int,
        exemplars: list[Exemplar | None],
    ) -> HistogramDataPoint:
        mark = self._mark(key, values, now)
        *counts, total = map(sub, values, mark.values)
        return HistogramDataPoint(
            dict(labels), mark.start, now,
            count=int(sum(counts)), sum=total, bucket_counts=list(map(int, counts)),
            explicit_bounds=bounds[:-1], min=None, max=None,  # type: ignore[arg-type]
            exemplars=_sent(exemplars, mark.start, now),
        )  # fmt: skip

    def _mark(self, key: str, values: Numbers, now: int) -> Mark:
        """Return the start of a series, at most ``now``: the clock may have been set back."""
        mark = self._continuity.mark(key, values)
        counted = mark.values if self._continuity.delta else (0.0,) * len(values)
        return Mark(min(mark.start, now), counted)

    def _batch(self, some: list[Series]) -> Batch:
        by_scope: dict[InstrumentationScope, list[Series]] = {}
        for series in some:
            by_scope.setdefault(self._take_scope(series.point), []).append(series)
        scopes = [
            ScopeMetrics(scope, list(self._metrics(members)), "")
            for scope, members in by_scope.items()
        ]
        values = {series.key: series.values for series in some}
        return Batch(MetricsData([ResourceMetrics(self._resource, scopes, "")]), values)

    def _take_scope(self, point: Point) -> InstrumentationScope:
        """Remove the labels of the scope from a point, and return the scope."""
        attributes: dict[str, Any] = point.attributes  # type: ignore[assignment]
        name = attributes.pop(SCOPE_NAME, None)
        version = attributes.pop(SCOPE_VERSION, None)
        return self._scope if name is None else InstrumentationScope(name, version)

    def _metrics(self, some: list[Series]) -> Iterator[Metric]:
        for name, members in groupby(some, key=lambda series: series.metric):
            yield self._metric(name, list(members))

    def _metric(self, name: str, members: list[Series]) -> Metric:
        family = members[0].family
        points: list[Any] = [series.point for series in members]
        data: Sum | Gauge | Histogram = Gauge(points)
        if family.type == "counter":
            data = Sum(points, self._temporality, is_monotonic=True)
        elif family.type == "histogram":
            data = Histogram(points, self._temporality)
        return Metric(name, family.documentation, _unit(name), data)


def _gauges(family: Family, now: int) -> Iterator[Series]:
    """Yield the series of a family as gauges.

    The SDK has no summary: its count and sum are gauges with their names.
    """
    # Each part of a summary is a metric of its own.
    for name, labels, key, value in sorted(_samples(family), key=itemgetter(0)):
        point = NumberDataPoint(dict(labels), None, now, value)  # type: ignore[arg-type]
        yield Series(family, name, key, (value,), point)


def _sent(exemplars: Iterable[Exemplar | None], start: int, now: int) -> list[SentExemplar]:
    """Return the exemplars of a point as they are sent.

    Those outside of its interval are left out (OpenTelemetry Metrics SDK, "Exemplar").

    Args:
        exemplars: the exemplars, ``None`` for a bucket without one.
        start: the start of the point, in nanoseconds since the epoch.
        now: the end of the point.
    """
    found = [_exemplar(each, int(each.time * 1e9)) for each in exemplars if each and each.time]
    return [each for each in found if start <= each.time_unix_nano <= now]


def _exemplar(exemplar: Exemplar, time: int) -> SentExemplar:
    """Return an exemplar, with labels as ids where they are ids (OpenTelemetry's Prometheus and
    OpenMetrics Compatibility, "Exemplars")."""
    labels: dict[str, str] = dict(exemplar.labels)
    trace_id, span_id = labels.get("trace_id", ""), labels.get("span_id", "")
    if not (TRACE_ID.fullmatch(trace_id) and SPAN_ID.fullmatch(span_id)):
        return SentExemplar(labels, exemplar.value, time)
    others = {name: labels[name] for name in labels.keys() - {"trace_id", "span_id"}}
    return SentExemplar(others, exemplar.value, time, int(span_id, 16), int(trace_id, 16))


def _samples(family: Family) -> Iterator[tuple[str, Labels, str, float]]:
    return zip(family.names, family.labels, family.prefixes, family.values, strict=True)


def _unit(name: str) -> str:
    name = name.removesuffix("_total")
    return next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")
