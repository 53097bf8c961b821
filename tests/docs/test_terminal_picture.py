"""Pictures of terminals for the documentation."""

from __future__ import annotations

import os
import sys

import pytest

from tests.support import terminal_picture
from tests.support.terminal_picture import COLUMNS, draw, written_to_terminal

PROGRAM = """
import os, sys
assert sys.stdout.isatty()
print(os.get_terminal_size().columns, "\\x1b[31mred\\x1b[0m")
"""


def test_a_program_runs_in_a_terminal() -> None:
    """It finds a terminal of the pictures' width, and its colours are kept."""
    written = written_to_terminal([sys.executable, "-c", PROGRAM], dict(os.environ))
    assert written == f"{COLUMNS} \x1b[31mred\x1b[0m\n"


def test_a_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the deadline it is killed."""
    monkeypatch.setattr(terminal_picture, "DEADLINE", 0.0)
    with pytest.raises(TimeoutError, match="has not ended"):
        written_to_terminal(["sleep", "100000"], dict(os.environ))


def test_a_picture_has_the_text_and_its_colours() -> None:
    """Each word has its colour, and no font is fetched."""
    svg = draw("fine\n\x1b[1;31mERROR\x1b[0m: <a fault>\n", title="doctor")
    assert "fine" in svg
    assert "ERROR" in svg
    assert "&lt;a&#160;fault&gt;" in svg
    assert "doctor" in svg
    assert "font-face" not in svg
    assert "font-weight: bold" in svg
