"""The series of one OpenTelemetry metric in the mapped store."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from avatar_telemetry._base.files import open_own
from avatar_telemetry.metrics.family import format_bound
from avatar_telemetry.metrics.mapped import (
    Book,
    CorruptFileError,
    encode_key,
    read_entries,
    used_bytes,
)

MAX_SERIES = 2000
"""Attribute sets of a metric in one slot (OpenTelemetry specification, Metrics SDK, "Cardinality
limits")."""
OVERFLOW = {"otel_metric_overflow": "true"}
SUFFIXES = {"counter": "_total", "histogram": "_sum"}
BUCKET_LABEL = "le"

Labels = frozenset[tuple[str, str]]


class Value:
    """One value in a cell of a book, which moves it with the files of the process.

    Args:
        prefix: the beginning of the file's name.
        key: the key in the file.
    """

    __slots__ = ("doubles", "index", "key", "prefix")
    doubles: memoryview[float]
    index: int

    def __init__(self, prefix: str, key: str) -> None:
        self.prefix = prefix
        self.key = key

    def place(self, doubles: memoryview[float], index: int) -> None:
        """Set the cell of the value."""
        self.doubles = doubles
        self.index = index

    def add(self, amount: float) -> None:
        """Add to the value. Call it with the lock of the book held."""
        self.doubles[self.index] += amount

    def set(self, amount: float, timestamp: float) -> None:
        """Replace the value of a gauge. Call it with the lock of the book held."""
        self.doubles[self.index] = amount
        self.doubles[self.index + 1] = timestamp


class Series:
    """One series of a metric.

    Args:
        labels: the labels, including those of the scope.
        values: the value; for a histogram the sum, then the buckets by bound, not cumulative.
    """

    __slots__ = ("labels", "values")

    def __init__(self, labels: Labels, values: tuple[Value, ...]) -> None:
        self.labels = labels
        self.values = values


class StoredMetric:
    """One metric, whose series are created with their first measurement.

    Args:
        book: the book that holds the values.
        name: the name on the page, without the suffixes of the type.
        prefix: the type, and the mode of a gauge: the beginning of file names.
        documentation: the help text.
        bounds: the upper bounds of a histogram, ascending, without infinity.
    """

    def __init__(
        self, book: Book, name: str, prefix: str, documentation: str, bounds: Sequence[float] = ()
    ) -> None:
        self.name = name
        self.prefix = prefix
        self.documentation = documentation
        self.bounds = tuple(bounds)
        self.is_full = False
        """True after an attribute set was refused."""
        self._book = book
        self._sample = name + SUFFIXES.get(prefix, "")
        self._series: dict[Labels, Series] = {}
        self._count: int | None = None

    def series(self, attributes: Mapping[str, str], scope: Mapping[str, str]) -> Series:
        """Find or create the series of an attribute set.

        Beyond :data:`MAX_SERIES` it is the common series of all further sets of the scope.

        Args:
            attributes: the attributes as labels.
            scope: the labels of the instrumentation scope, which take precedence.
        """
        if self.prefix == "histogram":
            attributes = {
                f"exported_{name}" if name == BUCKET_LABEL else name: value
                for name, value in attributes.items()
            }
        with self._book.lock:
            return self._find({**attributes, **scope}) or self._make({**OVERFLOW, **scope})

    def _find(self, labels: dict[str, str]) -> Series | None:
        series = self._series.get(frozenset(labels.items()))
        if series is None:
            if self._count is None:
                # The files also have the series of the slot's earlier holders.
                start = f"{json.dumps([self.name, self._sample])[:-1]}, "
                self._count = self._book.count(self.prefix, start)
            if not self._book.knows(self.prefix, self._key(self._sample, labels)):
                if self._count >= MAX_SERIES - 1:
                    self.is_full = True
                    return None
                self._count += 1
            series = self._make(labels)
        return series

    def _make(self, labels: dict[str, str]) -> Series:
        identity = frozenset(labels.items())
        series = self._series.get(identity)
        if series is None:
            keys = [self._key(self._sample, labels)]
            if self.prefix == "histogram":
                for bound in (*self.bounds, float("inf")):
                    at_bound = {**labels, BUCKET_LABEL: format_bound(bound)}
                    keys.append(self._key(f"{self.name}_bucket", at_bound))
            values = tuple(Value(self.prefix, key) for key in keys)
            for value in values:
                self._book.adopt(value)
            series = self._series[identity] = Series(identity, values)
        return series

    def _key(self, sample: str, labels: dict[str, str]) -> str:
        return encode_key(self.name, sample, labels, self.documentation)


def stored_values(
    folder: Path, metrics: Collection[StoredMetric]
) -> dict[str, dict[Labels, float]]:
    """Return the sum of each series over all present and past processes, by metric.

    Args:
        folder: the runtime directory.
        metrics: the metrics, none of them a histogram.
    """
    found: dict[str, dict[Labels, float]] = {metric.name: {} for metric in metrics}
    for prefix in {metric.prefix for metric in metrics}:
        names = {metric.name for metric in metrics if metric.prefix == prefix}
        for path in folder.glob(f"{prefix}_*.db"):
            with suppress(OSError, CorruptFileError, ValueError):
                with open(open_own(path, os.O_RDONLY), "rb") as file:
                    data = file.read()
                used = used_bytes(data, len(data))
                doubles = memoryview(data[:used]).cast("d")
                for key, index in read_entries(data, used):
                    # Most keys are of other metrics: the name is taken without parsing the key.
                    name = key[2 : key.find(b'"', 2)].decode("ascii", "replace")
                    if name in names:
                        labels = frozenset(json.loads(key)[2].items())
                        found[name][labels] = found[name].get(labels, 0.0) + doubles[index]
    return found
