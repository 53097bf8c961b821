"""Memory and start of a server: workers, exporter, scrapes, and the time to the first answer.

    python -m benchmarks.footprint [--quick] [--out FOLDER]

Memory is the sum over all processes in which a page that several share is divided among them (PSS),
read after a second of load (300 requests), with the allocator as it is. One more worker is a third
of the difference between four workers and one, without preload and with it.

``first_answer_ms`` is the time from the start of gunicorn's process to its first answer.

``scraped``: a server of 16 workers, each of which has 1,200 samples of its own, is scraped 200
times; the figure is the memory of all its processes afterwards, less that before the first scrape.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import vegeta
from benchmarks.command import run_part
from benchmarks.processes import pss_mb
from benchmarks.results import say, summary
from benchmarks.samples import count, total
from benchmarks.serving import Server, Setup, running_fleet
from benchmarks.variants import VARIANTS

NAMES = ("bare", "metrics", "spans-100", "otel-100", "ddtrace-100", "sentry-100")
STARTED = ("bare", "metrics", "spans-100", "otel-100")
RATE = 300
"""Requests in the second before memory is read: no peer drops a span."""
MORE = 4
"""Workers of the larger server."""
PRELOAD = "preload_app = True\n"
SCRAPED, SCRAPED_WORKERS, SCRAPES = "series", 16, 200
MIN_SAMPLES = 1_200
# Every worker has to have its series before the first scrape.
BOOTED = f"""
workers = {SCRAPED_WORKERS}

def post_worker_init(worker):
    import os
    from pathlib import Path
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).with_name(f"booted-{{worker.pid}}").touch()
"""
DEADLINE = 60

Figures = dict[str, float]


def memory_of(server: Server, workers: int) -> Figures:
    """Megabytes of gunicorn's processes together, and of the exporter.

    A single worker that exports nothing has no exporter: it makes its page itself.

    Raises:
        RuntimeError: there is no exporter where there should be.
    """
    exporter = 0
    if server.variant.hooks and (workers > 1 or server.variant.sample):
        exporter = server.exporter()
    return {
        "server": pss_mb(server.master, *server.workers),
        "exporter": pss_mb(exporter) if exporter else 0.0,
    }


@contextmanager
def one_server(name: str, configuration: str) -> Iterator[Server]:
    """A server, whose work is proved at its end.

    Raises:
        RuntimeError: it did not do its work.
    """
    with running_fleet((name,), Setup(configuration=configuration, pinned=False)) as fleet:
        fleet.check()
        yield fleet.servers[0]
    fleet.check()


def memory(name: str) -> Figures:
    """The megabytes of one variant.

    Raises:
        RuntimeError: it did not do its work.
    """
    measured: Figures = {}
    for kind, preload in {"more": "", "more_preload": PRELOAD}.items():
        sums = []
        for workers in (1, MORE):
            with one_server(name, f"workers = {workers}\n{preload}") as server:
                server.answered += vegeta.attack(server.avatar, RATE, 1).answered
                if VARIANTS[name].hooks and workers > 1:
                    server.page()  # the exporter keeps what it needs for the next one
                sums.append(memory_of(server, workers))
        few, many = sums
        measured[f"{kind}_mb"] = (many["server"] - few["server"]) / (MORE - 1)
        if not preload:
            measured["exporter_mb"] = many["exporter"]
            measured["together_mb"] = MORE * measured["more_mb"] + many["exporter"]
    return measured


def start(name: str) -> Figures:
    """Milliseconds from the start of a server to its first answer."""
    with one_server(name, "") as server:
        return {"first_answer_ms": server.first_answer * 1e3}


def scraped(scrapes: int) -> dict[str, float]:
    """Megabytes that the processes of a host have more after so many scrapes.

    Raises:
        RuntimeError: a worker did not start, or the page does not show its series.
    """
    with one_server(SCRAPED, BOOTED) as server:
        deadline = time.monotonic() + DEADLINE
        while len(list(server.folder.glob("booted-*"))) < SCRAPED_WORKERS:
            if time.monotonic() > deadline:
                raise RuntimeError("not all workers have started")
            time.sleep(0.05)
        before = memory_of(server, SCRAPED_WORKERS)
        pages = [server.page() for _ in range(scrapes)]
        after = memory_of(server, SCRAPED_WORKERS)
    warmed = SCRAPED_WORKERS * int(VARIANTS[SCRAPED].environ["BENCH_ROUTES"])
    made, samples = total(pages[-1], "ivatar_requests_total"), count(pages[-1])
    if made < warmed or samples < MIN_SAMPLES:
        raise RuntimeError(f"{samples} samples and {made:.0f} requests on the page")
    more = {kind: after[kind] - before[kind] for kind in after}
    return {"host_mb": round(more["server"] + more["exporter"], 1), "samples": samples}


def run(quick: bool) -> dict[str, Any]:
    """Memory and starts of all variants, in turn; then the scrapes."""
    vegeta.program()
    rounds, starts, scrapes = (1, 2, 50) if quick else (2, 10, SCRAPES)
    failed: dict[str, str] = {}
    measured: dict[str, dict[str, list[Figures]]] = {name: {} for name in NAMES}
    for part, names, times in ((memory, NAMES, rounds), (start, STARTED, starts)):
        for number in range(times):
            say(f"footprint: {part.__name__} {number + 1}/{times}")
            for name in names:
                if name not in failed:
                    try:
                        measured[name].setdefault(part.__name__, []).append(part(name))
                    except RuntimeError as error:
                        failed[name] = str(error)
    results: dict[str, Any] = {
        name: {"failed": failed[name]} if name in failed else figures(name, measured)
        for name in NAMES
    }
    say("footprint: scrapes")
    try:
        results["scraped"] = scraped(scrapes)
    except RuntimeError as error:
        results["scraped"] = {"failed": str(error)}
    return results


def figures(name: str, measured: dict[str, dict[str, list[Figures]]]) -> dict[str, Any]:
    """More than the bare server has in the same turn; of that one, its own figures."""
    results = {}
    for part, own in measured[name].items():
        bare = measured["bare"][part]
        for kind in own[0]:
            pairs = [(one[kind], other[kind]) for one, other in zip(own, bare, strict=False)]
            less = 0 if name == "bare" else 1
            results[kind] = summary(one - less * other for one, other in pairs)
            if part == "start" and name != "bare":
                results["first_answer"] = summary(one / other for one, other in pairs)
    return results


if __name__ == "__main__":
    run_part("footprint", run, __doc__)
