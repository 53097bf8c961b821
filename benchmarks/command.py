"""The command line of a part."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import results


def run_part(part: str, run: Callable[[bool], dict[str, Any]], description: str) -> None:
    """Parse the command line, measure, keep the results.

    Args:
        part: its name.
        run: measures; its argument is whether to be quick.
        description: the first line of ``--help``.

    Raises:
        SystemExit: something could not be measured; what could is kept.
    """
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a try")
    parser.add_argument("--out", type=Path, default=None, help="folder of the JSON")
    arguments = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are compiled
    measured = run(arguments.quick)
    folder = arguments.out or (Path("build/bench") if arguments.quick else results.FOLDER)
    results.write(part, measured, folder, quick=arguments.quick)
    if failed := failures(measured):
        raise SystemExit("\n".join(f"{part}: not measured: {line}" for line in failed))


def failures(measured: Any, path: str = "") -> list[str]:
    """Return every ``failed`` below, each with its path."""
    if not isinstance(measured, dict):
        return []
    own = [f"{path}: {measured['failed']}"] if "failed" in measured else []
    return own + [
        line
        for name, value in measured.items()
        for line in failures(value, f"{path}/{name}" if path else name)
    ]
