"""The cost of stacks of slow requests (``AVATAR_TELEMETRY_SLOW_STACK``).

    python -m benchmarks.stacks

*A reading* is the processor time of one look of the thread at a worker, each of whose threads is in
a request 60 frames deep, none of them slow yet; *a stack* is that of one that is. *A request under
gevent* is what the note of its greenlet adds to it; other worker classes add nothing. The figures
are medians of ``time.thread_time``, which other load makes larger, not smaller.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from statistics import median
from time import perf_counter, thread_time
from typing import Any

from avatar_telemetry.testing import recording
from avatar_telemetry.wsgi.greenlets import noting_greenlet
from avatar_telemetry.wsgi.slow_requests import READINGS, SlowRequests
from avatar_telemetry.wsgi.stacks import Stack, running_requests, thread_stacks
from benchmarks.request import serve

DEPTH = 60
THREADS = (1, 4, 16)
ROUNDS = 200
CALLS = 2_000


class Held:
    """An application whose requests wait deep inside of it until they may end."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.go = threading.Event()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        self._dive(DEPTH)
        start_response("200 OK", [])
        return [b""]

    def _dive(self, depth: int) -> None:
        if depth:
            self._dive(depth - 1)
        else:
            self.arrived.release()
            self.go.wait()


def microseconds(work: Callable[[], object]) -> float:
    """Processor time of a call, the median of many."""
    found = []
    for _ in range(ROUNDS):
        started = thread_time()
        work()
        found.append(thread_time() - started)
    return median(found) * 1e6


def reading(threads: int) -> tuple[float, float]:
    """Microseconds of a reading, and those of the texts of the stacks that it found."""
    held = Held()
    with recording() as recorded:
        wrapped = recorded.wrap(held)
        serving = [threading.Thread(target=serve, args=(wrapped,)) for _ in range(threads)]
        for each in serving:
            each.start()
            held.arrived.acquire()
        watch = SlowRequests(3600, recorded.telemetry.guard)
        found = running_requests(thread_stacks()).values()
        figures = (
            microseconds(lambda: watch.look(perf_counter())),
            microseconds(lambda: [Stack.of(each).traceback for each in found]),
        )
        held.go.set()
        for each in serving:
            each.join()
    return figures


def note() -> float:
    """Microseconds that the note of its greenlet adds to a request."""

    def begin(*args: object) -> None:
        """Stands for a request, whose own time would hide the note."""

    noting: Any = noting_greenlet(begin)  # type: ignore[arg-type]
    both = []
    for each in (noting, begin):
        both.append(
            microseconds(lambda each=each: [each(0, 1, 2, 3) for _ in range(CALLS)]) / CALLS
        )
    return both[0] - both[1]


def main() -> None:
    for threads in THREADS:
        look, texts = reading(threads)
        shares = [look * READINGS / threshold / 1e4 for threshold in (1.0, 0.1)]
        print(
            f"{threads} threads: a reading {look:.0f} us, {shares[0]:.3f} % of a processor with 1s,"
            f" {shares[1]:.2f} % with 100ms; a stack {texts / threads:.0f} us"
        )
    print(f"a request under gevent: {note():.2f} us")


if __name__ == "__main__":
    main()
