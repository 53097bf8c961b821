"""The limits that ``top`` marks, and those of the alerts."""

from __future__ import annotations

import re

import pytest
import yaml

from avatar_telemetry.cli import thresholds
from avatar_telemetry.cli.thresholds import Threshold
from tests.support.deployed_rules import DEPLOYED

THRESHOLDS = [each for each in vars(thresholds).values() if isinstance(each, Threshold)]
RULES = {
    rule["alert"]: rule["expr"]
    for group in yaml.safe_load((DEPLOYED / "rules" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
}
WINDOW = 300
"""Seconds of the window in which the rules compute ratios."""


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda each: each.alert)
def test_limits_are_those_of_the_alerts(threshold: Threshold) -> None:
    """Limit, direction and minimum traffic are those of the rule."""
    comparisons = re.findall(r"([<>]) ([\d.]+)(?= *$)", RULES[threshold.alert], re.MULTILINE)
    assert comparisons[0][0] == "<>"[not threshold.below]
    assert float(comparisons[0][1]) == threshold.limit
    events = [float(limit) * WINDOW for _, limit in comparisons[1:]]
    assert events == pytest.approx([threshold.events] if threshold.events else [])


@pytest.mark.parametrize(
    ("threshold", "value", "events", "crossed"),
    [
        (thresholds.ERRORS, 0.05, 100, False),
        (thresholds.ERRORS, 0.051, 100, True),
        (thresholds.ERRORS, 1.0, 6, False),
        (thresholds.ERRORS, 1.0, 7, True),
        (thresholds.CACHE, 0.8, 100, False),
        (thresholds.CACHE, 0.79, 100, True),
        (thresholds.CACHE, None, 100, False),
        (thresholds.BACKLOG, 11.0, 0.1, True),
    ],
)
def test_crossed(threshold: Threshold, value: float | None, events: float, crossed: bool) -> None:
    """A value beyond the limit is at fault if it comes from more than the minimum of events."""
    assert threshold.crossed(value, events) is crossed
