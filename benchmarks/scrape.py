"""What a scrape costs: the merged store against prometheus_client's collector, in turn in one run.

    python -m benchmarks.scrape [--quick] [--out FOLDER]

Both read the same files and write the whole page. The run fails if they do not show the same.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from avatar_telemetry.scrape.exposition import render
from avatar_telemetry.store.instruments import (
    DURATION,
    REQUESTS,
)
from avatar_telemetry.store.mapped import Book
from avatar_telemetry.store.merged import MergedStore
from avatar_telemetry.store.metrics import Metrics
from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.samples import values

SAMPLES_OF_A_HISTOGRAM = len(DURATION.buckets) + 2
SHAPES = ((16, 2_000), (48, 10_000))
ROUNDS = {(16, 2_000): 15, (48, 10_000): 7}
QUICK_ROUNDS = {(16, 2_000): 5, (48, 10_000): 1}


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


def milliseconds(scrape: Callable[[], bytes]) -> float:
    """How long one takes."""
    started = time.perf_counter()
    scrape()
    return (time.perf_counter() - started) * 1e3


def measure(workers: int, samples: int, rounds: int) -> dict[str, Any]:
    """Time both in turn."""
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
        if values(ours().decode()) != values(theirs().decode()):
            return {"failed": "the two pages differ"}
        pairs = [(milliseconds(theirs), milliseconds(ours)) for _ in range(rounds)]
    return {
        "prometheus_client_ms": summary(slow for slow, _ in pairs),
        "ours_ms": summary(fast for _, fast in pairs),
        "ours_first_ms": round(first, 2),
        "times_faster": summary(slow / fast for slow, fast in pairs),
    }


def run(quick: bool) -> dict[str, Any]:
    """Both sizes."""
    results = {}
    for shape in SHAPES:
        say("scrape: {} workers with {} samples".format(*shape))
        results["{}x{}".format(*shape)] = measure(
            *shape, (QUICK_ROUNDS if quick else ROUNDS)[shape]
        )
    return results


if __name__ == "__main__":
    run_part("scrape", run, __doc__)
