"""Lines of styled text in columns, for terminals with and without Unicode.

text_of(table([[("name", "dim"), ("count", "dim")], [("a", ""), ("1", "")]], 80, ASCII))
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TextIO
from unicodedata import combining, east_asian_width

Span = tuple[str, str]
"""A text and its style: ``bold``, ``dim``, ``alarm`` or none."""
Line = list[Span]

GAP, LABEL, MIN_NAME = 2, 11, 8
"""The columns between two cells, and those of a label and at least of a name."""


class Glyphs(NamedTuple):
    """The characters beyond letters: the bars of a chart, the lowest first, and the ellipsis."""

    bars: str
    ellipsis: str


UNICODE, ASCII = Glyphs("▁▂▃▄▅▆▇█", "…"), Glyphs("_.-:=+*#", "~")


def glyphs_of(stream: TextIO) -> Glyphs:
    """Return the characters that a stream can show; the font of the Linux console has few bars."""
    encoding = (stream.encoding or "").lower().replace("-", "")
    return UNICODE if encoding == "utf8" and os.environ.get("TERM") != "linux" else ASCII


def text_of(lines: Iterable[Line]) -> str:
    """Return the text of lines without their styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


def columns(line: Line) -> int:
    """Return the columns of a line."""
    return sum(_size(text) for text, _ in line)


def fit(text: str, width: int, glyphs: Glyphs) -> str:
    """Return a text of at most so many columns, without control characters."""
    text = "".join(each if each.isprintable() else "?" for each in text)
    if glyphs is ASCII:
        text = text.encode("ascii", "replace").decode()
    if _size(text) <= width:
        return text
    while text and _size(text) > width - 1:
        text = text[:-1]
    return text + glyphs.ellipsis


def flow(label: str, items: Iterable[Span], width: int, glyphs: Glyphs) -> list[Line]:
    """Return a label and, beside it, items: as many in a line as fit."""
    lines = [[(label.ljust(LABEL), "dim")]]
    for text, style in items:
        text = fit(text, width - LABEL, glyphs)
        gap = (" " * (GAP + 1 if len(lines[-1]) > 1 else 0), "")
        if columns([*lines[-1], gap]) + _size(text) > width:
            lines.append([(" " * LABEL, "")])
            gap = ("", "")
        lines[-1] += [gap, (text, style)]
    return lines


def table(rows: Sequence[Line], width: int, glyphs: Glyphs) -> list[Line]:
    """Return rows in aligned columns: the first one to the left and cut, the others whole."""
    sizes = [max(_size(text) for text, _ in column) for column in zip(*rows, strict=True)]
    rest = sum(sizes[1:]) + GAP * (len(sizes) - 1)
    sizes[0] = min(sizes[0], max(width - rest, MIN_NAME))
    lines = []
    for (name, style), *cells in rows:
        name = fit(name, sizes[0], glyphs)
        line = [(name, style), (" " * (sizes[0] - _size(name)), "")]
        for cell, size in zip(cells, sizes[1:], strict=True):
            line += [(" " * (GAP + size - _size(cell[0])), ""), cell]
        lines.append(line)
    return lines


def _size(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(0 if combining(each) else 1 + (east_asian_width(each) in "WF") for each in text)
