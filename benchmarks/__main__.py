"""All parts, one after the other, each in its own process; then the tables and the picture.

    python -m benchmarks [--quick] [--out FOLDER]

A full run writes into the repository; a quick one, of few and short rounds, writes into
``build/bench``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.report import SECTIONS
from benchmarks.results import say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a try")
    parser.add_argument("--out", help="folder of the JSON; the tables are not written then")
    arguments = parser.parse_args()
    passed = ["--quick"] if arguments.quick else []
    passed += ["--out", arguments.out] if arguments.out else []
    failed = []
    for part, _, _ in SECTIONS:
        started = time.monotonic()
        if subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *passed]).returncode:
            failed.append(part)
        say(f"{part}: {time.monotonic() - started:.0f} s")
    if not passed:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], check=True)
    if failed:
        raise SystemExit("not everything was measured: " + ", ".join(failed))


if __name__ == "__main__":
    main()
