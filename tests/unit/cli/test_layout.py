"""Lines of text in columns."""

from __future__ import annotations

import io

import pytest

from avatar_telemetry.cli.layout import ASCII, UNICODE, Glyphs, fit, flow, glyphs_of, text_of


@pytest.mark.parametrize(
    ("text", "width", "glyphs", "fitted"),
    [
        pytest.param("/avatar", 7, UNICODE, "/avatar", id="fits"),
        pytest.param("/avatars", 7, UNICODE, "/avata…", id="long"),
        pytest.param("/avatars", 7, ASCII, "/avata~", id="ascii"),
        pytest.param("/アバター", 7, UNICODE, "/アバ…", id="wide"),
        pytest.param("/アバ", 7, ASCII, "/??", id="wide-ascii"),
        pytest.param("a\x1b[31m\nb", 9, UNICODE, "a?[31m?b", id="control"),
    ],
)
def test_texts_of_a_server(text: str, width: int, glyphs: Glyphs, fitted: str) -> None:
    """A text is cut to its columns, without characters that the terminal would interpret."""
    assert fit(text, width, glyphs) == fitted


def test_items_that_do_not_fit_begin_another_line() -> None:
    """The label is once, and every item is below the first one or beside it."""
    items = [("first", ""), ("second", ""), ("third is too long for any line", "")]
    assert text_of(flow("label", items, 24, ASCII)) == (
        "label      first\n           second\n           third is too~"
    )


@pytest.mark.parametrize(
    ("encoding", "terminal", "glyphs"),
    [("utf-8", "xterm", UNICODE), ("UTF8", "xterm", UNICODE), ("utf-8", "linux", ASCII),
     ("iso8859-1", "xterm", ASCII)],
)  # fmt: skip
def test_characters_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch, encoding: str, terminal: str, glyphs: Glyphs
) -> None:
    """Without UTF-8, and on the Linux console, the characters are ASCII."""
    monkeypatch.setenv("TERM", terminal)
    assert glyphs_of(io.TextIOWrapper(io.BytesIO(), encoding)) is glyphs
