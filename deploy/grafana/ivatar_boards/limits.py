"""The limits of panels: those of the alert rules, which are their only source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

RULES = Path(__file__).parents[2] / "prometheus" / "rules"
# "(whole > 0)" is a guard against a division by zero, not a limit.
COMPARISON = re.compile(r"(==|[<>]) ([\d.]+)(?: \* ([\d.]+))?(?![\d.]*\))")
SMALLEST = 1e-6
"""The step of a limit of zero: Grafana's steps include their value."""


@dataclass(frozen=True)
class Limits:
    """The values from which a panel is yellow and red.

    Args:
        red: the limit; values on its other side than ``yellow`` are bad.
        yellow: the limit of the values to watch; equal to ``red`` if there are none, and smaller
            values are bad.
        alert: the name of the alert rule that has the limit; empty if there is none.
    """

    red: float
    yellow: float
    alert: str = ""

    @property
    def rising(self) -> bool:
        """Return whether larger values are worse."""
        return self.red > self.yellow


@dataclass(frozen=True)
class Comparison:
    """The comparison of an alert rule with a number.

    Args:
        operator: ``>``, ``<`` or ``==``.
        value: the number, or the first factor of a product.
        factor: the second factor, which is the error budget of a burn rate; else 1.
    """

    operator: str
    value: float
    factor: float


@cache
def comparisons() -> dict[str, Comparison]:
    """Return the first comparison of each alert rule of ``deploy/prometheus`` by its name."""
    found = {}
    for path in sorted(RULES.glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                match = COMPARISON.search(rule["expr"])
                if "alert" in rule and match:
                    operator, value, factor = match.groups()
                    found[rule["alert"]] = Comparison(operator, float(value), float(factor or 1))
    return found


def of_alert(alert: str, yellow: float | None = None) -> Limits:
    """Return the limits of an alert rule.

    Args:
        alert: its name.
        yellow: the value from which to watch; by default half way to the limit, from 0 if the
            rule is about large values and from 1 if it is about small ones.
    """
    comparison = comparisons()[alert]
    red = comparison.value
    if comparison.operator == ">":
        red = red or SMALLEST
        return Limits(red, red / 2 if yellow is None else yellow, alert)
    if comparison.operator == "==":
        return Limits(red + 1, red + 1, alert)  # a metric that is 0 or 1
    return Limits(red, (1 + red) / 2 if yellow is None else yellow, alert)
