"""Processes of a measured server: its exporter, their processor time and their memory."""

from __future__ import annotations

import re
from pathlib import Path

PROC = Path("/proc")


def exporter_of(folder: Path) -> int | None:
    """Return the pid of the exporter of a runtime folder, ``None`` where none runs."""
    for path in PROC.glob("[0-9]*/cmdline"):
        try:
            words = path.read_text(encoding="utf-8", errors="replace").split("\0")
        except OSError:
            continue
        if "exporter" in words and str(folder) in words:
            return int(path.parent.name)
    return None


def processor_seconds(pid: int) -> float:
    """Return the seconds that all living threads of a process have run."""
    threads = (PROC / str(pid) / "task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def pss_mb(*pids: int) -> float:
    """Return the megabytes of these processes; a page that several share is divided among them."""
    rollups = ((PROC / str(pid) / "smaps_rollup").read_text() for pid in pids)
    found = (re.search(r"^Pss:\s+(\d+)", rollup, re.M) for rollup in rollups)
    return sum(int(match[1]) for match in found if match) / 1024
