"""Findings, and the exit status derived from them."""

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
def test_exit_status(findings: list[Finding], status: int) -> None:
    """The exit status is that of the worst finding, wherever it is in the list."""
    assert exit_status(iter(findings)) == status


def test_finding_is_one_printable_line() -> None:
    """Control characters, which a certificate or a server may contain, are not printed."""
    finding = error("x.y", "it sends \x1b[2J\nno", "a\tb")
    assert (finding.area, finding.message, finding.advice) == ("x", "it sends ?[2J no", "a b")
