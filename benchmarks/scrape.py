"""What a scrape costs: the merged store against prometheus_client's collector, in turn in one run.

    python -m benchmarks.scrape [--workers 16] [--samples 2000] [--rounds 7] [--json FILE]

Both read the same files and write the whole page. The run fails if they do not show the same.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from avatar_telemetry.exposition import render
from avatar_telemetry.mapped import Book
from avatar_telemetry.metrics import DURATION, REQUESTS, Metrics
from avatar_telemetry.store import MergedStore

SAMPLES_OF_A_HISTOGRAM = len(DURATION.buckets) + 2


def fill(folder: Path, workers: int, samples: int) -> None:
    """The files of so many workers: half of the samples counters, half histograms."""
    for worker in range(workers):
        book = Book()
        book.open(folder, str(worker))
        metrics = Metrics(book, 10 * samples)
        for number in range(samples // 2):
            metrics.count(REQUESTS, "GET", "200", f"/{number}")
        for number in range(samples // 2 // SAMPLES_OF_A_HISTOGRAM):
            metrics.observe(DURATION, worker / 256, "GET", "200", f"/{number}")


def client_page(folder: Path) -> bytes:
    """The page as prometheus_client makes it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return bytes(generate_latest(registry))


def values(page: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def milliseconds(scrape: Callable[[], bytes]) -> float:
    started = time.perf_counter()
    scrape()
    return (time.perf_counter() - started) * 1e3


def run(workers: int, samples: int, rounds: int) -> dict[str, Any]:
    """Time both in turn.

    Raises:
        SystemExit: they do not show the same values.
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        fill(folder, workers, samples)
        store = MergedStore(folder)
        alive = [str(worker) for worker in range(workers)]

        def ours() -> bytes:
            return render(store.read(alive), openmetrics=False)

        def theirs() -> bytes:
            return client_page(folder)

        first = milliseconds(ours)
        if values(ours()) != values(theirs()):
            raise SystemExit("the two pages differ")
        pairs = [(milliseconds(theirs), milliseconds(ours)) for _ in range(rounds)]
    ratios = sorted(slow / fast for slow, fast in pairs)
    return {
        "benchmark": f"scrape of {workers} workers with {samples} samples each, whole page",
        "python": platform.python_version(),
        "rounds": rounds,
        "prometheus_client_ms": round(statistics.median(slow for slow, _ in pairs), 2),
        "ours_ms": round(statistics.median(fast for _, fast in pairs), 2),
        "ours_first_ms": round(first, 2),
        "times_faster": round(statistics.median(ratios), 1),
        "times_faster_spread": [round(ratios[0], 1), round(ratios[-1], 1)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--samples", type=int, default=2000, help="of each worker")
    parser.add_argument("--rounds", type=int, default=7, help="times both are measured")
    parser.add_argument("--json", type=Path, help="write the result there, too")
    arguments = parser.parse_args()
    result = run(arguments.workers, arguments.samples, arguments.rounds)
    text = json.dumps(result, indent=2)
    sys.stdout.write(text + "\n")
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
