"""What the commands print with: colour on a terminal only, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

MAX_LINE_LENGTH = 100


def colours() -> bool:
    """Whether the output is for eyes that like colour (https://no-color.org/)."""
    return (
        sys.stdout.isatty()
        and not os.environ.get("NO_COLOR")
        and os.environ.get("TERM", "") != "dumb"
    )


def say(text: str = "") -> None:
    """Print a line; its colours only where they are wanted."""
    click.echo(text, color=colours())


def say_json(value: Any) -> None:
    """Print a value for a program."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say_table(rows: Sequence[tuple[str, ...]], indent: str = "") -> None:
    """Print rows in aligned columns."""
    widths = (
        [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    )
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say((indent + "  ".join(cells)).rstrip())
