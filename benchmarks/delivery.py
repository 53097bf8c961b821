"""Spans that are lost: while the collector is down again and again, and when a worker is killed.

    python -m benchmarks.delivery [--quick] [--out FOLDER]

Needs Go where vegeta is not built yet. One worker serves a constant rate, all requests sampled.
Expected at the sink are two spans of each request that the worker's own metrics have counted, which
a kill cannot take back; a span that came twice counts once.

``down``: the collector closes every connection without an answer for two thirds of the time, and
the ring has room for all spans of such an outage. ``killed``: the worker gets SIGKILL under load
again and again.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks import vegeta
from benchmarks.command import run_part
from benchmarks.results import say
from benchmarks.serving import Server, Setup, running_fleet

VARIANT = "spans-100"
RATE = 200
ROOM = {"OTEL_BSP_MAX_QUEUE_SIZE": "65536", "AVATAR_TELEMETRY_RING_SIZE": str(32 << 20)}
KILL_INTERVAL = 1.5
MAX_FAILED = 0.2
"""Share of the requests that may fail while workers are killed."""
PATIENCE = 30


@dataclass(frozen=True)
class Effort:
    """Outages, the seconds of each and of the time after it, and kills."""

    outages: int
    down: float
    up: float
    kills: int


QUICK = Effort(1, 4, 2, 2)
FULL = Effort(3, 20, 10, 5)


def run(quick: bool) -> dict[str, Any]:
    """Both parts."""
    effort = QUICK if quick else FULL
    vegeta.program()
    say("delivery: the collector is down")
    cycles = [(0.0, "/down"), (effort.down, "/up"), (effort.up, "")] * effort.outages

    def outages(server: Server) -> None:
        for seconds, path in cycles:
            time.sleep(seconds)
            if path:
                server.sink.counts(path)

    def kills(server: Server) -> None:
        for _ in range(effort.kills):
            time.sleep(KILL_INTERVAL)
            os.kill(server.worker, signal.SIGKILL)

    results = {"down": lost(outages, effort.outages * (effort.down + effort.up), ROOM)}
    say("delivery: killed workers")
    results["killed"] = lost(kills, (effort.kills + 1) * KILL_INTERVAL, {}, effort.kills)
    return results


def lost(
    disturb: Callable[[Server], None],
    seconds: float,
    environ: Mapping[str, str],
    killed: int = 0,
) -> dict[str, Any]:
    """The spans that are lost while something disturbs a server under load.

    Args:
        disturb: does it, and returns.
        seconds: of the load.
        environ: more variables of the server.
        killed: workers that it kills, each of which may have answered one request without counting
            it yet.
    """
    try:
        with running_fleet((VARIANT,), Setup(environ=environ)) as fleet:
            fleet.check()
            server = fleet.servers[0]
            load = vegeta.start(server.avatar, RATE, seconds)
            disturb(server)
            answered = vegeta.finish(load, MAX_FAILED if killed else vegeta.MAX_FAILED).answered
            server.sink.counts("/up")
            counted = round(server.requests_counted() or 0)
            expected = counted * server.spans
            arrived = server.sink.wait_for(expected, PATIENCE)["spans"]
    except RuntimeError as error:
        return {"failed": str(error)}
    if answered > counted + killed:
        return {"failed": f"{answered} requests answered, {counted} counted"}
    share = max(expected - arrived, 0) / expected
    return {"lost": round(share, 5), "spans": expected, "answered": answered}


if __name__ == "__main__":
    run_part("delivery", run, __doc__)
