"""Prometheus names and labels of OpenTelemetry metrics.

See "OTLP Metric points to Prometheus" of OpenTelemetry's Prometheus and OpenMetrics Compatibility:
https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Literal

from avatar_telemetry.metrics.family import printable

Type = Literal["counter", "updowncounter", "histogram", "gauge"]

ILLEGAL = re.compile(r"[^a-zA-Z0-9:]+")
ILLEGAL_IN_LABEL = re.compile(r"[^a-zA-Z0-9]+")
ANNOTATION = re.compile(r"\{[^}]*\}")
# The translations of Prometheus and the Collector (prometheus/otlptranslator); "tibibytes" is their
# spelling.
UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds",
    "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes",
    "TiBy": "tibibytes", "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
PER_UNITS = {
    "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip


def metric_name(name: str, unit: str, type_: Type) -> str:
    """Return the name of a metric, without the suffixes that its type adds on the page.

    Args:
        name: the name of the instrument.
        unit: the unit of the instrument (UCUM).
        type_: the type of the instrument.
    """
    words = [word for word in ILLEGAL.sub("_", name).split("_") if word]
    if type_ == "counter" and len(words) > 1 and words[-1] == "total":
        del words[-1]
    if type_ == "gauge" and unit == "1" and words[-1:] != ["ratio"]:
        words.append("ratio")
    for suffix in _unit_suffixes(unit):
        if suffix not in "_".join(["", *words, ""]):
            words.append(suffix.strip("_"))
    joined = "_".join(words)
    return f"_{joined}" if not joined or joined[0].isdigit() else joined


def label_values(attributes: Mapping[str, object]) -> dict[str, str]:
    """Return attributes as labels.

    Values of names that become equal are joined by ``;``. An empty value is left out: Prometheus
    does not distinguish it from a missing label.
    """
    labels: dict[str, str] = {}
    for name, value in sorted(attributes.items(), key=lambda pair: str(pair[0])):
        label = ILLEGAL_IN_LABEL.sub("_", str(name))
        if text := printable(attribute_text(value)):
            label = f"_{label}" if not label or label[0].isdigit() else label
            labels[label] = f"{labels[label]};{text}" if label in labels else text
    return labels


def attribute_text(value: object) -> str:
    """Return an attribute's value as text (OpenTelemetry specification, Common, Attribute)."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, float) and not isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, bool | int | float | Sequence | Mapping):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=attribute_text)
    return str(value)


def _unit_suffixes(unit: str) -> list[str]:
    """Return the suffixes of a unit between underscores: ``_bytes_`` and ``_per_second_``."""
    main, _, per = ANNOTATION.sub("", unit).partition("/")
    main, per = main.strip(), per.strip()
    suffixes = [_word(UNITS.get(main, main))]
    if per := _word(PER_UNITS.get(per, per)):
        suffixes.append(f"per_{per}")
    return [f"_{suffix}_" for suffix in suffixes if suffix]


def _word(text: str) -> str:
    return ILLEGAL.sub("_", text).strip("_")
