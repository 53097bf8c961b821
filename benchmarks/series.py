"""What a request costs when there are few series, and when there are ten thousand samples.

    python -m benchmarks.series [--quick] [--out FOLDER]

The layer is given a profile of one route, and one of many, each of which was asked for once; each
in a process of its own, in turn, against the bare application. Then all requests are for one route
(``one``) or go round (``round``): going round, the values come from memory further away, which is
the price of any store.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from time import thread_time
from typing import Any

from avatar_telemetry import instrument
from avatar_telemetry.profile import Route
from benchmarks.applications import bare, watched
from benchmarks.command import run_part
from benchmarks.peers.ours import WATCHED
from benchmarks.request import ENVIRON, ask, serve
from benchmarks.results import say, summary
from benchmarks.samples import count, total
from benchmarks.variants import MALLOC

APPLICATION = "trivial"
MANY_ROUTES = 320
CALLS = 500
CASES = (("few", 1, "one"), ("many", MANY_ROUTES, "one"), ("many", MANY_ROUTES, "round"))
CHILD_SECONDS = 300


def run(quick: bool) -> dict[str, Any]:
    """Every case, process by process in turn."""
    processes, bursts = (1, 10) if quick else (5, 60)
    measured: dict[str, list[dict[str, float]]] = {}
    for number in range(processes):
        for size, routes, order in CASES:
            say(f"series {number + 1}/{processes}: {size}, {order}")
            one = in_child(routes, order, bursts)
            measured.setdefault(f"{size}-{order}", []).append(one)
    results: dict[str, Any] = {
        name: {
            "samples": ones[0]["samples"],
            "added_us": summary(one["added"] for one in ones),
            "added_to_bare": summary(one["added"] / one["bare"] for one in ones),
        }
        for name, ones in measured.items()
    }
    few = measured["few-one"]
    for name in ("many-one", "many-round"):
        pairs = zip(measured[name], few, strict=True)
        results[name]["to_few"] = summary(many["added"] / one["added"] for many, one in pairs)
    return results


def in_child(routes: int, order: str, bursts: int) -> dict[str, float]:
    """Measure a case in a process of its own.

    Raises:
        SystemExit: it could not be measured.
    """
    environ = os.environ | MALLOC | {"AVATAR_TELEMETRY_MAX_SERIES": "100000"}
    command = [sys.executable, "-m", "benchmarks.series", "--child",
               str(routes), order, str(bursts)]  # fmt: skip
    child = subprocess.run(
        command, env=environ, stdout=subprocess.PIPE, text=True, timeout=CHILD_SECONDS
    )
    if child.returncode:
        raise SystemExit(f"series: {routes} routes could not be measured")
    return dict(json.loads(child.stdout))


def child(routes: int, order: str, bursts: int) -> dict[str, float]:
    """Microseconds a request, bare and added, and how many samples there are."""
    profile = replace(
        WATCHED,
        routes=tuple(
            Route(rf"^/r{number}/", f"/r{number}/", "avatar", cached=True)
            for number in range(routes)
        ),
    )
    environs = [ENVIRON | {"PATH_INFO": f"/r{number}/{'ab' * 16}"} for number in range(routes)]
    application = instrument(watched(APPLICATION), profile=profile)
    for environ in environs:
        serve(application, environ)
    asked = environs if order == "round" else environs[:1]
    spent = {"bare": 0.0, "wrapped": 0.0}
    sides = {"bare": bare(APPLICATION), "wrapped": application}
    for _ in range(bursts):
        for side, one in sides.items():
            spent[side] += timed(one, asked * (CALLS // len(asked)))
    calls = bursts * len(asked * (CALLS // len(asked)))
    per_call = {side: seconds / calls * 1e6 for side, seconds in spent.items()}
    return {
        "bare": per_call["bare"],
        "added": per_call["wrapped"] - per_call["bare"],
        "samples": samples_of(application, calls + routes),
    }


def timed(application: Any, environs: list[dict[str, Any]]) -> float:
    """Seconds of processor time of this thread."""
    started = thread_time()
    for environ in environs:
        serve(application, environ)
    return thread_time() - started


def samples_of(application: Any, made: int) -> int:
    """How many samples the page shows.

    Raises:
        SystemExit: not every request was counted.
    """
    page = ask(application, "/metrics").decode()
    if (seen := total(page, "ivatar_requests_total")) != made:
        raise SystemExit(f"{seen:.0f} requests counted, {made} made")
    return count(page)


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        routes, order, bursts = sys.argv[2:]
        sys.stdout.write(json.dumps(child(int(routes), order, int(bursts))))
    else:
        run_part("series", run, __doc__)


if __name__ == "__main__":
    main()
