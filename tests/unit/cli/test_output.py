"""Tables and JSON on the standard output."""

from __future__ import annotations

import json
from io import StringIO

import pytest

from avatar_telemetry.cli.output import hang, print_json, print_table


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


@pytest.mark.parametrize(
    ("is_terminal", "text"),
    [
        pytest.param(
            True, "use --no-send with\n    http://127.0.0.1:8000/path\n    now", id="terminal"
        ),
        pytest.param(False, "use --no-send with http://127.0.0.1:8000/path now", id="pipe"),
    ],
)
def test_hanging_lines(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, text: str) -> None:
    """On a terminal a text is wrapped at spaces, never in an option or a URL; elsewhere not."""
    output = StringIO()
    monkeypatch.setattr(output, "isatty", lambda: is_terminal)
    monkeypatch.setattr("sys.stdout", output)
    monkeypatch.setenv("COLUMNS", "30")
    assert hang("use --no-send with http://127.0.0.1:8000/path now", 4) == text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A value is preserved, and letters beyond ASCII stay readable."""
    value = {"a": ["é", None, 1.5]}
    print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "é" in out
