"""A metric family as it is read: what the page and the OTLP bridge are made from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Labels = tuple[tuple[str, str], ...]

EXPONENT_DIGITS = 7
"""Digits before the point from which a bound is written with an exponent."""
ILLEGAL = re.compile(r"[^a-zA-Z0-9_:]|^(?=[0-9])|^\Z", re.ASCII)
ILLEGAL_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])|^\Z", re.ASCII)


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


def legal_name(name: str) -> str:
    """A metric name as every Prometheus reads it; prometheus_client escapes others the same way."""
    return ILLEGAL.sub("_", name)


def legal_labels(labels: Mapping[str, object]) -> Labels:
    """Labels as every Prometheus reads them, each name once, in the order of names.

    Values of names that become one are joined by ``;``, as OpenTelemetry does it (Prometheus and
    OpenMetrics compatibility, metric attributes).
    """
    legal: dict[str, str] = {}
    for name, value in sorted(labels.items()):
        label, text = ILLEGAL_IN_LABEL.sub("_", name), printable(str(value))
        legal[label] = f"{legal[label]};{text}" if label in legal else text
    return tuple(sorted(legal.items()))


def printable(text: str) -> str:
    """A text without lone surrogates, which have no UTF-8."""
    return text.encode("utf-8", "replace").decode()


def line_prefix(name: str, labels: Labels) -> str:
    """Return the beginning of a sample's line in both text formats, which escape labels alike."""
    if not labels:
        return name + " "
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "} "


def format_bound(bound: float) -> str:
    """Return a bucket's bound as prometheus_client writes it in the ``le`` label: with an exponent
    from 10**6 on."""
    if bound == float("inf"):
        return "+Inf"
    digits, point, rest = repr(bound).partition(".")
    if bound <= 0 or len(digits) < EXPONENT_DIGITS or not point:
        return repr(bound)
    mantissa = f"{digits[0]}.{digits[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(digits) - 1:02d}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
