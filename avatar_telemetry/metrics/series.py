"""One series in the files of one type and mode, with any help text."""

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
"""Each value as its own key, so that equal values of many series are stored once."""


class Key(NamedTuple):
    """A parsed key of a metric file."""

    metric: str
    sample: str
    labels: Labels
    documentation: str

    @classmethod
    def parse(cls, key: bytes, identifier: str, shared: Shared) -> Key:
        """Parse a key.

        Args:
            key: the key in the file.
            identifier: the identifier of the process that writes the file, where each process has
                its own series; else empty.
            shared: the values that are stored once for all keys.
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
        number: the index in the columns of all files.
        sample: the name with suffix.
        labels: the labels on the page.
        base: the labels without the bound, common to the parts of a histogram's series.
        is_bucket: true where its name is that of a bucket.
        bound: the bound of a bucket; NaN where it has none.
        documentation: the help text of its first entry.
        prefix: the name and labels at the beginning of its line on the page.
        entries: the number of its entries in all files.
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
        """Make the series of a key."""
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
        """The sort key on the page: the parts of a histogram's series together, the buckets by
        bound, then the sum."""
        bound = self.bound if self.bound == self.bound else -INFINITE
        return self.base, not self.is_bucket, bound, self.sample, self.labels


def _bound(labels: Labels) -> float:
    try:
        return float(dict(labels)["le"])
    except (KeyError, ValueError):
        return float("nan")
