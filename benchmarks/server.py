"""Throughput and latency behind gunicorn: all variants in turn in one run, loaded by wrk.

    python -m benchmarks.server [--quick] [--out FOLDER]

Needs wrk. A fleet is one server of each variant, all running at once and all but one idle; they are
loaded one after the other for about a second, bare first, again and again, and each figure is taken
against the bare server of the same turn. Several fleets are started, because the layout of memory
differs between processes. The processor time of the worker's threads stands beside: on a machine
that does something else, too, it is the firmer figure.

The run fails if a server's metrics do not show every request that wrk had answered. Spans are
counted at the sinks when the servers have ended; ``exported`` is their share of those expected.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.serving import Fleet, Setup, running_fleet
from benchmarks.variants import VARIANTS

OURS = ("metrics", "spans-5", "spans-100")
PEERS = ("otel-100", "ddtrace-100", "sentry-100", "django", "django-prometheus")


@dataclass(frozen=True)
class Setting:
    """An application, the worker class that serves it, and its variants besides bare."""

    worker_class: str
    application: str
    variants: tuple[str, ...]


SETTINGS = (
    Setting("sync", "trivial", (*OURS, *PEERS)),
    Setting("gthread", "trivial", (*OURS, "otel-100", "django", "django-prometheus")),
    Setting("sync", "identicon", (*OURS, "otel-100")),
)


@dataclass(frozen=True)
class Effort:
    """Fleets of each setting, turns of each fleet, seconds of each load."""

    fleets: int
    turns: int
    seconds: int


QUICK = Effort(1, 2, 1)
FULL = Effort(3, 4, 1)

Loads = dict[str, list[dict[str, float]]]


def run(quick: bool) -> dict[str, Any]:
    """Measure all settings."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    effort = QUICK if quick else FULL
    return {
        f"{setting.worker_class}-{setting.application}": measure(setting, effort)
        for setting in SETTINGS
    }


def measure(setting: Setting, effort: Effort) -> dict[str, Any]:
    """The figures of one setting, variant by variant."""
    loads: Loads = {}
    exported: dict[str, list[float]] = {}
    failed: dict[str, dict[str, str]] = {}
    setup = Setup(setting.application, setting.worker_class)
    for number in range(effort.fleets):
        say(f"{setting.worker_class} {setting.application}: fleet {number + 1}/{effort.fleets}")
        with running_fleet(("bare", *setting.variants), setup) as fleet:
            load_in_turn(fleet, effort.seconds, {})  # to warm up
            for _ in range(effort.turns):
                load_in_turn(fleet, effort.seconds, loads)
        for name, share in fleet.exported.items():
            exported.setdefault(name, []).append(share)
        failed |= {name: {"failed": fault} for name, fault in fleet.faults.items()}
    for name in setting.variants:
        if VARIANTS[name].against in failed:
            failed.setdefault(name, {"failed": "what it is compared with was not measured"})
    if "bare" in failed:
        return dict(failed)
    rates = summary((load["rate"] for load in loads["bare"]), 0)
    measured = {
        name: figures(name, loads) | {"exported": summary(exported[name])}
        for name in setting.variants
        if name not in failed
    }
    return {"bare": {"requests_per_second": rates}} | measured | failed


def figures(name: str, loads: Loads) -> dict[str, Any]:
    """The throughput and the tail of a variant against what it is compared with, turn by turn."""
    pairs = list(zip(loads[VARIANTS[name].against], loads[name], strict=True))
    return {
        "throughput": summary(load["rate"] / bare["rate"] for bare, load in pairs),
        "p99": summary(load["p99"] / bare["p99"] for bare, load in pairs),
        "cpu": summary(load["cpu"] / bare["cpu"] for bare, load in pairs),
        "cpu_added_us": summary((load["cpu"] - bare["cpu"]) * 1e6 for bare, load in pairs),
        "requests_per_second": summary((load["rate"] for _, load in pairs), 0),
    }


def load_in_turn(fleet: Fleet, seconds: int, loads: Loads) -> None:
    """One turn: each server that has no fault."""
    for server in fleet.servers:
        name = server.variant.name
        if name not in fleet.faults:
            try:
                loads.setdefault(name, []).append(server.load(seconds))
            except RuntimeError as error:
                fleet.faults[name] = str(error)


if __name__ == "__main__":
    run_part("server", run, __doc__)
