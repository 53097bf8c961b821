"""The map of the code names the folders, in the order of their layers, and files that exist."""

from __future__ import annotations

import re

from tests.support.paths import DOCS, REPOSITORY
from tests.unit.test_layers import LAYERS, PACKAGE

MAP = (DOCS / "map.md").read_text(encoding="utf-8")


def test_every_folder_has_a_row_in_the_order_of_the_layers() -> None:
    """The table of folders is that of the package, from the bottom up."""
    folders = [name for name in LAYERS if (PACKAGE / name).is_dir()]
    assert re.findall(r"^\| `(\w+)/` \|", MAP, re.MULTILINE)[: len(folders)] == folders


def test_every_named_file_exists() -> None:
    """A module that is moved or renamed is moved on the map, too."""
    names = re.findall(r"`((?:[a-z_]+/)+[a-z_]+)(?:\.py)?`", MAP)
    assert len(names) > 15
    missing = [
        name
        for name in names
        if not ((PACKAGE / f"{name}.py").exists() or (REPOSITORY / f"{name}.py").exists())
    ]
    assert not missing
