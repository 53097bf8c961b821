"""A metric family as it is read: what the page and the OTLP bridge are made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prometheus_client.utils import floatToGoString

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with the samples of all its series.

    Args:
        name: without the suffix of the type.
        type: counter, gauge, histogram, summary, info or unknown.
        documentation: its help text.
        names: of each sample, with suffix.
        labels: of each sample.
        prefixes: of each sample, name and labels as they begin its line in the text formats.
        values: of each sample.
    """

    name: str
    type: str
    documentation: str
    names: Sequence[str]
    labels: Sequence[Labels]
    prefixes: Sequence[str]
    values: Sequence[float]

    @classmethod
    def of(
        cls, name: str, type_: str, documentation: str, samples: Sequence[tuple[str, Labels, float]]
    ) -> Family:
        """A family from its samples: name with suffix, labels, value."""
        return cls(
            name,
            type_,
            documentation,
            [sample for sample, _, _ in samples],
            [labels for _, labels, _ in samples],
            [line_prefix(sample, labels) for sample, labels, _ in samples],
            [value for _, _, value in samples],
        )


def family(
    name: str, type_: str, documentation: str, samples: Iterable[tuple[Labels, float]]
) -> Family:
    """A family from labels and values, for what is not kept in files."""
    suffix = {"counter": "_total", "info": "_info"}.get(type_, "")
    return Family.of(
        name, type_, documentation, [(name + suffix, labels, value) for labels, value in samples]
    )


def line_prefix(name: str, labels: Labels) -> str:
    """How the line of a sample begins in both text formats (they escape label values alike)."""
    if not labels:
        return name + " "
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "} "


def format_bound(bound: float) -> str:
    """A bucket's bound as Prometheus writes it in the ``le`` label."""
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
