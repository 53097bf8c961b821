"""Open files of a process, for tests of what must not stay open."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def open_files(pid: int | str = "self") -> dict[int, str]:
    """The target of each descriptor of a process, which may close some of them meanwhile."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):  # such as the descriptor of the listing itself
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return found


def open_below(folder: Path) -> list[str]:
    """The names of the files below a folder that are open, one for each descriptor, sorted."""
    below = f"{folder}/"
    found = open_files().values()
    return sorted(each.removeprefix(below) for each in found if each.startswith(below))
