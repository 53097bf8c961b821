"""The text on the screen of a Textual application."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from textual.app import App

TEXT = re.compile(r'<text class="([^"]+)" x="([\d.]+)"[^>]*-line-(\d+)\)">([^<]*)</text>')
CELL = 12.2
"""The width of a cell in the picture."""


def screen_of(app: App[Any]) -> str:
    """The lines of the screen, from the picture that the application exports."""
    width, height = app.size
    rows = [[" "] * width for _ in range(height)]
    for _, x, line, text in TEXT.findall(app.export_screenshot(simplify=True)):
        column = round(float(x) / CELL)
        cells = list(unescape(text).replace("\xa0", " "))
        rows[int(line)][column : column + len(cells)] = cells
    return "".join("".join(row).rstrip() + "\n" for row in rows)
