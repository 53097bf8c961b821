"""The merged store: the files of all slots read as one set of series."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from avatar_telemetry.metrics.family import Family
from avatar_telemetry.metrics.group import LIVE, MODES, Group
from avatar_telemetry.metrics.merged_exemplars import MergedExemplars

FILE_NAME = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_([^_/]+)\.db", re.ASCII)


class MergedStore:
    """The metric files of a runtime directory, to be read any number of times.

    Not thread safe: one reader at a time.

    Args:
        folder: the runtime directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._groups: dict[str, Group] = {}
        self._exemplars = MergedExemplars(folder)
        self.unreadable = 0
        self.left_out: dict[str, int] = {}
        """The metrics with several declarations, and the number of series that are not merged."""

    def read(self, alive: Iterable[str]) -> list[Family]:
        """Return all families, by name.

        Args:
            alive: the identifiers of the processes whose live gauges count.

        Returns:
            The families that could be read; :attr:`unreadable` counts the files that could not.
        """
        # Before the values, so that each of these measurements is in its value.
        exemplars = self._exemplars.read()
        self.unreadable = self._exemplars.unreadable
        names = self._names(frozenset(alive))
        changed: set[str] = set()
        for prefix in names.keys() | self._groups.keys():
            group = self._groups.get(prefix)
            if group is None or group.is_sparse:
                group = self._groups[prefix] = Group(prefix)
            changed |= group.read(self._folder, names.get(prefix, {}))
            self.unreadable += group.unreadable
        for metric in changed:
            self._settle(metric)
        groups = self._groups.values()
        families = [family for group in groups for family in group.families(exemplars)]
        return sorted(families, key=lambda family: family.name)

    def by_identifier(self, prefix: str, sample: str) -> dict[str, float]:
        """Return the value of a series without labels in each file, as of the last read.

        Args:
            prefix: the beginning of the file names of a gauge of the mode ``livesum``.
            sample: the name of the metric and of its sample.
        """
        group = self._groups.get(prefix)
        return group.by_identifier(sample) if group else {}

    def _names(self, alive: Collection[str]) -> dict[str, dict[str, str]]:
        """Return the files to read by type and mode, each with the identifier of its process."""
        names: dict[str, dict[str, str]] = {}
        try:
            found = sorted(name for name in os.listdir(self._folder) if name.endswith(".db"))
        except OSError:
            self.unreadable += 1
            found = []
        for name in found:
            match = FILE_NAME.fullmatch(name)
            if match is None or match[1] not in MODES:
                self.unreadable += 1
            elif match[2] in alive or not match[1].startswith(LIVE):
                names.setdefault(match[1], {})[name] = match[2]
        return names

    def _settle(self, name: str) -> None:
        """Find the newest declaration of a metric, after one of them has changed."""
        metrics = [
            metric
            for group in self._groups.values()
            if (metric := group.metrics.get(name)) and metric.is_declared
        ]
        newest = max(metrics, key=lambda each: (each.newest, each.prefix), default=None)
        for metric in metrics:
            metric.superseded = metric is not newest
        self.left_out.pop(name, None)
        if newest and (len(metrics) > 1 or newest.bounds is not None):
            self.left_out[name] = sum(metric.count_left_out() for metric in metrics)
