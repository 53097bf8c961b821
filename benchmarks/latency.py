"""Latencies under constant arrivals: at 80 % of saturation, and while a worker is recycled.

    python -m benchmarks.latency [--quick] [--out FOLDER]

Needs Go where vegeta is not built yet. Bare and wrapped servers run at once, one of them
loaded and the others idle, in turn; each figure is taken against the bare one of the same turn.

``own``: each server gets 80 % of its own requests a second at saturation. ``same``: both get 80 %
of those of the slower one. Saturation is measured with the program that makes the load, which
shares the processors with the server. ``recycle``: 100 requests a second for one sync worker that
is replaced after some hundred requests (``max_requests``); the figure is the longest time that a
request took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks import vegeta
from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.serving import Server, Setup, running_fleet

SHARE = 0.8
RECYCLE_RATE = 100
MAX_REQUESTS = 300
RECYCLE_SECONDS = 4
RECYCLED = f"max_requests = {MAX_REQUESTS}\n"
OPEN, RECYCLE = ("bare", "spans-100"), ("bare", "metrics", "spans-100")

Turn = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Effort:
    """Turns at 80 %, the seconds of each load, and turns with a recycle."""

    turns: int
    seconds: int
    recycles: int


QUICK = Effort(1, 2, 1)
FULL = Effort(5, 5, 8)


def run(quick: bool) -> dict[str, Any]:
    """Both parts."""
    effort = QUICK if quick else FULL
    vegeta.program()
    say("latency: at 80 % of saturation")
    results = {
        "sync-identicon": measured(
            lambda: turns(OPEN, Setup("identicon"), effort.turns, partial(open_loop, effort)),
            of_turns,
        )
    }
    say("latency: recycled workers")
    results["recycle"] = measured(
        lambda: turns(RECYCLE, Setup(configuration=RECYCLED), effort.recycles, recycled),
        of_recycles,
    )
    return results


def measured(
    measure: Callable[[], list[Turn]], sum_up: Callable[[list[Turn]], dict[str, Any]]
) -> dict[str, Any]:
    """The figures of all turns, or why there are none."""
    try:
        return sum_up(measure())
    except RuntimeError as error:
        return {"failed": str(error)}


def turns(
    names: tuple[str, ...], setup: Setup, number: int, one_turn: Callable[[list[Server]], Turn]
) -> list[Turn]:
    """Start a server of each variant, and load them in turn so often.

    Raises:
        RuntimeError: a server failed, or did not do its work.
    """
    with running_fleet(names, setup) as fleet:
        fleet.check()
        for server in fleet.servers:
            server.answered += vegeta.attack(server.avatar, RECYCLE_RATE, 1).answered
        figures = [one_turn(fleet.servers) for _ in range(number)]
    fleet.check()
    return figures


def open_loop(effort: Effort, fleet: list[Server]) -> Turn:
    """Seconds of each server at its own rate, and at the same."""
    rates = {}
    for server in fleet:
        saturated = vegeta.attack(server.avatar, 0, effort.seconds)
        server.answered += saturated.answered
        rates[server.variant.name] = saturated.throughput
    turn: Turn = {}
    for server in fleet:
        figures = turn[server.variant.name] = {"saturation": rates[server.variant.name]}
        for kind, rate in (("own", rates[server.variant.name]), ("same", min(rates.values()))):
            latencies = vegeta.attack(server.avatar, round(rate * SHARE), effort.seconds)
            server.answered += latencies.answered
            figures |= {f"{kind}_p90": latencies.p90, f"{kind}_p99": latencies.p99}
    return turn


def of_turns(figures: list[Turn]) -> dict[str, Any]:
    """Percentiles against those of the bare server, and in milliseconds."""
    results: dict[str, Any] = {}
    for name in OPEN:
        results[name] = {"saturation": summary((turn[name]["saturation"] for turn in figures), 0)}
        for kind in ("own_p90", "own_p99", "same_p90", "same_p99"):
            results[name][f"{kind}_ms"] = summary(turn[name][kind] * 1e3 for turn in figures)
            if name != "bare":
                ratios = (turn[name][kind] / turn["bare"][kind] for turn in figures)
                results[name][kind] = summary(ratios)
    return results


def recycled(fleet: list[Server]) -> Turn:
    """The longest wait at a recycle of each server.

    Raises:
        RuntimeError: a worker was not replaced.
    """
    turn: Turn = {}
    for server in fleet:
        before = server.workers
        latencies = vegeta.attack(server.avatar, RECYCLE_RATE, RECYCLE_SECONDS)
        server.answered += latencies.answered
        if server.workers == before:
            raise RuntimeError(f"{server.variant.name}: no worker was replaced")
        turn[server.variant.name] = {"longest": latencies.longest}
    return turn


def of_recycles(figures: list[Turn]) -> dict[str, Any]:
    """The longest waits: in milliseconds, against the bare server's, and what is added."""
    results: dict[str, Any] = {}
    for name in RECYCLE:
        pairs = [(turn["bare"]["longest"], turn[name]["longest"]) for turn in figures]
        results[name] = {"longest_ms": summary(own * 1e3 for _, own in pairs)}
        if name != "bare":
            results[name]["longest"] = summary(own / bare for bare, own in pairs)
            results[name]["longest_added_ms"] = summary((own - bare) * 1e3 for bare, own in pairs)
    return results


if __name__ == "__main__":
    run_part("latency", run, __doc__)
