"""Where a request goes: the instructions of every function of ours in it, by callgrind.

    python -m benchmarks.functions [--quick] [--out FOLDER]

Needs valgrind and Python 3.12 or newer. To callgrind all Python is one C function, the loop of the
interpreter; with ``-X perf`` each Python function is entered through a few bytes of machine code of
its own, whose address tells its name (that costs some instructions, too). The figures of a function
include what it calls; those of a generator are what it does while somebody iterates.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from benchmarks.command import run_part
from benchmarks.instructions import count
from benchmarks.results import say
from benchmarks.variants import VARIANTS

NAMES = ("metrics", "spans-0", "spans-100")


def run(quick: bool) -> dict[str, Any]:
    """The functions of our variants."""
    if sys.version_info < (3, 12):
        raise SystemExit("functions: Python 3.12 or newer is needed to tell them apart")
    results: dict[str, Any] = {}
    for name in NAMES:
        say(f"functions: {name}")
        try:
            results[name] = {"functions": count(VARIANTS[name], "-X", "perf")[1]}
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            results[name] = {"failed": str(error)}
    return results


if __name__ == "__main__":
    run_part("functions", run, __doc__)
