"""Lines, tables and JSON on the standard output."""

from __future__ import annotations

import json
import sys

import pytest

from avatar_telemetry.cli.output import colours, say_json, say_table


def test_columns_are_aligned(capsys: pytest.CaptureFixture[str]) -> None:
    """Each column is as wide as its widest cell, and no line ends with a space."""
    say_table([("a", "bb", ""), ("ccc", "d", "e")], indent="  ")
    assert capsys.readouterr().out == "  a    bb\n  ccc  d   e\n"


def test_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """An empty table is nothing."""
    say_table([])
    assert capsys.readouterr().out == ""


def test_json_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """A value comes back, and letters beyond ASCII stay readable."""
    value = {"a": ["é", None, 1.5]}
    say_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert "é" in out


@pytest.mark.parametrize(
    ("terminal", "environ", "coloured"),
    [
        (True, {}, True),
        (False, {}, False),
        (True, {"NO_COLOR": "1"}, False),
        (True, {"NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
    ],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, environ: dict[str, str], coloured: bool
) -> None:
    """Colour is for terminals that can show it, unless NO_COLOR is set and not empty."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    assert colours() is coloured
