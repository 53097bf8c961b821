"""Metrics of the OpenTelemetry API, written into the mapped store.

The provider implements the API only: a worker does not need the SDK's metrics. A measurement is on
the page at once, merged over all workers, and is kept when a worker is killed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import inf, isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from opentelemetry import metrics
from opentelemetry.metrics import (
    CallbackT,
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    NoOpMeter,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    UpDownCounter,
)

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.otel_private import Gauge
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.metrics.api_instruments import (
    Instrument,
    Observed,
    Recorder,
    StoredCounter,
    StoredGauge,
    StoredHistogram,
    StoredObservableCounter,
    StoredObservableGauge,
    StoredObservableUpDownCounter,
    StoredUpDownCounter,
)
from avatar_telemetry.metrics.api_names import label_values, metric_name
from avatar_telemetry.metrics.api_observers import Observers
from avatar_telemetry.metrics.api_series import OVERFLOW, StoredMetric
from avatar_telemetry.metrics.mapped import OUR_METRICS, Book

if TYPE_CHECKING:
    from opentelemetry.util.types import Attributes

DEFAULT_BOUNDS = (
    0.0, 5.0, 10.0, 25.0, 50.0, 75.0, 100.0, 250.0, 500.0, 750.0, 1000.0, 2500.0, 5000.0, 7500.0,
    10000.0,
)  # fmt: skip
"""OpenTelemetry specification, Metrics SDK, "Explicit Bucket Histogram Aggregation"."""
# OpenTelemetry specification, Metrics API, "Instrument name syntax" and "Instrument unit".
NAME = re.compile(r"[a-zA-Z][-_./a-zA-Z0-9]{0,254}")
UNIT = re.compile(r"[\x00-\x7F]{0,63}")
RESERVED = OUR_METRICS | {"target", "target_info"}
MAX_SCOPES = 200
"""Instrumentation scopes of a process; their names and attributes are labels of every series."""

REFUSED_NAME = "metric %r is not recorded: the OpenTelemetry API does not allow its name or unit"
REFUSED_KIND = "metric %s is not recorded: another kind of metric has this name"
REFUSED_OWN = "metric %s is not recorded: avatar_telemetry has a metric of this name"
DUPLICATE = (
    "metric %s was created again with another unit, description or buckets: the first description"
    " and buckets are used"
)
MANY_SCOPES = (
    f"the OpenTelemetry API has {MAX_SCOPES} meters: instruments of further ones are recorded"
    " together with the label %s; create a meter once for each library"
)
BAD_BOUNDS = "metric %s: its bucket boundaries are not ascending numbers: the default is used"

T = TypeVar("T", bound=Instrument)


class _Declaration(NamedTuple):
    """The arguments of the creation of an instrument."""

    kind: type
    unit: str
    description: str
    bounds: tuple[float, ...]


class StoredMeter(Meter):
    """The instruments of one instrumentation scope.

    Args:
        provider: the provider.
        name: the name of the scope.
        version: the version of the scope.
        schema_url: the schema URL of the scope.
        scope: the labels of the scope.
    """

    def __init__(
        self,
        provider: StoredMeterProvider,
        name: str,
        version: str | None,
        schema_url: str | None,
        scope: Mapping[str, str],
    ) -> None:
        super().__init__(name, version, schema_url)
        self._provider = provider
        self._scope = scope
        self._instruments: dict[tuple[str, str], Instrument] = {}
        self._declared: dict[str, _Declaration] = {}

    def create_counter(self, name: str, unit: str = "", description: str = "") -> Counter:
        """See the API."""
        made = self._create(StoredCounter, name, unit, description)
        return made or _refused().create_counter("_")

    def create_up_down_counter(
        self, name: str, unit: str = "", description: str = ""
    ) -> UpDownCounter:
        """See the API."""
        made = self._create(StoredUpDownCounter, name, unit, description)
        return made or _refused().create_up_down_counter("_")

    def create_histogram(
        self,
        name: str,
        unit: str = "",
        description: str = "",
        *,
        explicit_bucket_boundaries_advisory: Sequence[float] | None = None,
    ) -> Histogram:
        """See the API."""
        bounds = self._provider.bounds(name, explicit_bucket_boundaries_advisory)
        made = self._create(StoredHistogram, name, unit, description, bounds)
        return made or _refused().create_histogram("_")

    def create_gauge(self, name: str, unit: str = "", description: str = "") -> Gauge:
        """See the API."""
        made = self._create(StoredGauge, name, unit, description)
        return made or _refused().create_gauge("_")

    def create_observable_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> ObservableCounter:
        """See the API."""
        made = self._create(StoredObservableCounter, name, unit, description)
        return self._observe(made, callbacks) or _refused().create_observable_counter("_")

    def create_observable_up_down_counter(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> ObservableUpDownCounter:
        """See the API."""
        made = self._create(StoredObservableUpDownCounter, name, unit, description)
        return self._observe(made, callbacks) or _refused().create_observable_up_down_counter("_")

    def create_observable_gauge(
        self,
        name: str,
        callbacks: Sequence[CallbackT] | None = None,
        unit: str = "",
        description: str = "",
    ) -> ObservableGauge:
        """See the API."""
        made = self._create(StoredObservableGauge, name, unit, description)
        return self._observe(made, callbacks) or _refused().create_observable_gauge("_")

    def _create(
        self,
        kind: type[T],
        name: str,
        unit: str,
        description: str,
        bounds: tuple[float, ...] = (),
    ) -> T | None:
        """Find or create an instrument; return ``None`` where it is refused. Never raises."""
        made: T | None = None
        with self._provider.recorder.guard.at("meters"):
            declaration = _Declaration(kind, unit or "", description or "", bounds)
            made = self._make(kind, name, declaration)
        return made

    def _make(self, kind: type[T], name: str, declaration: _Declaration) -> T | None:
        if not (NAME.fullmatch(name) and UNIT.fullmatch(declaration.unit)):
            self._provider.recorder.warn(REFUSED_NAME, name)
            return None
        # Names are case-insensitive, and the first declaration is used.
        first = self._declared.setdefault(name.lower(), declaration)
        if first.kind is not kind:
            self._provider.recorder.warn(REFUSED_KIND, name)
            return None
        if first != declaration:
            self._provider.recorder.warn(DUPLICATE, name)
        key = (name.lower(), declaration.unit)
        made = self._instruments.get(key)
        if made is None:
            metric = self._provider.metric(name, declaration)
            if metric is None:
                return None
            made = self._instruments.setdefault(
                key, kind(self._provider.recorder, metric, self._scope)
            )
        return made  # type: ignore[return-value]

    def _observe(self, made: T | None, callbacks: Sequence[CallbackT] | None) -> T | None:
        if isinstance(made, Observed):
            with self._provider.recorder.guard.at("meters"):
                made.add_callbacks(callbacks or ())
                with self._provider.recorder.book.lock:
                    self._provider.observers.add(made)
        return made


class StoredMeterProvider(MeterProvider):
    """Meters whose instruments write into a book.

    Args:
        book: the book that holds the values.
        guard: the guard that counts failures.
    """

    def __init__(self, book: Book, guard: Guard) -> None:
        self.recorder = Recorder(book, guard)
        self.observers = Observers(guard)
        self._meters: dict[object, StoredMeter] = {}
        self._metrics: dict[str, StoredMetric] = {}

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Meter:
        """See the API. Never raises."""
        with self.recorder.guard.at("meters"):
            of_scope = {"name": name, "version": version, **(attributes or {})}
            scope = label_values({f"otel.scope.{each}": of_scope[each] for each in of_scope})
            key: tuple[object, str | None] = (frozenset(scope.items()), schema_url)
            if key not in self._meters and len(self._meters) >= MAX_SCOPES:
                self.recorder.warn(MANY_SCOPES, *OVERFLOW)
                key, scope = (None, None), OVERFLOW
            made = StoredMeter(self, str(name or ""), version, schema_url, scope)
            return self._meters.setdefault(key, made)
        return _refused()

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Do nothing: all recorded values are in the store."""
        return True

    def shutdown(self, timeout_millis: float = 30_000) -> None:
        """Do nothing: no value waits in this process."""

    def forget(self) -> None:
        """Forget the parent's observers, in a forked child; the book replaces the values."""
        self.observers.forget()

    def metric(self, name: str, declaration: _Declaration) -> StoredMetric | None:
        """Find or create the metric of an instrument; return ``None`` where its name is taken."""
        kind: type[Instrument] = declaration.kind
        own = metric_name(name, declaration.unit, kind.type)
        if own in RESERVED or own.removesuffix("_total") in RESERVED:
            self.recorder.warn(REFUSED_OWN, own)
            return None
        made = StoredMetric(
            self.recorder.book, own, kind.prefix, declaration.description, declaration.bounds
        )
        metric = self._metrics.setdefault(own, made)
        if metric.prefix != kind.prefix:
            self.recorder.warn(REFUSED_KIND, own)
            return None
        if (metric.documentation, metric.bounds) != (made.documentation, made.bounds):
            self.recorder.warn(DUPLICATE, own)
        return metric

    def bounds(self, name: str, advised: Sequence[float] | None) -> tuple[float, ...]:
        """Return the bucket bounds of a histogram, the default where the advised are invalid."""
        if advised is None:
            return DEFAULT_BOUNDS
        try:
            bounds = tuple(float(bound) for bound in advised if bound != inf)
        except (TypeError, ValueError, OverflowError):
            bounds = (nan,)
        if not all(map(isfinite, bounds)) or any(low >= high for low, high in pairwise(bounds)):
            self.recorder.warn(BAD_BOUNDS, name)
            return DEFAULT_BOUNDS
        return bounds


def start_meters(book: Book, guard: Guard, settings: Settings, folder: Path) -> StoredMeterProvider:
    """Record the metrics of the OpenTelemetry API in this process.

    The provider becomes the global one unless the application has set its own. It exists as long as
    the process: a forked child that serves uses its parent's.

    Args:
        book: the book that holds the values.
        guard: the guard that counts failures.
        settings: the settings with the interval of observations.
        folder: the runtime directory.
    """
    provider = metrics.get_meter_provider()
    if not isinstance(provider, StoredMeterProvider) or provider.recorder.book is not book:
        is_free = _is_placeholder(provider)
        provider = StoredMeterProvider(book, guard)
        os.register_at_fork(after_in_child=provider.forget)
        if is_free:
            metrics.set_meter_provider(provider)
    interval, timeout = settings.metric_interval / 1000, settings.metric_timeout / 1000
    provider.observers.start(folder, interval, timeout)
    return provider


def _is_placeholder(provider: MeterProvider) -> bool:
    """Return whether a provider is the API's placeholder, whose class has no public name."""
    is_of_api = type(provider).__module__.startswith(metrics.__name__)
    return is_of_api and not isinstance(provider, metrics.NoOpMeterProvider)


def _refused() -> Meter:
    """Return a meter whose instruments record nothing."""
    return NoOpMeter("refused")
