"""Output of the commands: lines, tables, and JSON."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

import click

MIN_WIDTH = 20
"""Columns of a wrapped text, also where the terminal has fewer."""


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def hang(text: str, indent: int) -> str:
    """Wrap a text to the width of the terminal, each line but the first indented by some columns;
    return it unchanged where the output is not a terminal, so that a line stays one for ``grep``.
    """
    if not sys.stdout.isatty():
        return text
    width = max(shutil.get_terminal_size().columns - indent, MIN_WIDTH)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
