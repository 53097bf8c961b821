"""One series in the files of one type and mode, whatever its help text says."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from avatar_telemetry.metrics.family import (
    Labels,
    format_bound,
    legal_labels,
    legal_name,
    line_prefix,
    printable,
)

INFINITE = float("inf")

Shared = dict[Any, Any]
"""Each value as its own key, so that equal ones of many series are kept once."""


class Key(NamedTuple):
    """A key of a metric file, parsed."""

    metric: str
    sample: str
    labels: Labels
    documentation: str

    @classmethod
    def parse(cls, key: bytes, identifier: str, shared: Shared) -> Key:
        """Parse a key.

        Args:
            key: as it stands in the file.
            identifier: of the process that writes the file, where each process has series of its
                own; else empty.
            shared: the values that are kept once for all keys.
        """
        metric, sample, labels, documentation = json.loads(key)
        pairs = legal_labels(labels)
        if identifier and "pid" not in dict(pairs):
            pairs = (*pairs, ("pid", identifier))
        share = shared.setdefault
        metric, sample = legal_name(str(metric)), legal_name(str(sample))
        text = printable(str(documentation))
        return cls(
            share(metric, metric), share(sample, sample),
            tuple(share(pair, pair) for pair in pairs), share(text, text),
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class Series:
    """A series, or one part of a histogram's series.

    Args:
        number: its place in the columns of all files.
        sample: its name with suffix.
        labels: as they stand on the page.
        base: the labels without the bound, which the parts of a histogram's series have in common.
        is_bucket: whether it is a bucket by its name.
        bound: of a bucket; not a number where it has none.
        documentation: the help text that it was first seen with.
        prefix: name and labels as they begin its line on the page.
        entries: how many entries of all files have it.
    """

    number: int
    sample: str
    labels: Labels
    base: Labels
    is_bucket: bool
    bound: float
    documentation: str
    prefix: str
    entries: int = 0

    @classmethod
    def of(cls, number: int, key: Key, shared: Shared, *, histogram: bool) -> Series:
        """The series of a key."""
        labels = key.labels
        base = tuple(pair for pair in labels if pair[0] != "le")
        is_bucket = key.sample.endswith("_bucket")
        bound = _bound(labels) if is_bucket else float("nan")
        if histogram and bound == bound:
            canonical = ("le", format_bound(bound))
            labels = tuple(
                shared.setdefault(canonical, canonical) if pair[0] == "le" else pair
                for pair in labels
            )
        return cls(
            number, key.sample, key.labels if labels == key.labels else labels,
            shared.setdefault(base, base), is_bucket, shared.setdefault(bound, bound),
            key.documentation, line_prefix(key.sample, labels),
        )  # fmt: skip

    @property
    def order(self) -> tuple[Labels, bool, float, str, Labels]:
        """Its place on the page: the parts of a histogram's series together, buckets by bound,
        then the sum."""
        bound = self.bound if self.bound == self.bound else -INFINITE
        return self.base, not self.is_bucket, bound, self.sample, self.labels


def _bound(labels: Labels) -> float:
    try:
        return float(dict(labels)["le"])
    except (KeyError, ValueError):
        return float("nan")
