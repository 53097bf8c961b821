"""The lines of one metric on the page."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, groupby
from operator import attrgetter, lt

from avatar_telemetry.metrics.family import Exemplar, Family, Labels, line_prefix
from avatar_telemetry.metrics.series import INFINITE, Series

NO_SERIES = -1
"""In place of the number of a series, for a line that is not the value of one."""


class Layout:
    """The lines of a metric, and the positions of their values.

    Args:
        metric: the name of the metric.
        type_: the type of the metric.
        documentation: the help text.
        members: the series, in the order of the page.
        shown: the bounds to show of histograms that have further ones, or ``None`` for all.
    """

    def __init__(
        self,
        metric: str,
        type_: str,
        documentation: str,
        members: Sequence[Series],
        shown: Collection[float] | None,
    ) -> None:
        self._metric = metric
        self._type = type_
        self._documentation = documentation
        self._shown = shown
        self._numbers = array("I", [each.number for each in members])
        self._histograms: list[tuple[int, int, list[int]]] = []
        self._names: list[str] = []
        self._labels: list[Labels] = []
        self._prefixes: list[str] = []
        self._shown_numbers = array("i")
        """The number of the series on each line."""
        if type_ == "histogram":
            self._add_histograms(members)
        else:
            self._add_lines(members)

    def family(self, values: Sequence[float], exemplars: Mapping[int, Exemplar]) -> Family | None:
        """Return the metric with its values, or ``None`` where it has no series.

        Args:
            values: the values of all series, by number.
            exemplars: the exemplars of series, by number.
        """
        if not self._numbers:
            return None
        own: Sequence[float] = [values[number] for number in self._numbers]
        if self._type == "histogram":
            own = self._accumulate(own)
        return Family(
            self._metric, self._type, self._documentation,
            self._names, self._labels, self._prefixes, own, self._on_lines(exemplars),
        )  # fmt: skip

    def _on_lines(self, exemplars: Mapping[int, Exemplar]) -> dict[int, Exemplar]:
        if not exemplars:
            return {}
        lines = enumerate(self._shown_numbers)
        return {line: exemplars[number] for line, number in lines if number in exemplars}

    def _add_lines(self, members: Sequence[Series]) -> None:
        self._names += [each.sample for each in members]
        self._labels += [each.labels for each in members]
        self._prefixes += [each.prefix for each in members]
        self._shown_numbers.extend(each.number for each in members)

    def _add_histograms(self, members: Sequence[Series]) -> None:
        """Add the lines of histograms: cumulative buckets, the count, the sum (text formats)."""
        totals = (self._metric + "_count", self._metric + "_sum")
        position = 0
        for _, parts in groupby(members, key=attrgetter("base")):
            *buckets, last = parts
            # A series is incomplete, and has no counts, where its process was killed at once.
            if last.sample.endswith("_sum") and _are_complete([each.bound for each in buckets]):
                lines = [
                    number for number, each in enumerate(buckets)
                    if self._shown is None or each.bound in self._shown
                ]  # fmt: skip
                self._add_lines([buckets[number] for number in lines])
                labels = line_prefix("", last.base)
                self._names += totals
                self._labels += [last.base, last.base]
                self._prefixes += [totals[0] + labels, totals[1] + labels]
                self._shown_numbers.extend((NO_SERIES, NO_SERIES))
                stop = position + len(buckets)
                self._histograms.append((position, stop, [] if self._shown is None else lines))
            position += len(buckets) + 1

    def _accumulate(self, values: Sequence[float]) -> list[float]:
        lines: list[float] = []
        for start, stop, numbers in self._histograms:
            buckets = list(accumulate(values[start:stop]))
            lines += buckets if self._shown is None else [buckets[number] for number in numbers]
            lines += (buckets[-1], values[stop])
        return lines


def _are_complete(bounds: list[float]) -> bool:
    """Return whether these are the bounds of a histogram: ascending numbers up to infinity."""
    return bounds[-1:] == [INFINITE] and all(map(lt, bounds, bounds[1:]))
