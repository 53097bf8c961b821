"""What all probes together cost an avatar request of the tests' Django project.

    python -m benchmarks.django_project [--rounds 5] [--json FILE]

A probe changes its process, so each side of a round has a process of its own; the sides take turns.
Processor time is measured, so that the disk and other programs matter less.
The run fails if the wrapped side did not count each of its requests.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "tests" / "django_app"
PATHS = (REPOSITORY, PROJECT, PROJECT / "stand_ins")
DIGEST = "0123456789abcdef" * 2
CALLS = 300
# What a request finds: the cache has it; it has to be drawn; nothing but Django is asked.
REQUESTS = {
    "from the cache": (f"/avatar/{DIGEST}", "d=pagan&f=y"),
    "drawn": (f"/avatar/{DIGEST}", "d=pagan&f=y&n={number}"),
    "a page": ("/tools/check/", ""),
}
Application = Callable[..., Iterable[bytes]]


def serve(application: Application, path: str, query: str) -> None:
    """One request as a server makes it."""
    environ: dict[str, Any] = {"PATH_INFO": path, "QUERY_STRING": query}
    setup_testing_defaults(environ)
    body = application(environ, lambda status, headers, exc_info=None: None)
    for _ in body:
        pass
    body.close()  # type: ignore[attr-defined]


def measure(application: Application) -> dict[str, float]:
    """Microseconds of processor time of each kind of request."""
    result = {}
    for name, (path, query) in REQUESTS.items():
        serve(application, path, query.format(number="warm"))
        started = time.process_time()
        for number in range(CALLS):
            serve(application, path, query.format(number=number))
        result[name] = (time.process_time() - started) / CALLS * 1e6
    return result


def side(wrapped: bool) -> None:
    """In a process of its own: measure one side, and print it.

    Raises:
        SystemExit: a request was not counted.
    """
    from portraits.wsgi import application

    if wrapped:
        from avatar_telemetry import instrument

        application = instrument(application)
    print(json.dumps(measure(application)))
    if wrapped:
        check_counts()


def check_counts() -> None:
    """See whether each request was counted.

    Raises:
        SystemExit: one was not.
    """
    from avatar_telemetry.runtime import RUNTIME
    from avatar_telemetry.store.merged import MergedStore

    assert RUNTIME._folder is not None
    counts = {
        family.name: sum(family.values)
        for family in MergedStore(RUNTIME._folder.path).read(["0"])
        if family.type == "counter"
    }
    expected = {
        "ivatar_requests": 3 * (CALLS + 1),
        "ivatar_avatar_cache_hits": CALLS,
        "ivatar_avatar_cache_misses": CALLS + 2,
        "ivatar_avatars_generated": CALLS + 2,
    }
    counted = {name: counts.get(name) for name in expected}
    if counted != expected:
        raise SystemExit(f"counted {counted}, made {expected}")


def run_side(name: str) -> dict[str, float]:
    """Measure one side in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ, "DJANGO_SETTINGS_MODULE": "portraits.settings",
            "PORTRAITS_DATA": folder, "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
        }  # fmt: skip
        for command in (
            ["django", "migrate", "-v0"],
            ["benchmarks.django_project", "--side", name],
        ):
            done = subprocess.run(
                [sys.executable, "-m", *command], env=environ, cwd=REPOSITORY, check=True,
                stdout=subprocess.PIPE,
            )  # fmt: skip
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def run(rounds: int) -> dict[str, Any]:
    """Let both sides take turns."""
    pairs = [(run_side("bare"), run_side("wrapped")) for _ in range(rounds)]
    requests = {}
    for name in REQUESTS:
        added = sorted(wrapped[name] - bare[name] for bare, wrapped in pairs)
        requests[name] = {
            "bare_us": round(statistics.median(bare[name] for bare, _ in pairs), 1),
            "wrapped_us": round(statistics.median(wrapped[name] for _, wrapped in pairs), 1),
            "added_us": round(statistics.median(added), 1),
            "added_us_spread": [round(added[0], 1), round(added[-1], 1)],
        }
    return {
        "benchmark": "a Django project in process, all probes",
        "python": platform.python_version(), "rounds": rounds, "requests": requests,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="times both sides are measured")
    parser.add_argument("--json", type=Path, help="write the result there, too")
    parser.add_argument("--side", choices=["bare", "wrapped"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        side(arguments.side == "wrapped")
        return
    text = json.dumps(run(arguments.rounds), indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
