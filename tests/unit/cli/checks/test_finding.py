"""Findings, and the exit status that follows from them."""

from __future__ import annotations

import pytest

from avatar_telemetry.cli.checks.finding import Finding, error, exit_status, good, note, warning

GOOD, NOTE = good("a.b", "m"), note("a.b", "m", "x")
WARNING, ERROR = warning("a.b", "m", "x"), error("a.b", "m", "x")


@pytest.mark.parametrize(
    ("findings", "status"),
    [
        ([], 0),
        ([GOOD, NOTE], 0),
        ([WARNING, GOOD], 1),
        ([ERROR, WARNING, GOOD], 2),
        ([GOOD, WARNING, ERROR], 2),
    ],
)
def test_worst_finding_is_the_status(findings: list[Finding], status: int) -> None:
    """The status is that of the worst finding, wherever it is in the list."""
    assert exit_status(iter(findings)) == status


def test_finding_for_programs() -> None:
    """A finding is shown with all its fields; its place is the beginning of its name."""
    assert WARNING.place == "a"
    assert WARNING.to_json() == {"check": "a.b", "level": "warning", "message": "m", "advice": "x"}
