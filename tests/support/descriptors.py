"""What processes have open, for tests of what must not stay open."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def opened(pid: int | str = "self") -> dict[int, str]:
    """The descriptors of a process and what each stands for; it may open and close some now."""
    found = {}
    for number in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found[int(number)] = os.readlink(f"/proc/{pid}/fd/{number}")
    return found


def open_below(folder: Path) -> list[str]:
    """The names of the files below a folder that are open, one for each descriptor, sorted."""
    return sorted(
        target.removeprefix(f"{folder}/")
        for target in opened().values()
        if target.startswith(f"{folder}/")
    )
