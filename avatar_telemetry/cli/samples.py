"""The samples of a metrics page, and what is asked of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]


class Samples:
    """The samples of one page.

    Args:
        values: name -> labels -> value.
    """

    def __init__(self, values: Mapping[str, Mapping[Labels, float]]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """Whether there is a series of this name."""
        return bool(self._values.get(name))

    def series(self, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Labels and value of each series of a name."""
        for labels, value in self._values.get(name, {}).items():
            yield dict(labels), value

    def total(self, name: str, **labels: str) -> float:
        """The sum over the series that bear these labels."""
        wanted = labels.items()
        return sum(value for have, value in self._values.get(name, {}).items() if wanted <= have)

    def values(self, name: str, label: str) -> list[str]:
        """The values that a label has."""
        found = {dict(have).get(label, "") for have in self._values.get(name, {})}
        return sorted(found - {""})

    def label(self, name: str, label: str) -> str:
        """The value of a label of a series that stands once, or an empty text."""
        return next(iter(self.values(name, label)), "")

    def minus(self, before: Samples) -> Samples:
        """What was added since an earlier page; a counter that began anew counts from zero."""
        return Samples(
            {
                name: {
                    labels: _added(value, before._get(name, labels))
                    for labels, value in series.items()
                }
                for name, series in self._values.items()
            }
        )

    def _get(self, name: str, labels: Labels) -> float:
        return self._values.get(name, {}).get(labels, 0.0)


def _added(now: float, before: float) -> float:
    return now - before if now >= before else now


EMPTY = Samples({})


def read_samples(page: str) -> Samples | None:
    """Read a page in the text format 0.0.4; ``None`` where it is none."""
    values: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    try:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                values[sample.name][frozenset(sample.labels.items())] = sample.value
    except (ValueError, KeyError, IndexError):
        return None
    return Samples(values)
