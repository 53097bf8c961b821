"""Tables and JSON on the standard output."""

from __future__ import annotations

import json

import pytest

from avatar_telemetry.cli.output import print_json, print_table


@pytest.mark.parametrize(
    ("rows", "output"),
    [
        pytest.param([("a", "bb", ""), ("ccc", "d", "e")], "a    bb\nccc  d   e\n", id="aligned"),
        pytest.param([], "", id="empty"),
    ],
)
def test_table(
    rows: list[tuple[str, ...]], output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each column is as wide as its widest cell, and no line ends with a space."""
    print_table(rows)
    assert capsys.readouterr().out == output


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A value is preserved, and letters beyond ASCII stay readable."""
    value = {"a": ["é", None, 1.5]}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "é" in out
