"""Record requests in the instruments.

An instrument is a declaration; :class:`Metrics` resolves declarations and label values to cells of
mapped memory, once for each combination, and writes a finished request in one batch of stores.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from avatar_telemetry.http.labels import OTHER, SWITCHED
from avatar_telemetry.metrics.exemplars import NO_PLACE, Place, pack_trace
from avatar_telemetry.metrics.family import format_bound
from avatar_telemetry.metrics.instruments import (
    AVATAR_REQUESTS,
    CACHE_HITS,
    CACHE_MISSES,
    DURATION,
    DURATION_BUCKETS,
    FIRST_BYTE,
    GENERATED,
    GENERATION,
    IN_PROGRESS,
    INTERNAL_ERRORS,
    REQUESTS,
    SERIES_REFUSED,
    Instrument,
)
from avatar_telemetry.metrics.mapped import Book, Cell, encode_key

INFINITE = float("inf")
# Cached combinations of label values. A client chooses some (method, size, suffix), so the cache
# has a bound; the series have their own ceiling.
MAX_PLANS = 4096
CHECK_INTERVAL = 1.0

Measurement = tuple[Instrument, float, tuple[str, ...]]
"""A measurement of a request before its end: the instrument, the value, the label values."""
Trace = tuple[bytes, bytes, int]
"""The trace id, the span id, and the end of a span in nanoseconds since the epoch."""


class HistogramCells:
    """The cells of one series of a histogram.

    Args:
        bounds: the upper bounds, ascending, without infinity.
        buckets: the cells of the bounds and of infinity; they are not cumulative.
        total: the cell of the sum.
        series: the instrument and the label values; ``None`` where values are not recorded.

    Attributes:
        places: the places of the exemplars of the buckets, as far as they are known.
    """

    __slots__ = ("bounds", "buckets", "places", "series", "total")

    def __init__(
        self,
        bounds: tuple[float, ...],
        buckets: list[Cell],
        total: Cell,
        series: tuple[Instrument, tuple[str, ...]] | None = None,
    ) -> None:
        self.bounds = bounds
        self.buckets = buckets
        self.total = total
        self.series = series
        self.places: list[Place | None] = [None] * len(buckets)

    def observe(self, value: float) -> None:
        """Count a value. Call it with the lock of the book held."""
        self.add(bisect_left(self.bounds, value), value)

    def add(self, bucket: int, value: float) -> None:
        """Count a value whose bucket is known. Call it with the lock of the book held."""
        doubles, index = self.buckets[bucket]
        doubles[index] += 1.0
        doubles, index = self.total
        doubles[index] += value


_UNUSED: Cell = (memoryview(array("d", [0.0])), 0)
UNRECORDED = HistogramCells(DURATION_BUCKETS, [_UNUSED] * (len(DURATION_BUCKETS) + 1), _UNUSED)
"""Cells whose values are not recorded."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells for finished requests with the same label values.

    Args:
        labels: the label values.
        files: a token for the files of the cells; it changes when the files do.
        counters: the cells that count the request.
        duration: the histogram of durations.
        until_first_byte: the histograms of the time until the first byte.
        shared: true where other threads may write into some of the cells (counts by hand).
        failures: the keys of the counters of failures, which have exemplars.
        places: the places of the exemplars of all histograms by bucket, as far as they are known.
    """

    labels: tuple[str, ...]
    files: object
    counters: tuple[Cell, ...]
    duration: HistogramCells
    until_first_byte: tuple[HistogramCells, ...]
    shared: bool
    failures: tuple[str, ...] = ()
    places: list[tuple[Place, ...] | None] = field(
        default_factory=lambda: [None] * (len(DURATION_BUCKETS) + 1)
    )


class Metrics:
    """The recorder of all instruments.

    Args:
        book: the book that holds the values.
        max_series: the ceiling on the series of this process, above which new ones are folded.
        check_files: the function to call before a request, at most once a second, to check that
            the files still exist.
    """

    def __init__(
        self, book: Book, max_series: int, check_files: Callable[[], None] = lambda: None
    ) -> None:
        self._book = book
        self._check_files = check_files
        self._check_at = 0.0
        self._max_series = max_series
        self._derived: list[MutableMapping[Any, Any]] = []
        self.renew()

    def renew(self) -> None:
        """Forget all cells, because the book writes into other files.

        Another thread may do this while one waits for the lock of the book: cells are looked up
        with the lock held, because an earlier one may be a cell of a removed file.
        """
        for each in self._derived:
            each.clear()
        self._files = object()
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._pairs: dict[tuple[str, tuple[str, ...]], tuple[Cell, HistogramCells]] = {}
        self._counters: dict[tuple[str, ...], Cell] = {}
        self._histograms: dict[tuple[str, ...], HistogramCells] = {}
        self._places: dict[str, Place] = {}
        self._in_progress = self._counter(IN_PROGRESS)
        self._store_errors = self._counter(INTERNAL_ERRORS, "store")

    def drop_with_files(self, derived: MutableMapping[Any, Any]) -> None:
        """Clear a mapping that holds plans whenever the book writes into other files.

        Args:
            derived: the mapping, which holds plans or values derived from them.
        """
        self._derived.append(derived)

    def started(self, now: float, alone: bool = False) -> None:
        """Count a request that begins.

        Args:
            now: the time of a monotonic clock, in seconds.
            alone: true where no other thread of this process serves requests.
        """
        if now >= self._check_at:
            self._check_at = now + CHECK_INTERVAL
            self._check_files()
        if alone:
            doubles, index = self._in_progress
            doubles[index] += 1.0
            return
        lock = self._book.lock
        lock.acquire()
        try:
            doubles, index = self._in_progress
            doubles[index] += 1.0
        finally:
            lock.release()

    def abandoned(self) -> None:
        """Remove a request that cannot be recorded from the requests in progress."""
        with self._book.lock:
            doubles, index = self._in_progress
            doubles[index] -= 1.0

    def plan(self, labels: tuple[str, ...]) -> Plan:
        """Return the cells of one combination of labels.

        Args:
            labels: the values of method, status code, path, size, format, cache (``hit``, ``miss``
                or empty) and source, all from closed sets; without an avatar the size is empty.
        """
        return self._plans.get(labels) or self._plan(labels)

    def finished(self, plan: Plan, duration: float, first_byte: float, alone: bool = False) -> int:
        """Count a request that ended.

        No lock is needed where only one thread serves requests and no other writes into the cells.
        Greenlets of one thread switch only in I/O, and there is none here; a signal handler may
        count between two stores, with or without the lock.

        Args:
            plan: the cells of the request's labels.
            duration: the duration, in seconds.
            first_byte: the time until the first byte, in seconds.
            alone: true where no other thread of this process serves requests.

        Returns:
            The number of the bucket of the time until the first byte.
        """
        # A "with" statement costs more than twice as much as the two calls.
        lock = None if alone and not plan.shared else self._book.lock
        if lock is not None:
            lock.acquire()
        try:
            if plan.files is not self._files:
                plan = self.plan(plan.labels)
            in_progress, at = self._in_progress
            for doubles, index in plan.counters:
                doubles[index] += 1.0
            # All histograms have the same bounds, and both values of most requests are equal.
            bucket = bisect_left(DURATION_BUCKETS, duration)
            doubles, index = plan.duration.buckets[bucket]
            doubles[index] += 1.0
            doubles, index = plan.duration.total
            doubles[index] += duration
            if first_byte != duration:
                bucket = bisect_left(DURATION_BUCKETS, first_byte)
            for cells in plan.until_first_byte:
                doubles, index = cells.buckets[bucket]
                doubles[index] += 1.0
                doubles, index = cells.total
                doubles[index] += first_byte
            in_progress[at] -= 1.0
            return bucket
        finally:
            if lock is not None:
                lock.release()

    def keep_trace(
        self,
        trace: Trace,
        plan: Plan,
        bucket: int,
        duration: float,
        first_byte: float,
        measurements: Iterable[Measurement] = (),
    ) -> None:
        """Keep the trace of a counted request as the exemplar of its buckets and failures.

        No lock is needed: a record is one store.

        Args:
            trace: the trace id, the id of the server span, and its end.
            plan: the cells of the request's labels.
            bucket: the number of the bucket of the time until the first byte.
            duration: the duration, in seconds.
            first_byte: the time until the first byte, in seconds.
            measurements: the other measurements of the request.
        """
        trace_id, span_id, time = trace
        if plan.files is not self._files:
            plan = self.plan(plan.labels)
        record = pack_trace(trace_id, span_id, first_byte, time)
        if first_byte == duration:
            for memory, where in plan.places[bucket] or self._find_places(plan, bucket):
                memory[where] = record
        else:
            for cells in plan.until_first_byte:
                memory, where = self._place(cells, bucket)
                memory[where] = record
            memory, where = self._place(plan.duration, bisect_left(DURATION_BUCKETS, duration))
            memory[where] = pack_trace(trace_id, span_id, duration, time)
        if plan.failures:
            record = pack_trace(trace_id, span_id, 1.0, time)
            for key in plan.failures:
                memory, where = self._places.get(key) or self._failure_place(key)
                memory[where] = record
        for instrument, value, labels in measurements:
            if instrument.type == "counter":
                memory, where = self._failure_place(_key(instrument, "_total", labels))
            else:
                cells = self._histogram(instrument, *labels)
                memory, where = self._place(cells, bisect_left(cells.bounds, value))
            memory[where] = pack_trace(trace_id, span_id, value, time)

    def count(self, instrument: Instrument, *labels: str) -> None:
        """Add one to a counter."""
        # Not add(): some requests count themselves by this, at their end.
        lock = self._book.lock
        lock.acquire()
        try:
            cell = self._counters.get((instrument.name, *labels))
            doubles, index = cell or self._counter(instrument, *labels)
            doubles[index] += 1.0
        finally:
            lock.release()

    def add(self, instrument: Instrument, amount: float, *labels: str) -> None:
        """Add to a counter."""
        with self._book.lock:
            doubles, index = self._counter(instrument, *labels)
            doubles[index] += amount

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """Add a value to a histogram."""
        with self._book.lock:
            self._histogram(instrument, *labels).observe(value)

    def timed(
        self, counter: Instrument, histogram: Instrument, seconds: float, labels: tuple[str, ...]
    ) -> None:
        """Add one to a counter and a duration to its histogram.

        Args:
            counter: the counter, with the same labels as the histogram.
            histogram: the histogram of seconds.
            seconds: the duration.
            labels: the label values, all from closed sets.
        """
        with self._book.lock:
            pair = self._pairs.get((counter.name, labels))
            if pair is None:
                pair = (self._counter(counter, *labels), self._histogram(histogram, *labels))
                self._pairs[counter.name, labels] = pair
            (doubles, index), cells = pair
            doubles[index] += 1.0
            cells.observe(seconds)

    def internal_error(self, where: str) -> None:
        """Count an internal error. The cell for the store's own errors exists from the start."""
        if where == "store" and hasattr(self, "_store_errors"):
            with self._book.lock:
                doubles, index = self._store_errors
                doubles[index] += 1.0
        else:
            self.count(INTERNAL_ERRORS, where)

    def _plan(self, labels: tuple[str, ...]) -> Plan:
        with self._book.lock:
            return self._make_plan(labels)

    def _make_plan(self, labels: tuple[str, ...]) -> Plan:
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        method, status, path, size, form, cache, source = labels
        counters = [self._counter(REQUESTS, method, status, path)]
        if size:
            counters.append(self._counter(AVATAR_REQUESTS, status, size, form))
        if cache:
            instrument = CACHE_HITS if cache == "hit" else CACHE_MISSES
            counters.append(self._counter(instrument, size, form))
        if source:
            counters.append(self._counter(GENERATED, size, form, source))
        # After a switch of protocols the times are those of a session, not of a response.
        is_response = status != SWITCHED
        failures: list[str] = []
        if status[:1] == "5":
            failures.append(_key(REQUESTS, "_total", (method, status, path)))
            if size:
                failures.append(_key(AVATAR_REQUESTS, "_total", (status, size, form)))
        until_first_byte = [self._histogram(FIRST_BYTE, path)] if is_response else []
        if source:
            until_first_byte.append(self._histogram(GENERATION, form, source))
        plan = self._plans[labels] = Plan(
            labels,
            self._files,
            tuple(counters),
            self._histogram(DURATION, method, status, path) if is_response else UNRECORDED,
            tuple(until_first_byte),
            shared=bool(cache or source),
            failures=tuple(failures),
        )
        return plan

    def _counter(self, instrument: Instrument, *labels: str) -> Cell:
        key = (instrument.name, *labels)
        cell = self._counters.get(key)
        if cell is None:
            with self._book.lock:
                labels = self._admit(instrument, labels)
                suffix = "_total" if instrument.type == "counter" else ""
                cell = self._counters[key] = self._cell(instrument, suffix, labels)
        return cell

    def _histogram(self, instrument: Instrument, *labels: str) -> HistogramCells:
        key = (instrument.name, *labels)
        cells = self._histograms.get(key)
        if cells is None:
            with self._book.lock:
                labels = self._admit(instrument, labels)
                total = self._cell(instrument, "_sum", labels)
                buckets = [
                    self._cell(instrument, "_bucket", labels, bound)
                    for bound in (*instrument.buckets, INFINITE)
                ]
                cells = HistogramCells(instrument.buckets, buckets, total, (instrument, labels))
                self._histograms[key] = cells
        return cells

    def _find_places(self, plan: Plan, bucket: int) -> tuple[Place, ...]:
        """Return the places of a request whose durations are in the same bucket."""
        cells = plan.duration, *plan.until_first_byte
        places = plan.places[bucket] = tuple(self._place(each, bucket) for each in cells)
        return places

    def _place(self, cells: HistogramCells, bucket: int) -> Place:
        """Return the place of the exemplar of a bucket."""
        place = cells.places[bucket]
        if place is None:
            place = NO_PLACE
            if cells.series is not None:
                instrument, labels = cells.series
                bound = (*instrument.buckets, INFINITE)[bucket]
                with self._book.lock:
                    key = _key(instrument, "_bucket", labels, bound)
                    place = self._book.exemplar_place("traces", key)
            cells.places[bucket] = place
        return place

    def _failure_place(self, key: str) -> Place:
        """Return the place of the exemplar of a counter of failures."""
        place = self._places.get(key)
        if place is None:
            with self._book.lock:
                place = self._places[key] = self._book.exemplar_place("traces", key)
        return place

    def _admit(self, instrument: Instrument, labels: tuple[str, ...]) -> tuple[str, ...]:
        """Return the label values; for a new series above the ceiling, ``other`` for the values
        that a client chooses: first for all of these labels except the last one, above one and a
        quarter of the ceiling for all.

        Values of the application are kept: it has few statuses, and a failure must be visible.
        """
        folds, excess = instrument.folds, self._book.series - self._max_series
        if not folds or excess < 0 or _is_failure(instrument, labels):
            return labels
        suffix = "_sum" if instrument.type == "histogram" else "_total"
        if self._book.knows(instrument.prefix, _key(instrument, suffix, labels)):
            return labels
        names = folds[:-1] if excess < self._max_series // 4 else folds
        folded = tuple(
            OTHER if name in names else value
            for name, value in zip(instrument.labels, labels, strict=True)
        )
        if folded != labels:
            self.count(SERIES_REFUSED, instrument.name)
        return folded

    def _cell(
        self,
        instrument: Instrument,
        suffix: str,
        labels: tuple[str, ...],
        bound: float | None = None,
    ) -> Cell:
        return self._book.cell(instrument.prefix, _key(instrument, suffix, labels, bound))


def _is_failure(instrument: Instrument, labels: tuple[str, ...]) -> bool:
    named = zip(instrument.labels, labels, strict=True)
    return any(name == "status_code" and value[:1] == "5" for name, value in named)


def _key(
    instrument: Instrument, suffix: str, labels: tuple[str, ...], bound: float | None = None
) -> str:
    pairs = dict(zip(instrument.labels, labels, strict=True))
    if bound is not None:
        pairs["le"] = format_bound(bound)
    return encode_key(instrument.name, instrument.name + suffix, pairs, instrument.documentation)
