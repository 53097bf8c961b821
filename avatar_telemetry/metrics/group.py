"""The files of one type and mode, merged."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

from avatar_telemetry.metrics.declarations import Entry, Metric
from avatar_telemetry.metrics.family import Exemplar, Family
from avatar_telemetry.metrics.mapped import HEADER, read_entries
from avatar_telemetry.metrics.metric_file import UNREADABLE, Contents, MetricFile
from avatar_telemetry.metrics.series import Key, Series, Shared

MODES = {
    "counter": "sum", "histogram": "sum", "summary": "sum",
    "gauge_sum": "sum", "gauge_livesum": "sum", "gauge_min": "min", "gauge_livemin": "min",
    "gauge_max": "max", "gauge_livemax": "max", "gauge_all": "all", "gauge_liveall": "all",
    "gauge_mostrecent": "mostrecent", "gauge_livemostrecent": "mostrecent",
}  # fmt: skip
# The contribution of a file to a series that it does not have.
ABSENT = {"sum": 0.0, "min": float("inf"), "max": float("-inf"), "mostrecent": 0.0, "all": 0.0}
LIVE = "gauge_live"
WITH_EXEMPLARS = ("counter", "histogram")
"""The types that may have exemplars (OpenMetrics 1.0)."""


class Group:
    """The merged files of one type and mode, with a cache of the parsed keys.

    A read gathers the values; keys are parsed once for all files, and only a metric with new or
    removed series gets a new layout.

    Args:
        prefix: the beginning of the file names.
    """

    def __init__(self, prefix: str) -> None:
        self.metrics: dict[str, Metric] = {}
        self.unreadable = 0
        """The number of files that the last read could not read, or only in part."""
        self._prefix = prefix
        self._mode = MODES[prefix]
        self._absent: Any = (0.0, 0.0) if self._mode == "mostrecent" else ABSENT[self._mode]
        self._files: dict[str, MetricFile] = {}
        self._keys: dict[bytes, tuple[Metric, Series, str]] = {}
        self._shared: Shared = {}
        self._size = 0
        self._has_shrunk = False
        self._columns: list[tuple[MetricFile, Sequence[Any]]] = []
        self._values: Sequence[float] = ()

    @property
    def is_sparse(self) -> bool:
        """Return whether most of the series were removed with their files."""
        held = (metric.count_held() for metric in self.metrics.values())
        return self._has_shrunk and 2 * sum(held) < self._size

    def read(self, folder: Path, names: Mapping[str, str]) -> set[str]:
        """Read the values and the changes of the files.

        Args:
            folder: the runtime directory.
            names: the names of the files, in order, each with the identifier of its process.

        Returns:
            The metrics whose declarations may have changed.
        """
        self.unreadable = 0
        self._has_shrunk = False
        self._columns = []
        changed: set[Metric] = set()
        for name in self._files.keys() - names.keys():
            changed |= self._forget(name)
        for name, identifier in names.items():
            try:
                changed |= self._read_file(name, identifier, Contents.read(folder / name))
            except FileNotFoundError:
                changed |= self._forget(name)  # the master removes the live gauges of dead workers
            except UNREADABLE:
                changed |= self._forget(name)
                self.unreadable += 1
        for metric in changed:
            metric.settle()
        self._values = self._merge()
        if not self._prefix.startswith(LIVE):
            self._columns = []
        return {metric.name for metric in changed}

    def families(self, exemplars: Mapping[bytes, Exemplar]) -> Iterator[Family]:
        """Yield the metrics of the last read, without those that have a newer type in another
        group.

        Args:
            exemplars: the exemplars, by the keys of their values.
        """
        own = self._own_exemplars(exemplars) if self._prefix in WITH_EXEMPLARS else {}
        for metric in self.metrics.values():
            family = metric.family(self._values, own.get(metric, {}))
            if family is not None:
                yield family

    def by_identifier(self, sample: str) -> dict[str, float]:
        """Return the value of a series without labels in each file, as of the last read.

        Args:
            sample: the name of a gauge of the mode ``livesum``.
        """
        metric = self.metrics.get(sample)
        series = metric.series.get((sample, ())) if metric else None
        if series is None:
            return {}
        values: dict[str, float] = {}
        for file, column in self._columns:
            if file.holds(series.number):
                before = values.get(file.identifier, 0.0)
                values[file.identifier] = before + column[series.number]
        return values

    def _own_exemplars(
        self, exemplars: Mapping[bytes, Exemplar]
    ) -> dict[Metric, dict[int, Exemplar]]:
        """Return the exemplars of this group by metric and number of the series."""
        own: dict[Metric, dict[int, Exemplar]] = {}
        for key, exemplar in exemplars.items():
            known = self._keys.get(key)
            if known is not None:
                metric, series, _ = known
                own.setdefault(metric, {})[series.number] = exemplar
        return own

    def _read_file(self, name: str, identifier: str, contents: Contents) -> set[Metric]:
        used = len(contents.data)
        file = self._files.get(name)
        if file is not None and (file.identity != contents.identity or used < file.used):
            file = None
        # Before any change: these raise where the file is corrupt.
        entries = list(read_entries(contents.data, used, file.used if file else HEADER))
        doubles = memoryview(contents.data).cast("d")
        changed: set[Metric] = set()
        if file is None:
            changed = self._forget(name)
            file = MetricFile(name, identifier, contents.identity, contents.revision)
            self._files[name] = file
        placed = self._place(file, entries)
        for metric, new in placed.items():
            metric.declare(file, doubles, new)
        changed |= placed.keys()
        if file.revision != contents.revision or self._mode == "mostrecent":
            again = {each for each in self.metrics.values() if each.is_declared_in(file)}
            for metric in again:
                metric.declare(file, doubles)
            changed |= again
        file.used, file.revision = used, contents.revision
        self.unreadable += file.damaged
        file.widen(self._size)
        self._columns += [(file, self._gather(column, doubles)) for column in file.columns]
        return changed

    def _place(
        self, file: MetricFile, entries: Iterable[tuple[bytes, int]]
    ) -> dict[Metric, list[Entry]]:
        """Record the positions of new entries.

        Returns:
            The entries by metric.
        """
        placed: dict[Metric, list[Entry]] = {}
        for key, index in entries:
            try:
                metric, series, documentation = self._find(key, file.identifier)
            except UNREADABLE:
                file.damaged = True
                continue
            file.place(series, index, documentation)
            metric.count(series)
            placed.setdefault(metric, []).append((series, index))
        return placed

    def _find(self, key: bytes, identifier: str) -> tuple[Metric, Series, str]:
        of_process = self._mode == "all"
        cache_key = key + b"\0" + os.fsencode(identifier) if of_process else key
        found = self._keys.get(cache_key)
        if found is None:
            parsed = Key.parse(key, identifier if of_process else "", self._shared)
            metric = self.metrics.setdefault(parsed.metric, Metric(parsed.metric, self._prefix))
            series = metric.find(parsed, self._size, self._shared)
            if series.number == self._size:
                self._size += 1
            found = self._keys[cache_key] = metric, series, parsed.documentation
        return found

    def _forget(self, name: str) -> set[Metric]:
        """Remove a file; return the metrics that were in it."""
        file = self._files.pop(name, None)
        self._has_shrunk = self._has_shrunk or file is not None
        return {each for each in self.metrics.values() if file and each.forget(file)}

    def _gather(self, column: array[int], doubles: memoryview[float]) -> Sequence[Any]:
        """Return the values of a file by the numbers of the series, with their times if needed."""
        if self._mode == "mostrecent":
            return [
                (doubles[index + 1], doubles[index]) if index else self._absent for index in column
            ]
        doubles[0] = self._absent
        # Not kept: the indexes as objects would take ten times the memory of the column.
        return itemgetter(*column)(doubles) if len(column) > 1 else [doubles[column[0]]]

    def _merge(self) -> Sequence[float]:
        columns = self._completed()
        if self._mode == "mostrecent":
            return [max(row)[1] for row in zip(*columns, strict=True)]
        if len(columns) < 2:
            return columns[0] if columns else ()
        if self._mode == "min":
            return list(map(min, *columns))
        if self._mode == "max":
            return list(map(max, *columns))
        return list(map(sum, zip(*columns, strict=True)))

    def _completed(self) -> list[Sequence[Any]]:
        """Return the columns of all files, of equal length and without excluded series."""
        excluded: dict[MetricFile, list[int]] = {}
        for metric in self.metrics.values():
            for file, numbers in metric.excluded.items():
                excluded.setdefault(file, []).extend(numbers)
        columns: list[Sequence[Any]] = []
        for file, values in self._columns:
            if file in excluded or len(values) < self._size:
                column = [*values, *repeat(self._absent, self._size - len(values))]
                for number in excluded.get(file, ()):
                    column[number] = self._absent
                columns.append(column)
            else:
                columns.append(values)
        return columns
