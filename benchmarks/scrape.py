"""The cost of a scrape: the merged store beside prometheus_client's collector, in one run.

    python -m benchmarks.scrape [--quick] [--out FOLDER]

Both read the same files and write the whole page. The run fails if they do not show the same.
Figures are milliseconds of processor time. Each worker has met the series in an order of its own,
as real workers do. *First* is the first scrape of a reader, *later* each further one; *new series*
is the one after a request of a new kind (a counter and a histogram) in one worker; *recycle* the
one after a worker was replaced by another, which has used all series of the slot again; *conflict*
a later one where a worker still has the old type of a metric and the old buckets of another, in
turn with one of a copy of the folder from before. Series are the samples on the page.
Memory is what a process that reads has more after 200 scrapes than before the first.
"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from avatar_telemetry.scrape.exposition import render
from avatar_telemetry.store.instruments import DURATION, IN_PROGRESS, REQUESTS
from avatar_telemetry.store.mapped import Book, encode_key
from avatar_telemetry.store.merged import MergedStore
from avatar_telemetry.store.metrics import Metrics
from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.samples import values

SAMPLES_OF_A_HISTOGRAM = len(DURATION.buckets) + 3
SHAPES = ((4, 1_000), (16, 1_000), (16, 4_000), (48, 10_000))
LARGE = 48
SCRAPES = 200
CHILD_SECONDS = 300
OLD_DURATION = replace(DURATION, buckets=DURATION.buckets[1:])
CONFLICT = encode_key("conflict", "conflict", {}, "")


class Worker:
    """The values of one slot, whose holder can be replaced.

    Args:
        folder: the runtime folder.
        number: of the slot.
        samples: how many to make: half of them counters, half histograms.
    """

    def __init__(self, folder: Path, number: int, samples: int) -> None:
        self._folder = folder
        self._number = number
        self._counters = list(range(samples // 2))
        self._histograms = list(range(samples // 2 // SAMPLES_OF_A_HISTOGRAM))
        for order in (self._counters, self._histograms):
            random.Random(number).shuffle(order)
        self._next = samples
        self.start()

    def start(self) -> None:
        """Take the slot, as a new process does, and use all series."""
        for path in self._folder.glob(f"gauge_live*_{self._number}.db"):
            path.unlink()
        self.book = Book()
        self.book.open(self._folder, str(self._number))
        self._metrics = Metrics(self.book, 1_000_000)
        self.book.cell(IN_PROGRESS.prefix, encode_key(IN_PROGRESS.name, IN_PROGRESS.name, {}, ""))
        for number in self._counters:
            self._metrics.count(REQUESTS, "GET", "200", f"/{number}")
        for number in self._histograms:
            self._metrics.observe(DURATION, self._number / 256, "GET", "200", f"/{number}")

    def recycle(self) -> None:
        """End, and start as another process."""
        self.book.detach()
        self.start()

    def meet(self) -> None:
        """Serve a request of a kind that no worker has met."""
        self._next += 1
        self._metrics.count(REQUESTS, "GET", "200", f"/{self._next}")
        self._metrics.observe(DURATION, 0.5, "GET", "200", f"/{self._next}")


def make_conflicts(workers: Sequence[Worker]) -> None:
    """Leave series of older declarations in the first worker's files."""
    old, *others = workers
    old.recycle()
    old.book.cell("gauge_max", CONFLICT)
    Metrics(old.book, 1_000_000).observe(OLD_DURATION, 0.5, "GET", "200", "/conflict")
    for each in others:
        each.recycle()
        each.book.cell("gauge_min", CONFLICT)
        Metrics(each.book, 1_000_000).observe(DURATION, 0.5, "GET", "200", "/conflict")


def client_page(folder: Path) -> bytes:
    """The page as prometheus_client makes it."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))
    return bytes(generate_latest(registry))


def milliseconds(scrape: Callable[[], object]) -> float:
    """Processor time of one scrape."""
    started = time.process_time()
    scrape()
    return (time.process_time() - started) * 1e3


def measure(shape: tuple[int, int], rounds: int, scrapes: int) -> dict[str, Any]:
    """Time all kinds of scrapes in turn."""
    number, samples = shape
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        workers = [Worker(folder, each, samples) for each in range(number)]
        memory = in_child(folder, number, scrapes)
        store = MergedStore(folder)
        alive = [str(each) for each in range(number)]

        def ours() -> bytes:
            return render(store.read(alive), openmetrics=False)

        def after(change: Callable[[], None]) -> float:
            change()
            return milliseconds(ours)

        def agree() -> bool:
            return values(ours().decode()) == values(client_page(folder).decode())

        first = milliseconds(ours)
        if not agree():
            return {"failed": "the two pages differ"}
        turns = [
            (
                milliseconds(lambda: client_page(folder)),
                milliseconds(ours),
                after(workers[turn % number].meet),
                milliseconds(ours),
                after(workers[turn % number].recycle),
                milliseconds(ours),
            )
            for turn in range(rounds)
        ]
        if not agree():
            return {"failed": "the two pages differ after a change"}
        calm = MergedStore(Path(shutil.copytree(folder, folder / "copy")))
        calm.read(alive)
        make_conflicts(workers)
        ours()
        pairs = [
            (
                milliseconds(ours),
                milliseconds(lambda: render(calm.read(alive), openmetrics=False)),
            )
            for _ in turns
        ]
        if set(store.left_out) != {"conflict", DURATION.name}:
            return {"failed": f"conflicts of {store.left_out}"}
    conflict, without = zip(*pairs, strict=True)
    theirs, later, new, _, recycle, _ = zip(*turns, strict=True)
    return {
        "prometheus_client_ms": summary(theirs),
        "ours_ms": summary(later),
        "ours_first_ms": round(first, 2),
        "new_series_ms": summary(new),
        "recycle_ms": summary(recycle),
        "conflict_ms": summary(conflict),
        "times_faster": ratios(theirs, later),
        "new_series_to_later": ratios(new, later),
        "recycle_to_later": ratios(recycle, later),
        "conflict_to_later": ratios(conflict, without),
        "memory_mb": memory,
    }


def ratios(ones: Iterable[float], others: Iterable[float]) -> dict[str, float]:
    """One to the other, turn by turn."""
    return summary(one / other for one, other in zip(ones, others, strict=True))


def in_child(folder: Path, workers: int, scrapes: int) -> float:
    """Megabytes that the scrapes leave behind in a process of their own.

    Raises:
        SystemExit: it could not be measured.
    """
    command = [sys.executable, "-m", "benchmarks.scrape", "--child",
               str(folder), str(workers), str(scrapes)]  # fmt: skip
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=CHILD_SECONDS)
    if child.returncode:
        raise SystemExit(f"scrape: the memory of {workers} workers could not be measured")
    return float(json.loads(child.stdout))


def child(folder: Path, workers: int, scrapes: int) -> float:
    """Megabytes of this process after so many scrapes, more than before."""
    store = MergedStore(folder)
    before = resident_mb()
    for _ in range(scrapes):
        render(store.read(map(str, range(workers))), openmetrics=False)
    return round(resident_mb() - before, 1)


def resident_mb() -> float:
    """Resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def exponents(results: dict[str, Any]) -> dict[str, float]:
    """By which power the cost of a later scrape grows: of the quick ones, which load spares."""

    def power(small: str, large: str) -> float:
        costs = [results[shape]["ours_ms"]["low"] for shape in (small, large)]
        return round(math.log(costs[1] / costs[0]) / math.log(4), 2)

    return {
        "workers": power("4x1000", "16x1000"),
        "series": power("16x1000", "16x4000"),
    }


def run(quick: bool) -> dict[str, Any]:
    """All sizes."""
    results: dict[str, Any] = {}
    for workers, samples in SHAPES:
        say(f"scrape: {workers} workers with {samples} samples")
        rounds = (1 if quick else 7) if workers == LARGE else (5 if quick else 15)
        scrapes = SCRAPES // 10 if quick else SCRAPES
        results[f"{workers}x{samples}"] = measure((workers, samples), rounds, scrapes)
    if not any("failed" in each for each in results.values()):
        results["exponents"] = exponents(results)
    return results


def main() -> None:
    if sys.argv[1:2] == ["--child"]:
        folder, workers, scrapes = sys.argv[2:]
        sys.stdout.write(json.dumps(child(Path(folder), int(workers), int(scrapes))))
    else:
        run_part("scrape", run, __doc__)


if __name__ == "__main__":
    main()
