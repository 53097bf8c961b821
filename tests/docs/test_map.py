"""The map of the code: all of the code is on it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import avatar_telemetry
from tests.support.documents import prose
from tests.support.paths import DOCS

PACKAGE = Path(avatar_telemetry.__file__).parent
MAP = DOCS / "map.md"


def modules() -> set[str]:
    """The modules of the package, as the map names them: ``tracing/queue``."""
    found = {path.relative_to(PACKAGE).with_suffix("").as_posix() for path in PACKAGE.rglob("*.py")}
    return {name for name in found if name.rpartition("/")[2] != "__init__"}


def mapped() -> set[str]:
    """The modules that the first column of a table on the map names."""
    rows = re.findall(r"(?m)^\| (`[^|]+) \|", prose(MAP))
    return {name for row in rows for name in re.findall(r"`([a-z_0-9/]*[a-z_0-9])`", row)}


def test_every_module_is_on_the_map() -> None:
    """A newcomer finds each module of the package in a row of its own."""
    assert modules() - mapped() == set()


def test_the_map_shows_what_is_there() -> None:
    """Nothing on it has gone since."""
    assert mapped() - modules() == set()


def test_the_map_is_one_page() -> None:
    """Ten minutes of reading are some two thousand words."""
    assert len(MAP.read_text(encoding="utf-8").split()) <= 2_200
