"""Write a request into the instruments.

An instrument is a declaration; :class:`Metrics` turns declarations and label values into cells of
mapped memory, once for each combination, and a finished request into one batch of stores.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from avatar_telemetry.http.labels import OTHER, SWITCHED
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
# Combinations of label values that are kept resolved. A client chooses some (method, size, suffix),
# so this bounds what it can make us remember; the series themselves have their own ceiling.
MAX_PLANS = 4096
TEND_INTERVAL = 1.0


class HistogramCells:
    """The cells of one series of a histogram.

    Args:
        bounds: upper bounds, ascending, without infinity.
        buckets: a cell for each bound and one for infinity; they are not cumulative.
        total: the sum of what was observed.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: tuple[float, ...], buckets: list[Cell], total: Cell) -> None:
        self.bounds = bounds
        self.buckets = buckets
        self.total = total

    def observe(self, value: float) -> None:
        """Count a value. Call it with the lock of the book held."""
        self.add(bisect_left(self.bounds, value), value)

    def add(self, bucket: int, value: float) -> None:
        """Count a value whose bucket is known. Call it with the lock of the book held."""
        doubles, index = self.buckets[bucket]
        doubles[index] += 1.0
        doubles, index = self.total
        doubles[index] += value


_NOWHERE: Cell = (memoryview(array("d", [0.0])), 0)
UNRECORDED = HistogramCells(DURATION_BUCKETS, [_NOWHERE] * (len(DURATION_BUCKETS) + 1), _NOWHERE)
"""Cells that are on no page."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells that one kind of finished request is written into.

    Args:
        labels: the label values of the kind.
        files: stands for the files that the cells are in, until there are others.
        counters: the cells that count the request.
        duration: the histogram of durations.
        until_first_byte: the histograms of the time until the first byte.
        shared: counts by hand, which any thread may make, are written into some of the cells.
    """

    labels: tuple[str, ...]
    files: object
    counters: tuple[Cell, ...]
    duration: HistogramCells
    until_first_byte: tuple[HistogramCells, ...]
    shared: bool


class Metrics:
    """Writes what happens into the instruments.

    Args:
        book: where values live.
        max_series: ceiling on the series of this process, from which on new ones are folded.
        tend: called at most once a second before a request, to see that the files are still there.
    """

    def __init__(
        self, book: Book, max_series: int, tend: Callable[[], None] = lambda: None
    ) -> None:
        self._book = book
        self._tend = tend
        self._tend_at = 0.0
        self._max_series = max_series
        self._derived: list[MutableMapping[Any, Any]] = []
        self.renew()

    def renew(self) -> None:
        """Find all cells anew: the book writes into other files from now on.

        Another thread may do this while one waits for the lock of the book: a cell that was found
        before that is a cell of a removed file, so all are found with the lock held.
        """
        for each in self._derived:
            each.clear()
        self._files = object()
        self._plans: dict[tuple[str, ...], Plan] = {}
        self._pairs: dict[tuple[str, tuple[str, ...]], tuple[Cell, HistogramCells]] = {}
        self._counters: dict[tuple[str, ...], Cell] = {}
        self._histograms: dict[tuple[str, ...], HistogramCells] = {}
        self._in_progress = self._counter(IN_PROGRESS)
        self._store_errors = self._counter(INTERNAL_ERRORS, "store")

    def drop_with_files(self, derived: MutableMapping[Any, Any]) -> None:
        """Clear a mapping that holds plans whenever the book writes into other files.

        Args:
            derived: holds plans, or what follows from them.
        """
        self._derived.append(derived)

    def started(self, now: float, alone: bool = False) -> None:
        """Count a request that begins.

        Args:
            now: seconds of a clock that never goes back.
            alone: no other thread of this process serves requests.
        """
        if now >= self._tend_at:
            self._tend_at = now + TEND_INTERVAL
            self._tend()
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
        """A request that began cannot be recorded."""
        with self._book.lock:
            doubles, index = self._in_progress
            doubles[index] -= 1.0

    def plan(self, labels: tuple[str, ...]) -> Plan:
        """The cells of one combination of labels.

        Args:
            labels: method, status code, path, size, format, cache (``hit``, ``miss`` or empty) and
                source, all from closed sets; size is empty where no avatar was requested.
        """
        return self._plans.get(labels) or self._plan(labels)

    def finished(self, plan: Plan, duration: float, first_byte: float, alone: bool = False) -> None:
        """Count a request that ended.

        Without a lock where only one thread serves requests and nothing else is written into the
        cells. Greenlets of one thread switch in I/O alone, and here is none; a signal handler that
        counts comes between two stores or, with the lock as without it, into one.

        Args:
            plan: the cells of its labels.
            duration: seconds.
            first_byte: seconds.
            alone: no other thread of this process serves requests.
        """
        # A "with" costs more than twice as much as the two calls.
        lock = None if alone and not plan.shared else self._book.lock
        if lock is not None:
            lock.acquire()
        try:
            if plan.files is not self._files:
                plan = self.plan(plan.labels)
            in_progress, at = self._in_progress
            for doubles, index in plan.counters:
                doubles[index] += 1.0
            # All histograms have the same bounds, and most requests one value for all.
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
        finally:
            if lock is not None:
                lock.release()

    def count(self, instrument: Instrument, *labels: str) -> None:
        """Add one to a counter."""
        self.add(instrument, 1.0, *labels)

    def add(self, instrument: Instrument, amount: float, *labels: str) -> None:
        """Add to a counter."""
        with self._book.lock:
            doubles, index = self._counter(instrument, *labels)
            doubles[index] += amount

    def observe(self, instrument: Instrument, value: float, *labels: str) -> None:
        """Put a value into a histogram."""
        with self._book.lock:
            self._histogram(instrument, *labels).observe(value)

    def timed(
        self, counter: Instrument, histogram: Instrument, seconds: float, labels: tuple[str, ...]
    ) -> None:
        """Add one to a counter and put a duration into the histogram beside it, at once.

        Args:
            counter: with the same labels as the histogram.
            histogram: of seconds.
            seconds: how long it took.
            labels: values, all from closed sets.
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
        """Count a failure of ours. The one of the store itself needs no new place in it."""
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
        # After a switch of protocols they are those of a session, and no response's.
        is_response = status != SWITCHED
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
                cells = HistogramCells(instrument.buckets, buckets, total)
                self._histograms[key] = cells
        return cells

    def _admit(self, instrument: Instrument, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The label values; beyond the ceiling, ``other`` for what a client chooses of a new
        series: first for all of these labels but the last, from a quarter more on for that, too.

        What the application decides stays: its statuses are few, and a failure must be seen.
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
