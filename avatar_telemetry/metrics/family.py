"""A metric family: the input of the page and of the OTLP bridge."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from math import isfinite
from typing import NamedTuple, SupportsFloat

Labels = tuple[tuple[str, str], ...]

MIN_EXPONENT_DIGITS = 7
"""The minimum of digits before the point for a bound with an exponent."""
ILLEGAL = re.compile(r"[^a-zA-Z0-9_:]|^(?=[0-9])|^\Z", re.ASCII)
ILLEGAL_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])|^\Z", re.ASCII)
MAX_EXEMPLAR_LENGTH = 128
"""Characters of the labels of an exemplar, names and values (OpenMetrics 1.0, "Exemplars")."""


class Exemplar(NamedTuple):
    """A measurement that is in the value of a bucket or a counter.

    Args:
        labels: the labels, such as ``trace_id`` and ``span_id``.
        value: the measured value.
        time: the time in seconds since the epoch, if it is known.
    """

    labels: Labels
    value: float
    time: float | None


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with the samples of all its series.

    Args:
        name: the name, without the suffix of the type.
        type: counter, gauge, histogram, summary, info or unknown.
        documentation: the help text.
        names: the name of each sample, with suffix.
        labels: the labels of each sample.
        prefixes: the name and labels of each sample, as in the text formats.
        values: the value of each sample.
        exemplars: the exemplars, by the position of their sample.
    """

    name: str
    type: str
    documentation: str
    names: Sequence[str]
    labels: Sequence[Labels]
    prefixes: Sequence[str]
    values: Sequence[float]
    exemplars: Mapping[int, Exemplar] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        type_: str,
        documentation: str,
        samples: Sequence[tuple[str, Labels, float]],
        exemplars: Mapping[int, Exemplar] | None = None,
    ) -> Family:
        """Make a family from its samples: name with suffix, labels, value."""
        return cls(
            name,
            type_,
            documentation,
            [sample for sample, _, _ in samples],
            [labels for _, labels, _ in samples],
            [line_prefix(sample, labels) for sample, labels, _ in samples],
            [value for _, _, value in samples],
            exemplars or {},
        )


def family(
    name: str, type_: str, documentation: str, samples: Iterable[tuple[Labels, float]]
) -> Family:
    """Make a family from labels and values that are not from files."""
    suffix = {"counter": "_total", "info": "_info"}.get(type_, "")
    return Family.of(
        name, type_, documentation, [(name + suffix, labels, value) for labels, value in samples]
    )


def legal_name(name: str) -> str:
    """Return a metric name that every Prometheus accepts, escaped as by prometheus_client."""
    return ILLEGAL.sub("_", name)


def legal_labels(labels: Mapping[str, object]) -> Labels:
    """Return labels that every Prometheus accepts, each name once, in the order of names.

    Values of names that become equal are joined by ``;`` (OpenTelemetry's Prometheus and
    OpenMetrics Compatibility, metric attributes).
    """
    legal: dict[str, str] = {}
    for name, value in sorted(labels.items()):
        label, text = ILLEGAL_IN_LABEL.sub("_", name), printable(str(value))
        legal[label] = f"{legal[label]};{text}" if label in legal else text
    return tuple(sorted(legal.items()))


def make_exemplar(
    labels: Mapping[str, object], value: float, time: SupportsFloat | None
) -> Exemplar | None:
    """Return an exemplar of the application; ``None`` if its labels are too long, or its time is
    not a finite number."""
    legal = legal_labels(labels)
    is_too_long = sum(map(len, chain.from_iterable(legal))) > MAX_EXEMPLAR_LENGTH
    if is_too_long:
        return None
    seconds = None if time is None else float(time)
    if seconds is not None and not isfinite(seconds):
        return None
    return Exemplar(legal, float(value), seconds)


def printable(text: str) -> str:
    """Return a text without lone surrogates, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def line_prefix(name: str, labels: Labels) -> str:
    """Return the beginning of a sample's line, the same in both text formats."""
    if not labels:
        return name + " "
    return name + "{" + ",".join(f'{key}="{_escape(value)}"' for key, value in labels) + "} "


def format_bound(bound: float) -> str:
    """Return the ``le`` label of a bound as prometheus_client writes it: with an exponent from
    10**6 on."""
    if bound == float("inf"):
        return "+Inf"
    digits, point, rest = repr(bound).partition(".")
    if bound <= 0 or len(digits) < MIN_EXPONENT_DIGITS or not point:
        return repr(bound)
    mantissa = f"{digits[0]}.{digits[1:]}{rest}".rstrip("0.")
    return f"{mantissa}e+{len(digits) - 1:02d}"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
