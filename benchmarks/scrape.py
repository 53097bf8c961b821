"""The cost of a scrape: the merged store beside prometheus_client's collector, in one run.

    python -m benchmarks.scrape [--quick] [--out FOLDER]

Both read the same files and write the whole page. The run fails if they do not show the same.
Figures are milliseconds of processor time. Each worker has met the series in an order of its own,
as real workers do. *First* is the first scrape of a reader, *later* each further one; *new series*
is the one after a request of a new kind (a counter and a histogram) in one worker; *recycle* the
one after a worker was replaced by another, which has used all series of the slot again. Series are
the samples on the page. ``benchmarks.footprint`` has the memory of a host that is scraped.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from avatar_telemetry.metrics.exposition import render
from avatar_telemetry.metrics.instruments import DURATION, IN_PROGRESS, REQUESTS
from avatar_telemetry.metrics.mapped import Book, encode_key
from avatar_telemetry.metrics.merged import MergedStore
from avatar_telemetry.metrics.metrics import Metrics
from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.samples import values

SAMPLES_OF_A_HISTOGRAM = len(DURATION.buckets) + 3
SHAPES = ((4, 1_000), (16, 1_000), (48, 10_000))
LARGE = 48


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


def measure(shape: tuple[int, int], rounds: int) -> dict[str, Any]:
    """Time all kinds of scrapes in turn."""
    number, samples = shape
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        folder = Path(name)
        workers = [Worker(folder, each, samples) for each in range(number)]
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
    theirs, later, new, _, recycle, _ = zip(*turns, strict=True)
    return {
        "prometheus_client_ms": summary(theirs),
        "ours_ms": summary(later),
        "ours_first_ms": round(first, 2),
        "times_faster": ratios(theirs, later),
        "new_series_to_later": ratios(new, later),
        "recycle_to_later": ratios(recycle, later),
    }


def ratios(ones: Iterable[float], others: Iterable[float]) -> dict[str, float]:
    """One to the other, turn by turn."""
    return summary(one / other for one, other in zip(ones, others, strict=True))


def run(quick: bool) -> dict[str, Any]:
    """All sizes."""
    results: dict[str, Any] = {}
    for shape in SHAPES:
        workers, samples = shape
        say(f"scrape: {workers} workers with {samples} samples")
        rounds = (1 if quick else 5) if workers == LARGE else (5 if quick else 15)
        results[f"{workers}x{samples}"] = measure(shape, rounds)
    return results


if __name__ == "__main__":
    run_part("scrape", run, __doc__)
