"""The merged store: the files of all slots read as one set of series.

Keys are parsed once for each file and kept; a read fetches the bytes, gathers the doubles of each
file in one order common to all, and adds the columns up. Only where a file has grown, appeared or
gone is the order made anew.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, groupby
from operator import itemgetter, lt
from pathlib import Path

from avatar_telemetry.store.family import (
    Family,
    Labels,
    format_bound,
    legal_labels,
    legal_name,
    line_prefix,
    printable,
)
from avatar_telemetry.store.mapped import HEADER, CorruptFileError, read_entries, used_bytes

FILE_NAME = re.compile(r"(counter|histogram|summary|gauge_[a-z]+)_([^_/]+)\.db", re.ASCII)
MODES = {
    "counter": "sum", "histogram": "sum", "summary": "sum",
    "gauge_sum": "sum", "gauge_livesum": "sum", "gauge_min": "min", "gauge_livemin": "min",
    "gauge_max": "max", "gauge_livemax": "max", "gauge_all": "all", "gauge_liveall": "all",
    "gauge_mostrecent": "mostrecent", "gauge_livemostrecent": "mostrecent",
}  # fmt: skip
# What a file without a series contributes to it; it stands behind the file's own doubles.
ABSENT = {"sum": 0.0, "min": float("inf"), "max": float("-inf"), "mostrecent": 0.0, "all": 0.0}

KNOWN_KEYS = 1 << 15
# A file of ours is far smaller; a foreign one is not read into memory only to be found foreign.
MAX_FILE = 1 << 28

UNREADABLE = (OSError, ValueError, TypeError, AttributeError, RecursionError)

INFINITE = float("inf")

Values = Sequence[float]
Identity = tuple[str, str, Labels]
"""Metric, sample and labels: what a series is, whatever its help text says."""


@dataclass(slots=True)
class KnownFile:
    """A metric file whose keys are parsed as far as it is filled.

    Args:
        prefix: the beginning of its name: type, and mode of a gauge.
        identifier: of the process that writes it.
        inode: tells a new file of the same name from the old one.
        damaged: a key in it cannot be parsed; the others count.
    """

    prefix: str
    identifier: str
    inode: int
    damaged: bool = False
    used: int = HEADER
    series: list[tuple[Identity, str]] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)
    doubles: memoryview[float] = field(default_factory=lambda: memoryview(b"").cast("d"))

    def columns(self, keep: Callable[[KnownFile, Identity], bool]) -> list[dict[Identity, int]]:
        """Where each series stands. A series that was renamed in its help text stands twice: the
        second time in a column of its own, so that both are counted."""
        columns: list[dict[Identity, int]] = [{}]
        for (identity, _), index in zip(self.series, self.indexes, strict=True):
            if not keep(self, identity):
                continue
            column = next((each for each in columns if identity not in each), None)
            if column is None:
                columns.append(column := {})
            column[identity] = index
        return columns


class Declarations:
    """The newest declaration of each metric, by which its series are merged.

    A reload may change the type, the mode or the buckets of a metric, and the files of before still
    have series of the old declaration. A histogram's last bucket is the last that its process
    declares: until it is there, the series is unfinished, and it says nothing about its metric.

    Args:
        files: all that are read.
    """

    def __init__(self, files: Iterable[KnownFile]) -> None:
        self._newest: dict[str, tuple[float, str]] = {}
        self._bounds: dict[tuple[int, str, Labels], dict[float, float]] = {}
        self.changed: set[str] = set()
        """Metrics with several declarations."""
        for file in files:
            self._read(file)
        self._unfinished = {key for key, own in self._bounds.items() if INFINITE not in own}
        whole = {key: own for key, own in self._bounds.items() if INFINITE in own}
        last: dict[str, float] = {}
        for (_, metric, _), own in whole.items():
            last[metric] = max(last.get(metric, 0.0), own[INFINITE])
        newest: dict[str, set[float]] = {}
        for (_, metric, _), own in whole.items():
            newest.setdefault(metric, set()).update(
                bound for bound, stamp in own.items() if stamp >= last[metric] == own[INFINITE]
            )
        self.changed |= {key[1] for key, own in whole.items() if own.keys() != newest[key[1]]}
        self.shown = {metric: newest[metric] for metric in self.changed if metric in newest}
        """The bounds to show of histograms that have others, too."""

    def keeps(self, file: KnownFile, identity: Identity) -> bool:
        """Return whether a series can be merged with those of the newest declaration."""
        metric = identity[0]
        if self.is_unfinished(file, identity):
            return False
        if metric not in self.changed:
            return True
        if self._newest[metric][1] != file.prefix:
            return False
        own = self._bounds.get((id(file), metric, _without_bound(identity)))
        return own is None or own.keys() >= self.shown[metric]

    def is_unfinished(self, file: KnownFile, identity: Identity) -> bool:
        """Return whether a series is a histogram that its process is still declaring."""
        if not self._unfinished or file.prefix != "histogram":
            return False
        return (id(file), identity[0], _without_bound(identity)) in self._unfinished

    def _read(self, file: KnownFile) -> None:
        for (identity, _), index in zip(file.series, file.indexes, strict=True):
            metric, sample, _ = identity
            declared = (file.doubles[index + 1], file.prefix)
            newest = self._newest.setdefault(metric, declared)
            if newest[1] != file.prefix:
                self.changed.add(metric)
            self._newest[metric] = max(newest, declared)
            if file.prefix == "histogram" and sample.endswith("_bucket"):
                _, labels, _, bound, _ = _order(identity)
                self._bounds.setdefault((id(file), metric, labels), {})[bound] = declared[0]


class MergedStore:
    """Reads a runtime folder, whoever wrote it, as often as it is asked.

    Not thread safe: one reader at a time.

    Args:
        folder: the runtime folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, KnownFile] = {}
        self._groups: list[Group] = []
        self._layout: list[tuple[str, int, int]] = []
        self.unreadable = 0
        self.left_out: dict[str, int] = {}
        """Metrics with several declarations, and how many series of them cannot be merged."""

    def read(self, alive: Iterable[str]) -> list[Family]:
        """All families, by name.

        Args:
            alive: identifiers of the processes whose live gauges count.

        Returns:
            What could be read. How many files could not is told by :attr:`unreadable`.
        """
        self.unreadable = 0
        living = frozenset(alive)
        known = [file for name in self._names() if (file := self._load(name, living))]
        files = [file for file in known if file.series]  # one that is just made has none yet
        layout = [(f"{file.prefix}_{file.identifier}", file.inode, file.used) for file in files]
        # Where declarations differ, one may become the newest without a change of the layout.
        if layout != self._layout or self.left_out:
            declarations = Declarations(files)
            self.left_out = _count_left_out(files, declarations)
            files.sort(key=lambda file: file.prefix)
            self._groups = [
                Group(prefix, list(members), declarations)
                for prefix, members in groupby(files, key=lambda file: file.prefix)
            ]
            self._layout = layout
        families = [family for group in self._groups for family in group.read()]
        return sorted(families, key=lambda family: family.name)

    def by_identifier(self, prefix: str, sample: str) -> dict[str, float]:
        """The value of a series without labels in each file, as last read.

        Args:
            prefix: how the names of the files begin.
            sample: its name; metric and sample have the same.
        """
        identity: Identity = (sample, sample, ())
        return {
            file.identifier: file.doubles[index]
            for file in self._known.values()
            if file.prefix == prefix
            for (known, _), index in zip(file.series, file.indexes, strict=True)
            if known == identity
        }

    def _names(self) -> list[str]:
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(".db"))
        except OSError:
            self.unreadable += 1
            names = []
        self._known = {name: self._known[name] for name in names if name in self._known}
        return names

    def _load(self, name: str, alive: frozenset[str]) -> KnownFile | None:
        match = FILE_NAME.fullmatch(name)
        if match is None or match[1] not in MODES:
            self.unreadable += 1
            return None
        if match[1].startswith("gauge_live") and match[2] not in alive:
            return None
        try:
            file = self._refresh(name, match[1], match[2])
            self.unreadable += file.damaged
            return file
        except FileNotFoundError:
            return None  # the master clears the live gauges of the dead
        except (*UNREADABLE, CorruptFileError):
            self._known.pop(name, None)
            self.unreadable += 1
            return None

    def _refresh(self, name: str, prefix: str, identifier: str) -> KnownFile:
        inode, data = _read_bytes(self._folder / name)
        used = len(data)
        file = self._known.get(name)
        if file is None or file.inode != inode or used < file.used:
            file = KnownFile(prefix, identifier, inode)
        for key, index in read_entries(data, used, file.used):
            try:
                series = _parse_key(key, "" if MODES[prefix] != "all" else identifier)
            except UNREADABLE:
                file.damaged = True
                continue
            file.series.append(series)
            file.indexes.append(index)
        file.used = used
        absent = struct.pack("d", ABSENT[MODES[prefix]])
        file.doubles = memoryview(data[:used] + absent * 2).cast("d")
        self._known[name] = file
        return file


class Group:
    """The files of one type and mode, and the order in which their values are read.

    Args:
        prefix: how the names of the files begin.
        files: those with such a name.
        declarations: which series of them are merged.
    """

    def __init__(self, prefix: str, files: list[KnownFile], declarations: Declarations) -> None:
        self._type = prefix.partition("_")[0]
        self._mode = MODES[prefix]
        keeps = declarations.keeps
        texts = {
            identity: text
            for file in files
            for identity, text in file.series
            if keeps(file, identity)
        }
        self._order = sorted(texts, key=_order)
        self._gatherers = [
            (file, _gatherer([column.get(each, file.used // 8) for each in self._order]))
            for file in files
            for column in file.columns(keeps)
        ]
        self._stamps = [
            (file, _gatherer([column.get(each, file.used // 8 - 1) + 1 for each in self._order]))
            for file in files
            for column in file.columns(keeps)
            if self._mode == "mostrecent"
        ]
        self._layouts = [
            _Layout(self._type, texts[members[0]], members, start, declarations.shown)
            for start, members in _by_metric(self._order)
        ]

    def read(self) -> list[Family]:
        """The families of the group, as the files have them now."""
        if not self._order:
            return []
        columns = [gather(file.doubles) for file, gather in self._gatherers]
        values = self._merge(columns)
        return [layout.family(values) for layout in self._layouts]

    def _merge(self, columns: list[Values]) -> Values:
        if len(columns) == 1:
            return columns[0]
        if self._mode == "min":
            return list(map(min, *columns))
        if self._mode == "max":
            return list(map(max, *columns))
        if self._mode == "mostrecent":
            stamps = [gather(file.doubles) for file, gather in self._stamps]
            return [
                max(zip(times, values, strict=True))[1]
                for times, values in zip(
                    zip(*stamps, strict=True), zip(*columns, strict=True), strict=True
                )
            ]
        return list(map(sum, zip(*columns, strict=True)))


class _Layout:
    """How the values of one metric stand on the page.

    Args:
        type_: of the metric.
        documentation: its help text.
        members: its series, in the order of the group.
        start: where they begin in that order.
        shown: the bounds to show of histograms that have others, too.
    """

    def __init__(
        self,
        type_: str,
        documentation: str,
        members: list[Identity],
        start: int,
        shown: Mapping[str, Set[float]],
    ) -> None:
        self._metric = members[0][0]
        self._type = type_
        self._documentation = documentation
        self._span = slice(start, start + len(members))
        self._shown = shown.get(self._metric)
        self._histograms: list[tuple[int, int, list[int]]] = []
        names = [sample for _, sample, _ in members]
        labels = [each for _, _, each in members]
        if type_ == "histogram":
            names, labels = self._put_together(members)
        self._names, self._labels = names, labels
        self._prefixes = list(map(line_prefix, names, labels))

    def family(self, values: Values) -> Family:
        """The metric with its values out of those of the group."""
        own = values[self._span]
        if self._type == "histogram":
            own = self._accumulate(own)
        return Family(
            self._metric, self._type, self._documentation,
            self._names, self._labels, self._prefixes, own,
        )  # fmt: skip

    def _put_together(self, members: list[Identity]) -> tuple[list[str], list[Labels]]:
        """Lines of the histograms: cumulative buckets, their count, the sum (text formats)."""
        names: list[str] = []
        labels: list[Labels] = []
        position = 0
        for without_bound, parts in groupby(members, key=_without_bound):
            each = [(sample, labels_) for _, sample, labels_ in parts]
            *buckets, (last, _) = each
            # A process that was killed while it made the series has counted nothing in it.
            bounds = [_bound(labels_) for _, labels_ in buckets]
            if last.endswith("_sum") and _are_whole(bounds):
                lines = [
                    number for number, bound in enumerate(bounds)
                    if self._shown is None or bound in self._shown
                ]  # fmt: skip
                names += [buckets[number][0] for number in lines]
                names += [self._metric + "_count", self._metric + "_sum"]
                labels += [_with_canonical_bound(buckets[number][1]) for number in lines]
                labels += [without_bound, without_bound]
                self._histograms.append((position, position + len(buckets), lines))
            position += len(each)
        return names, labels

    def _accumulate(self, values: Values) -> list[float]:
        lines: list[float] = []
        for start, stop, numbers in self._histograms:
            buckets = list(accumulate(values[start:stop]))
            lines += buckets if self._shown is None else [buckets[number] for number in numbers]
            lines += (buckets[-1], values[stop])
        return lines


def _count_left_out(files: Iterable[KnownFile], declarations: Declarations) -> dict[str, int]:
    left_out = dict.fromkeys(declarations.changed, 0)
    for file in files if left_out else ():
        for identity, _ in file.series:
            metric, sample, _ = identity
            part = file.prefix == "histogram" and not sample.endswith("_sum")
            if metric not in left_out or part or declarations.is_unfinished(file, identity):
                continue
            left_out[metric] += not declarations.keeps(file, identity)
    return left_out


def _read_bytes(path: Path) -> tuple[int, bytes]:
    """The inode of a file and the bytes in use of it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        used = used_bytes(os.pread(descriptor, HEADER, 0), min(status.st_size, MAX_FILE))
        return status.st_ino, os.pread(descriptor, used, 0)
    finally:
        os.close(descriptor)


# Workers have much the same series, so that most keys are met many times over.
@lru_cache(maxsize=KNOWN_KEYS)
def _parse_key(key: bytes, identifier: str) -> tuple[Identity, str]:
    metric, sample, labels, documentation = json.loads(key)
    pairs = legal_labels(labels)
    if identifier and "pid" not in dict(pairs):
        pairs = (*pairs, ("pid", identifier))
    identity = (legal_name(str(metric)), legal_name(str(sample)), pairs)
    return identity, printable(str(documentation))


def _gatherer(indexes: list[int]) -> Callable[[Values], Values]:
    """A function that picks these doubles in C; ``itemgetter`` alone gives one bare value."""
    if len(indexes) < 2:
        return lambda doubles: [doubles[index] for index in indexes]
    return itemgetter(*indexes)


@lru_cache(maxsize=KNOWN_KEYS)
def _order(identity: Identity) -> tuple[str, Labels, bool, float, str]:
    """Metrics together, the parts of a histogram's series together: buckets by bound, then sum."""
    metric, sample, labels = identity
    is_bucket = sample.endswith("_bucket")
    return (
        metric,
        _without_bound(identity),
        not is_bucket,
        _bound(labels) if is_bucket else 0.0,
        sample,
    )


def _bound(labels: Labels) -> float:
    try:
        return float(dict(labels)["le"])
    except (KeyError, ValueError):
        return float("nan")


def _are_whole(bounds: list[float]) -> bool:
    """Return whether these are the bounds of a histogram: ascending, numbers, up to infinity."""
    return bounds[-1:] == [INFINITE] and all(map(lt, bounds, bounds[1:]))


def _without_bound(identity: Identity) -> Labels:
    return tuple(pair for pair in identity[2] if pair[0] != "le")


def _with_canonical_bound(labels: Labels) -> Labels:
    return tuple(
        (name, format_bound(float(value)) if name == "le" else value) for name, value in labels
    )


def _by_metric(order: list[Identity]) -> Iterable[tuple[int, list[Identity]]]:
    start = 0
    for _, each in groupby(order, key=itemgetter(0)):
        members = list(each)
        yield start, members
        start += len(members)
