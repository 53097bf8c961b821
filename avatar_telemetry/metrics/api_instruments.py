"""Instruments of the OpenTelemetry API that write into the mapped store. None of them raises."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from math import inf, isfinite, nan
from typing import TYPE_CHECKING, Any, ClassVar

from opentelemetry.metrics import (
    CallbackOptions,
    CallbackT,
    Counter,
    Histogram,
    ObservableCounter,
    ObservableGauge,
    ObservableUpDownCounter,
    Observation,
    UpDownCounter,
)

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry._base.otel_private import Gauge
from avatar_telemetry.metrics.api_names import Type, label_values
from avatar_telemetry.metrics.api_series import (
    MAX_SERIES,
    Labels,
    Series,
    StoredMetric,
)
from avatar_telemetry.metrics.mapped import Book

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util.types import Attributes

# Attribute sets in the cache of one instrument; each order of the attributes is an entry.
MAX_RESOLVED = 2 * MAX_SERIES
MAX_WARNINGS = 1000
CACHED_TYPES = frozenset({str, int, bool, float})

BAD_AMOUNT = "metric %s: a measurement was ignored because it is %s"
BAD_ATTRIBUTES = "metric %s: attributes were ignored because they are not a mapping"
BAD_CALLBACK = "metric %s: a callback failed"
FULL = (
    f"metric %s has {MAX_SERIES} attribute sets: further ones are recorded together with the"
    " label otel_metric_overflow; use attributes with few values"
)


class Recorder:
    """The store, guard and warnings that all instruments of a process share.

    Args:
        book: the book that holds the values.
        guard: the guard that counts failures.
    """

    def __init__(self, book: Book, guard: Guard) -> None:
        self.book = book
        self.guard = guard
        self._warned: set[tuple[str, str]] = set()

    def warn(self, message: str, name: str, *args: object, exc_info: bool = False) -> None:
        """Log a misuse of the API, once for each metric.

        Args:
            message: the text, with ``%`` placeholders for the name and the arguments.
            name: the name of the metric.
            args: the arguments of the message.
            exc_info: true to add the traceback of the exception that is being handled.
        """
        key = (message, str(name))
        if key not in self._warned and len(self._warned) < MAX_WARNINGS:
            self._warned.add(key)
            LOGGER.warning(message, name, *args, exc_info=exc_info)


class Instrument:
    """Base of all instruments: find the series of an attribute set.

    Args:
        recorder: the recorder that all instruments share.
        metric: the metric to write.
        scope: the labels of the instrumentation scope.
    """

    type: ClassVar[Type]
    prefix: ClassVar[str]
    min_amount: ClassVar[float] = 0.0
    """The smallest amount that is recorded."""

    def __init__(self, recorder: Recorder, metric: StoredMetric, scope: Mapping[str, str]) -> None:
        self._book = recorder.book
        self._guard = recorder.guard
        self._warn = recorder.warn
        self.metric = metric
        self._scope = scope
        self._resolved: dict[Any, Series] = {}

    def _record(self, amount: float, attributes: Attributes) -> None:
        """Record a measurement. Never raises."""
        try:
            if self._accepts(amount):
                series = self._series(attributes)
                with self._book.lock:
                    self._write(series, float(amount))
        except Exception:  # noqa: BLE001 - an invalid argument must not fail in the application
            self._guard.failed("meters")

    def _write(self, series: Series, amount: float) -> None:
        """Write an amount. Called with the lock of the book held."""
        series.values[0].add(amount)

    def _accepts(self, amount: float) -> bool:
        try:
            if isfinite(amount) and amount >= self.min_amount:
                return True
            reason = "negative" if isfinite(amount) else "not finite"
        except (TypeError, ValueError, OverflowError):
            reason = "not a number"
        self._warn(BAD_AMOUNT, self.metric.name, reason)
        return False

    def _series(self, attributes: Attributes) -> Series:
        key: Any = ()
        try:
            if attributes:
                # Values of different types can be equal, such as 1 and True.
                key = (tuple(attributes.items()), tuple(map(type, attributes.values())))
            series = self._resolved.get(key)
        except (AttributeError, TypeError):
            key = series = None  # not a mapping, or one with an unhashable value
        return series or self._resolve(attributes, key)

    def _resolve(self, attributes: Attributes, key: Any) -> Series:
        if attributes and not isinstance(attributes, Mapping):
            self._warn(BAD_ATTRIBUTES, self.metric.name)
            attributes = None
        series = self.metric.series(label_values(attributes or {}), self._scope)
        if self.metric.is_full:
            self._warn(FULL, self.metric.name)
        is_simple = key is not None and (not key or CACHED_TYPES.issuperset(key[1]))
        if is_simple and len(self._resolved) < MAX_RESOLVED:
            self._resolved[key] = series
        return series


class StoredCounter(Instrument, Counter):
    """A counter, summed over all present and past processes."""

    type = "counter"
    prefix = "counter"

    def add(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """See the API."""
        self._record(amount, attributes)


class StoredUpDownCounter(Instrument, UpDownCounter):
    """An up-down counter: a gauge, summed over the living processes."""

    type = "updowncounter"
    prefix = "gauge_livesum"
    min_amount = -inf

    def add(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """See the API."""
        self._record(amount, attributes)


class StoredHistogram(Instrument, Histogram):
    """A histogram with explicit buckets, summed over all present and past processes."""

    type = "histogram"
    prefix = "histogram"

    def record(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """See the API."""
        self._record(amount, attributes)

    def _write(self, series: Series, amount: float) -> None:
        total, *_ = series.values
        total.add(amount)
        series.values[1 + bisect_left(self.metric.bounds, amount)].add(1.0)


class StoredGauge(Instrument, Gauge):
    """A gauge with the value that any process set last."""

    type = "gauge"
    prefix = "gauge_mostrecent"
    min_amount = -inf

    def set(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        """See the API."""
        self._record(amount, attributes)

    def _write(self, series: Series, amount: float) -> None:
        series.values[0].set(amount, time.time())


Observe = Callable[[CallbackOptions], Iterable[Observation]]


class Observed(Instrument):
    """Base of observable instruments, whose values the observing process writes.

    Args:
        recorder: the recorder that all instruments share.
        metric: the metric to write.
        scope: the labels of the instrumentation scope.
    """

    prefix = "gauge_mostrecent"
    min_amount = -inf
    is_sum: ClassVar[bool] = True
    missing_value: ClassVar[float]
    """The value of an attribute set that is no longer reported."""

    def __init__(self, recorder: Recorder, metric: StoredMetric, scope: Mapping[str, str]) -> None:
        super().__init__(recorder, metric, scope)
        self._callbacks: list[Observe] = []
        self._stored: dict[Labels, float] = {}
        self._last: dict[Series, float] = {}

    def add_callbacks(self, callbacks: Iterable[CallbackT]) -> None:
        """Add callbacks. An instrument that is created again keeps its first ones."""
        if self._callbacks:
            return
        for callback in callbacks:
            if isinstance(callback, Generator):
                with self._guard.at("meters"), suppress(StopIteration):
                    next(callback)  # to its first yield
                    self._callbacks.append(callback.send)
            else:
                self._callbacks.append(callback)

    def take_over(self, stored: dict[Labels, float]) -> None:
        """Continue the observations of another process.

        Args:
            stored: the sum of each series over all processes.
        """
        self._stored = stored
        self._last = {}

    def observe(self, timeout: float) -> None:
        """Call the callbacks and record what they report. Never raises.

        Args:
            timeout: the seconds that the callbacks may take.
        """
        with self._guard.at("meters"):
            reported, is_complete = self._call(CallbackOptions(timeout * 1000))
            with self._book.lock:
                for series, amount in reported.items():
                    self._write(series, amount)
            if is_complete:
                self._reset_missing(reported.keys())
            self._last.update(reported)

    def _call(self, options: CallbackOptions) -> tuple[dict[Series, float], bool]:
        """Return the reported values, and whether no callback failed."""
        reported: dict[Series, float] = {}
        is_complete = True
        for callback in list(self._callbacks):
            try:
                for observation in callback(options) or ():
                    if self._accepts(observation.value):
                        series = self._series(observation.attributes)
                        before = reported.get(series, 0.0) if self.is_sum else 0.0
                        reported[series] = before + float(observation.value)
            except StopIteration:
                self._callbacks.remove(callback)  # the generator has ended
            except Exception:  # noqa: BLE001 - logged once, and called again
                is_complete = False
                self._warn(BAD_CALLBACK, self.metric.name, exc_info=True)
        return reported, is_complete

    def _write(self, series: Series, amount: float) -> None:
        series.values[0].set(amount, time.time())

    def _reset_missing(self, reported: Iterable[Series]) -> None:
        """Overwrite the series of this or an earlier process that are no longer reported."""
        scope = self._scope.items()
        stored, self._stored = self._stored, {}
        for labels, value in stored.items():
            if scope <= labels and value == value:
                own = {name: value for name, value in labels if name not in self._scope}
                self._last.setdefault(self.metric.series(own, self._scope), 0.0)
        with self._book.lock:
            for series in self._last.keys() - set(reported):
                del self._last[series]
                series.values[0].set(self.missing_value, time.time())


class StoredObservableGauge(Observed, ObservableGauge):
    """A gauge whose value is observed."""

    type = "gauge"
    is_sum = False
    missing_value = nan


class StoredObservableUpDownCounter(Observed, ObservableUpDownCounter):
    """An up-down counter whose value is observed."""

    type = "updowncounter"
    missing_value = 0.0


class StoredObservableCounter(Observed, ObservableCounter):
    """A counter whose total is observed.

    Each process adds the growth of the total to its own value, so that the sum over all processes
    continues when another one observes.
    """

    type = "counter"
    prefix = "counter"
    min_amount = 0.0

    def _write(self, series: Series, amount: float) -> None:
        last = self._last.get(series)
        if last is None:
            growth = max(0.0, amount - self._stored.get(series.labels, 0.0))
        else:
            growth = amount - last if amount >= last else amount  # it was reset
        series.values[0].add(growth)

    def _reset_missing(self, reported: Iterable[Series]) -> None:
        """Keep a total that is no longer reported."""
