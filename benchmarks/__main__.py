"""All parts, one after the other, each in its own process; then the tables.

    python -m benchmarks [--quick] [--out FOLDER]

A full run takes about 25 minutes on two cores and writes into the repository; a quick one takes
about five and writes into ``build/bench``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from benchmarks.report import SECTIONS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few and short rounds, for a try")
    parser.add_argument("--out", help="folder of the JSON; the tables are not written then")
    arguments = parser.parse_args()
    passed = ["--quick"] if arguments.quick else []
    passed += ["--out", arguments.out] if arguments.out else []
    # Of the functions, callgrind can tell only in a newer Python: tox -e bench-functions.
    parts = [part for part, _, _ in SECTIONS if part != "functions" or sys.version_info >= (3, 12)]
    failed = [
        part
        for part in parts
        if subprocess.run([sys.executable, "-m", f"benchmarks.{part}", *passed]).returncode
    ]
    if not passed:
        subprocess.run([sys.executable, "-m", "benchmarks.report"], check=True)
    if failed:
        raise SystemExit("not everything was measured: " + ", ".join(failed))


if __name__ == "__main__":
    main()
