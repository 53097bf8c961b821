"""The metrics of one type and mode: their series, and their declaration in each file.

A reload may change the type, the mode or the buckets of a metric, and earlier files still have
series of the old declaration. Series are merged by the newest declaration of their metric; those
that cannot be merged are left out.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from avatar_telemetry.metrics.family import Exemplar, Family, Labels
from avatar_telemetry.metrics.layout import Layout
from avatar_telemetry.metrics.metric_file import MetricFile
from avatar_telemetry.metrics.series import INFINITE, Key, Series, Shared

Entry = tuple[Series, int]
"""A series in a file, and the index of its value."""


@dataclass(slots=True)
class Declaration:
    """The declaration of a metric in one file.

    Args:
        newest: the time of the last declaration in the file.
        bounds: the bounds of all buckets, each with the time of its last declaration.
        shapes: the different sets of bounds of single histograms.
    """

    newest: float = -INFINITE
    bounds: dict[float, float] = field(default_factory=dict)
    shapes: set[frozenset[float]] = field(default_factory=set)


class Metric:
    """A metric in the files of one type and mode.

    Args:
        name: the name, without the suffix of a sample.
        prefix: the beginning of the file names: the type, and the mode of a gauge.
    """

    def __init__(self, name: str, prefix: str) -> None:
        self.name = name
        self.prefix = prefix
        self.superseded = False
        """True where a metric of the same name and another type or mode is newer."""
        self.bounds: frozenset[float] | None = None
        """The bounds of the newest declaration, where histograms with other bounds exist."""
        self.excluded: dict[MetricFile, frozenset[int]] = {}
        """The numbers of the series of a file that lack some of these bounds."""
        self._type = prefix.partition("_")[0]
        self._is_histogram = self._type == "histogram"
        self.series: dict[tuple[str, Labels], Series] = {}
        """All present and past series in the files, by sample and labels."""
        self._ordered: list[Series] = []
        self._buckets: dict[Labels, list[Series]] = {}
        self._documentations: set[str] = set()
        self._declarations: dict[MetricFile, Declaration] = {}
        self._layout: Layout | None = None

    @property
    def is_declared(self) -> bool:
        """Return whether any file has a series of the metric."""
        return bool(self._declarations)

    def is_declared_in(self, file: MetricFile) -> bool:
        """Return whether a file has a series of the metric."""
        return file in self._declarations

    @property
    def newest(self) -> float:
        """The time of the last declaration in any file."""
        return max(each.newest for each in self._declarations.values())

    def count_held(self) -> int:
        """Return the number of its series that are in a file."""
        return sum(each.entries > 0 for each in self._ordered)

    def find(self, key: Key, number: int, shared: Shared) -> Series:
        """Find or create the series of a key.

        Args:
            key: the key of a series of this metric.
            number: the number for a new series.
            shared: the values that are stored once for all series.
        """
        self._documentations.add(key.documentation)
        identity = (key.sample, key.labels)
        series = self.series.get(identity)
        if series is None:
            series = Series.of(number, key, shared, histogram=self._is_histogram)
            self.series[identity] = series
            insort(self._ordered, series, key=attrgetter("order"))
            if series.is_bucket and self._is_histogram:
                self._buckets.setdefault(series.base, []).append(series)
        return series

    def count(self, series: Series) -> None:
        """Count an entry of a series in a file."""
        if not series.entries:
            self._layout = None
        series.entries += 1

    def declare(
        self, file: MetricFile, doubles: Sequence[float], new: Sequence[Entry] | None = None
    ) -> None:
        """Read the declaration of the metric in a file.

        Args:
            file: the file.
            doubles: the contents of the file.
            new: the new entries, or ``None`` to read all entries.
        """
        if new is None:
            new = list(self._entries(file))
            self._declarations[file] = Declaration()
        declaration = self._declarations.setdefault(file, Declaration())
        times = [doubles[index + 1] for _, index in new]
        declaration.newest = max([declaration.newest, *times])
        counts: dict[Labels, int] = {}
        for (series, _), declared_at in zip(new, times, strict=True) if self._is_histogram else ():
            if series.is_bucket:
                counts[series.base] = counts.get(series.base, 0) + 1
                before = declaration.bounds.get(series.bound, 0.0)
                declaration.bounds[series.bound] = max(before, declared_at)
        bounds = self._bounds_in(file, counts)
        if any(len(own) != counts[base] for base, own in bounds.items()):
            # A histogram that was incomplete before has another set of bounds now.
            declaration.shapes.clear()
            bounds = self._bounds_in(file, self._buckets)
        declaration.shapes.update(map(frozenset, filter(None, bounds.values())))

    def forget(self, file: MetricFile) -> bool:
        """Remove a file.

        Returns:
            True where the metric was in it.
        """
        if self._declarations.pop(file, None) is None:
            return False
        for series, _ in self._entries(file):
            series.entries -= 1
            if not series.entries:
                self._layout = None
        return True

    def settle(self) -> None:
        """Compare the declarations, after one of them has changed."""
        declarations = self._declarations.values()
        # A process declares the infinite bucket last: until then a declaration is unfinished.
        ends = [each.bounds[INFINITE] for each in declarations if INFINITE in each.bounds]
        newest = max(ends, default=0.0)
        bounds = frozenset(
            bound
            for each in declarations
            if each.bounds.get(INFINITE) == newest
            for bound, declared in each.bounds.items()
            if declared >= newest
        )
        shapes = (shape for each in declarations for shape in each.shapes)
        before, self.bounds, self.excluded = self.bounds, None, {}
        if any(shape != bounds for shape in shapes if INFINITE in shape):
            self.bounds = bounds
            self.excluded = {file: self._without(bounds, file) for file in self._declarations}
        if self.bounds != before or self.excluded or len(self._documentations) > 1:
            self._layout = None

    def family(self, values: Sequence[float], exemplars: Mapping[int, Exemplar]) -> Family | None:
        """Return the metric for the page, or ``None`` where it is left out.

        Args:
            values: the values of all series of the files, by number.
            exemplars: the exemplars of series of the metric, by number.
        """
        if self.superseded or not self.is_declared:
            return None
        if self._layout is None:
            self._layout = self._lay_out()
        return self._layout.family(values, exemplars)

    def count_left_out(self) -> int:
        """Return the number of series in all files that are not merged."""
        return sum(
            self.superseded or series.number in self.excluded.get(file, ())
            for file in self._declarations
            for series, _ in self._entries(file)
            if not self._is_histogram or series.sample.endswith("_sum")
        )

    def _bounds_in(self, file: MetricFile, bases: Iterable[Labels]) -> dict[Labels, set[float]]:
        """Return the bounds of these histograms in a file."""
        return {
            base: {each.bound for each in self._buckets[base] if file.holds(each.number)}
            for base in bases
        }

    def _without(self, bounds: frozenset[float], file: MetricFile) -> frozenset[int]:
        """Return the numbers of the series of a file's histograms without these bounds."""
        bounds_in = self._bounds_in(file, self._buckets)
        without = {base for base, own in bounds_in.items() if INFINITE in own and not own >= bounds}
        return frozenset(each.number for each in self._ordered if each.base in without)

    def _is_merged(self, series: Series, file: MetricFile) -> bool:
        return file.holds(series.number) and series.number not in self.excluded.get(file, ())

    def _lay_out(self) -> Layout:
        members = [each for each in self._ordered if each.entries]
        if self.excluded:
            members = [
                each for each in members
                if any(self._is_merged(each, file) for file in self._declarations)
            ]  # fmt: skip
        text = self._documentation_of(members[0]) if members else ""
        return Layout(self.name, self._type, text, members, self.bounds)

    def _documentation_of(self, series: Series) -> str:
        """Return the help text of the last file."""
        if len(self._documentations) == 1:
            return series.documentation
        files = (file for file in self._declarations if self._is_merged(series, file))
        last = max(files, key=attrgetter("name"))
        return last.documentations.get(series.number, series.documentation)

    def _entries(self, file: MetricFile) -> Iterator[Entry]:
        """Yield the series of a file, each with the index of its value."""
        for column in file.columns:
            size = len(column)
            for series in self._ordered:
                if series.number < size and (index := column[series.number]):
                    yield series, index
