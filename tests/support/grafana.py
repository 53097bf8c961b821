"""A panel as Grafana shows it: what its JSON leaves out has Grafana's defaults.

The defaults are those of Grafana's documentation: "Configure thresholds" (green, and red from 80
on), "Configure standard options" (colours by thresholds, in a time series by the classic palette),
and the pages of the stat and the bar gauge (the last value that is not null, coloured value, area).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DEFAULT_STEPS: tuple[Mapping[str, Any], ...] = (
    {"color": "green", "value": None},
    {"color": "red", "value": 80},
)
COLOURS = {
    "green": "#56a64b", "yellow": "#f2cc0c", "red": "#e02f44", "blue": "#3274d9",
    "purple": "#a352cc",
}  # fmt: skip
"""Names of the light theme."""
REDUCED = {"stat", "gauge", "bargauge"}
"""Kinds of panels that show one value of each series."""


def panels_of(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every panel of a dashboard, those of collapsed rows included, without the rows."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


@dataclass(frozen=True)
class Step:
    """One colour of a scale.

    Args:
        start: the first value with it.
        colour: its name.
    """

    start: float
    colour: str


@dataclass(frozen=True)
class Appearance:
    """The appearance of the values of a panel.

    Args:
        kind: Grafana's type of the panel.
        unit: Grafana's name of it.
        steps: the scale of colours, from the lowest value up.
        by_thresholds: whether values have the colours of the scale, not of a palette.
        dashed: whether the limits are dashed lines.
        sparkline: whether a small graph is behind a number.
        calculation: what is shown of a series.
        top: the end of the axis, or None.
        soft_top: the least end of the axis, or None.
    """

    kind: str
    unit: str
    steps: tuple[Step, ...]
    by_thresholds: bool
    dashed: bool
    sparkline: bool
    calculation: str
    top: float | None
    soft_top: float | None

    @classmethod
    def of(cls, panel: Mapping[str, Any]) -> Appearance:
        """Read it from the JSON of a panel."""
        kind = panel["type"]
        defaults = panel["fieldConfig"]["defaults"]
        options = panel.get("options", {})
        custom = defaults.get("custom", {})
        mode = defaults.get("color", {}).get("mode")
        steps: Sequence[Mapping[str, Any]] = defaults.get("thresholds", {}).get(
            "steps", DEFAULT_STEPS
        )
        mode = mode or ("palette-classic" if kind == "timeseries" else "thresholds")
        return cls(
            kind,
            defaults.get("unit", "short"),
            tuple(
                Step(float("-inf") if each["value"] is None else each["value"], each["color"])
                for each in steps
            ),
            mode == "thresholds" and options.get("colorMode", "value") != "none",
            custom.get("thresholdsStyle", {}).get("mode", "off") != "off",
            kind == "stat" and options.get("graphMode", "area") == "area",
            options.get("reduceOptions", {}).get("calcs", ["lastNotNull"])[0],
            defaults.get("max"),
            custom.get("axisSoftMax"),
        )

    def colour(self, value: float) -> str:
        """The name of the colour of a value."""
        return [each.colour for each in self.steps if value >= each.start][-1]
