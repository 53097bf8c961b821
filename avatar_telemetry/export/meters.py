"""The OpenTelemetry API's metrics of one worker, made by libraries or by the user's code.

They are of this worker alone, so they leave under its slot; the host's own metrics are pushed by
the leader. Where nobody makes an instrument there is no thread and no export.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from opentelemetry import metrics
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    MeterProvider,
    TraceBasedExemplarFilter,
)
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.resource import worker_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.metric_exporters import aggregation, metric_exporters, temporality
from avatar_telemetry.guard import Guard

EXEMPLAR_FILTERS: Mapping[str, Callable[[], ExemplarFilter]] = {
    "trace_based": TraceBasedExemplarFilter,
    "always_on": AlwaysOnExemplarFilter,
    "always_off": AlwaysOffExemplarFilter,
}


class WorkerMeterProvider(MeterProvider):
    """A provider that starts to export when it is first asked for a meter.

    Args:
        resource: of the worker.
        settings: of the exporters.
        guard: told of failures.
    """

    def __init__(self, resource: Resource, settings: Settings, guard: Guard) -> None:
        self._interval = settings.metric_interval / 1000
        self._timeout = float(settings.metric_timeout)
        self._guard = guard
        self._stopped = threading.Event()
        self._start_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        # Without an interval the reader has no thread of its own. That one would start again in
        # every child that the application forks, and speak there in this worker's name.
        self._reader = PeriodicExportingMetricReader(
            _LateExporter(settings, self._timeout / 1000), export_interval_millis=math.inf
        )
        # Not by the variable: the SDK raises where it is bad.
        chosen = EXEMPLAR_FILTERS[settings.exemplar_filter]()
        super().__init__([self._reader], resource, chosen, shutdown_on_exit=False)

    def get_meter(self, *args: Any, **options: Any) -> metrics.Meter:
        """See the API."""
        with self._start_lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(
                    target=self._run, name="avatar-telemetry-meters", daemon=True
                )
                self._thread.start()
        return super().get_meter(*args, **options)

    def stop(self) -> None:
        """Export once more; does not wait."""
        self._stopped.set()

    def wait(self, deadline: float) -> None:
        """Wait until that is done, or until a time of the monotonic clock."""
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        while not self._stopped.wait(self._interval):
            self._export()
        self._export()

    def _export(self) -> None:
        with self._guard.at("meters"):
            self._reader.collect(timeout_millis=self._timeout)


class _LateExporter(MetricExporter):
    """The exporters of the settings, made when there is something to export."""

    def __init__(self, settings: Settings, timeout: float) -> None:
        super().__init__(
            preferred_temporality=temporality(settings), preferred_aggregation=aggregation(settings)
        )
        self._make = partial(metric_exporters, settings, timeout)
        self._made: list[MetricExporter] = []

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **options: Any
    ) -> MetricExportResult:
        self._made = self._made or self._make()
        results = [each.export(metrics_data, timeout_millis) for each in self._made]
        arrived = all(result is MetricExportResult.SUCCESS for result in results)
        return MetricExportResult.SUCCESS if arrived else MetricExportResult.FAILURE

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Nothing is kept back."""
        return True

    def shutdown(self, timeout_millis: float = 30_000, **options: Any) -> None:
        for each in self._made:
            each.shutdown(timeout_millis=timeout_millis)


def start_meters(settings: Settings, slot: int, guard: Guard) -> WorkerMeterProvider:
    """Make the worker's provider, and the global one of it where the application has set none.

    Args:
        settings: of the exporters.
        slot: of this worker.
        guard: told of failures.
    """
    resource = Resource.create(worker_attributes(settings, slot))
    provider = WorkerMeterProvider(resource, settings, guard)
    if not _is_set(metrics.get_meter_provider()):
        metrics.set_meter_provider(provider)
    return provider


def _is_set(provider: metrics.MeterProvider) -> bool:
    """Whether somebody has set it; else it is the API's stand-in, which has no public name."""
    ours = type(provider).__module__.startswith(metrics.__name__)
    return not ours or isinstance(provider, metrics.NoOpMeterProvider)
