"""What this process has open, for tests of what must not stay open."""

from __future__ import annotations

import os
from pathlib import Path


def open_below(folder: Path) -> list[str]:
    """The names of the files below a folder that are open, one for each descriptor, sorted."""
    names = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{descriptor}")
        except FileNotFoundError:
            continue  # the descriptor of the listing itself
        if target.startswith(f"{folder}/"):
            names.append(target.removeprefix(f"{folder}/"))
    return sorted(names)
