"""The cost of one avatar request in process: bare and wrapped in turn, a process for each variant.

    python -m benchmarks.in_process [--quick] [--out FOLDER]

pyperf is not used: it runs one benchmark to its end before the next, in other processes, and on a
shared machine the two sides then meet different weather. Here both sides stand in one process and
take turns in bursts of some milliseconds; each variant is run in several processes, because the
layout of memory differs between them.

Measured is the processor time of the thread that serves (``time.thread_time``). An exporter's
thread or process runs apart, its time stands beside it (``with_export_us``). Between bursts the
queue or ring is emptied, so that every span can be counted at the sink at the end; a variant whose
spans or counts are missing is not measured.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import process_time, thread_time
from typing import Any

from benchmarks.command import run_part
from benchmarks.peers import Wrapped
from benchmarks.processes import exporter_of, processor_seconds
from benchmarks.request import SAMPLED_PARENT, serve
from benchmarks.results import say, summary
from benchmarks.sink import Sink, running_sink
from benchmarks.variants import VARIANTS, Variant

APPLICATION = "trivial"
NAMES = (
    "metrics", "many", "spans-0", "spans-100", "kept", "dropped", "otel-0", "otel-100",
    "django-prometheus", "ddtrace-100", "sentry-100",
)  # fmt: skip
CHILD_SECONDS = 300


@dataclass(frozen=True)
class Effort:
    """The amount of measurements.

    Args:
        processes: for each variant.
        rounds: in each process; a round gives one figure.
        calls: on each side in a round, in bursts.
    """

    processes: int
    rounds: int
    calls: int


QUICK = Effort(1, 3, 1000)
FULL = Effort(3, 5, 2000)


def run(quick: bool) -> dict[str, Any]:
    """Measure every variant, process by process in turn."""
    effort = QUICK if quick else FULL
    rounds: dict[str, Any] = {name: [] for name in NAMES}
    failed: dict[str, str] = {}
    for number in range(effort.processes):
        for name in NAMES:
            if name not in failed:
                say(f"in process {number + 1}/{effort.processes}: {name}")
                try:
                    rounds[name] += in_child(VARIANTS[name], effort)
                except RuntimeError as error:
                    failed[name] = str(error)
    results: dict[str, Any] = {
        name: {"failed": failed[name]} if name in failed else summed_up(rounds[name], name)
        for name in NAMES
    }
    if not failed.keys() & {"many", "metrics"}:
        pairs = zip(rounds["many"], rounds["metrics"], strict=True)
        results["many"]["to_few"] = summary(to_bare(many) / to_bare(few) for many, few in pairs)
    if not failed.keys() & {"kept", "dropped"}:
        both = zip(rounds["dropped"], rounds["kept"], strict=True)
        results["dropped"]["to_kept"] = summary(of_host(one) / of_host(kept) for one, kept in both)
    return results


def summed_up(rounds: list[dict[str, float]], name: str) -> dict[str, Any]:
    """The figures of one variant, microseconds a request."""
    measured = {
        "bare_us": summary(one["bare"] for one in rounds),
        "added_us": summary(map(added, rounds)),
        "with_export_us": summary(one["process"] - one["bare"] for one in rounds),
        "attributes": summary(one["attributes"] for one in rounds),
    }
    if VARIANTS[name].hooks and VARIANTS[name].sample == 1:
        spans = VARIANTS[name].spans
        measured["exporter_us_a_span"] = summary(one["exporter"] / spans for one in rounds)
    return measured


def added(one: dict[str, float]) -> float:
    """Microseconds that a round shows more than the bare side."""
    return one["wrapped"] - one["bare"]


def to_bare(one: dict[str, float]) -> float:
    """The added time as a share of the bare side, which is as slow as the machine then is."""
    return added(one) / one["bare"]


def of_host(one: dict[str, float]) -> float:
    """The added time with that of the exporter, as a share of the bare side."""
    return (one["process"] - one["bare"]) / one["bare"]


def in_child(variant: Variant, effort: Effort) -> list[dict[str, float]]:
    """Measure a variant in a process of its own.

    Raises:
        RuntimeError: it could not be measured, or did not do its work.
    """
    with running_sink() as sink, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        environ = os.environ | variant.environment(sink) | {"PROMETHEUS_MULTIPROC_DIR": folder}
        command = [sys.executable, "-m", "benchmarks.in_process", "--child", variant.name,
                   str(effort.rounds), str(effort.calls), sink.url]  # fmt: skip
        child = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=CHILD_SECONDS
        )
    if child.returncode:
        raise RuntimeError(child.stderr.strip().rpartition("\n")[2] or "it ended early")
    return list(json.loads(child.stdout.rpartition("\n")[2]))


def child(variant: Variant, rounds: int, calls: int, sink: Sink) -> list[dict[str, float]]:
    """The rounds of one process.

    Raises:
        SystemExit: the variant did not do its work.
    """
    bare = import_module(f"benchmarks.peers.{VARIANTS[variant.against].module}").wrap(APPLICATION)
    wrapped = import_module(f"benchmarks.peers.{variant.module}").wrap(APPLICATION)
    bursts = max(1, calls // variant.burst)
    sides = bare.application, wrapped
    one_round(*sides, None, variant.burst, 2)  # caches, series, connections
    exporter = exporter_of(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])) if variant.hooks else None
    gc.collect()
    gc.freeze()
    figures = [one_round(*sides, exporter, variant.burst, bursts) for _ in range(rounds)]
    serve(wrapped.application, SAMPLED_PARENT)  # shows that one that samples none could
    wrapped.flush()
    made = variant.burst * (rounds * bursts + 2)
    counts = proof(variant, wrapped, made, sink)
    for figure in figures:
        figure["attributes"] = counts["attributes"] / max(counts["spans"], 1)
    return figures


def one_round(
    bare: Any, wrapped: Wrapped, exporter: int | None, burst: int, bursts: int
) -> dict[str, float]:
    """Microseconds a request on both sides, which take turns."""
    spent = {"bare": 0.0, "wrapped": 0.0, "process": 0.0, "exporter": 0.0}
    for _ in range(bursts):
        spent["bare"] += timed(bare, burst)
        process, elsewhere = process_time(), processor_seconds(exporter) if exporter else 0.0
        spent["wrapped"] += timed(wrapped.application, burst)
        wrapped.flush()
        spent["exporter"] += processor_seconds(exporter) - elsewhere if exporter else 0.0
        spent["process"] += process_time() - process
    spent["process"] += spent["exporter"]
    return {side: seconds / (burst * bursts) * 1e6 for side, seconds in spent.items()}


def timed(application: Any, calls: int) -> float:
    """Seconds of processor time of this thread."""
    started = thread_time()
    for _ in range(calls):
        serve(application)
    return thread_time() - started


def proof(
    variant: Variant, wrapped: Wrapped, made: int, sink: Sink, patience: float = 15
) -> dict[str, int]:
    """Prove that every request was counted and every sampled span arrived.

    Args:
        variant: what was measured.
        wrapped: with what is around the application.
        made: requests, besides the one with a sampled parent.
        sink: what the variant exports to.
        patience: seconds that a span may take to arrive.

    Raises:
        SystemExit: some are missing.
    """
    expected = (made * variant.sample + 1) * variant.spans
    counts = sink.wait_for(expected, patience)
    if counts["spans"] != expected:
        raise SystemExit(f"{counts['spans']} spans at the sink, {expected:.0f} expected")
    requests = wrapped.requests() if variant.metrics else None
    seen = counts["requests"] if requests is None else requests
    if variant.metrics and seen != made + 1:
        raise SystemExit(f"{seen:.0f} requests counted, {made + 1} made")
    return counts


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        name, rounds, calls, url = sys.argv[2:]
        figures = child(VARIANTS[name], int(rounds), int(calls), Sink(url))
        sys.stdout.write("\n" + json.dumps(figures))
        sys.stdout.flush()
        if VARIANTS[name].module != "ours":
            os._exit(0)  # some peers' threads would delay the end
        return
    run_part("in_process", run, __doc__)


if __name__ == "__main__":
    main()
