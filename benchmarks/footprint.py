"""What a worker weighs: memory over a bare one, and time from its fork to its first answer.

    python -m benchmarks.footprint [--quick] [--out FOLDER]

Memory is read after a second of load, with the allocator as it is: the resident set of a single
worker (RSS, in which all counts that it shares with its master), what of it is private, and what
one more worker adds to the whole server: the sum over all processes (PSS) with three workers and
with one, halved, without preload and with it.

Start-up is measured with preload, by ending the worker again and again: what the next one spends
until it is ready, and until it has answered once, so that nothing hides by being put off to the
first request.
"""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.command import run_part
from benchmarks.results import say, summary
from benchmarks.serving import Server, exported_share, running_server, uncounted
from benchmarks.variants import VARIANTS

NAMES = ("bare", "metrics", "spans-100", "otel-100", "ddtrace-100", "elastic-100", "sentry-100")
APPLICATION = "trivial"
MORE = 3
"""Workers of the larger server."""
DEADLINE = 30
PRELOAD = "preload_app = True\n"
TIMED_START = (
    PRELOAD
    + """
import os, time
from pathlib import Path

def note(worker, moment):
    with open(os.environ["BENCH_STARTS"], "a") as file:
        since = time.monotonic() - worker.forked
        file.write(f"{worker.pid} {moment} {since} {time.process_time()}\\n")

def pre_fork(server, worker):
    worker.forked = time.monotonic()

def post_worker_init(worker):
    note(worker, "ready")

def post_request(worker, request, environ, response):
    if not hasattr(worker, "answered"):
        worker.answered = True
        note(worker, "answered")
"""
)


def memory_of(pid: int) -> dict[str, float]:
    """Megabytes of a process, by kind."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return {kind: int(size) / 1024 for kind, size in re.findall(r"^(\w+):\s+(\d+)", rollup, re.M)}


def measure_memory(name: str) -> dict[str, float]:
    """Megabytes of a worker of one variant after some load.

    Raises:
        RuntimeError: it did not do its work.
    """
    measured = {}
    for way, configuration in {"more": "", "more_preload": PRELOAD}.items():
        few = memory_of_server(name, 1, configuration)
        many = memory_of_server(name, MORE, configuration)
        measured[way] = (many["all"] - few["all"]) / (MORE - 1)
        if not configuration:
            measured |= {"rss": few["rss"], "private": few["private"]}
    return measured


def memory_of_server(name: str, workers: int, configuration: str) -> dict[str, float]:
    """Megabytes of a server's first worker, and of all its processes together.

    Raises:
        RuntimeError: it did not do its work.
    """
    with ExitStack() as sinks, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        starting = running_server(
            VARIANTS[name], APPLICATION, "sync", Path(folder) / "one", sinks,
            f"workers = {workers}\n{configuration}", pinned=False,
        )  # fmt: skip
        with starting as server:
            server.load(1)
            worker = memory_of(server.worker)
            everything = sum(memory_of(pid)["Pss"] for pid in (server.master, *server.workers))
            fault = uncounted(server)
        share = exported_share(server)
    if fault or isinstance(share, str):
        raise RuntimeError(fault or share)
    return {"rss": worker["Rss"], "private": worker["Private_Dirty"], "all": everything}


def measure_starts(name: str, starts: int) -> list[dict[str, float]]:
    """Milliseconds of the starts of so many workers."""
    with ExitStack() as sinks, tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        notes = Path(folder) / "starts"
        os.environ["BENCH_STARTS"] = str(notes)
        with running_server(
            VARIANTS[name], APPLICATION, "sync", Path(folder) / "one", sinks, TIMED_START
        ) as server:
            return [one_start(server, notes) for _ in range(starts)]


def one_start(server: Server, notes: Path) -> dict[str, float]:
    """End the worker, and see the next one start and answer."""
    before = server.worker
    os.kill(before, signal.SIGTERM)
    ready = _wait(lambda: _note(notes, "ready", before))
    server.get()
    answered = _wait(lambda: _note(notes, "answered", before))
    return {"ready": ready[0] * 1e3, "ready_cpu": ready[1] * 1e3, "answered_cpu": answered[1] * 1e3}


def _note(notes: Path, moment: str, before: int) -> tuple[float, float] | None:
    """The last word of such a moment, where it is of a later worker than ``before``."""
    lines = [line.split() for line in notes.read_text().splitlines() if f" {moment} " in line]
    if not lines or int(lines[-1][0]) == before:
        return None
    return float(lines[-1][2]), float(lines[-1][3])


def _wait(look: Callable[[], tuple[float, float] | None]) -> tuple[float, float]:
    deadline = time.monotonic() + DEADLINE
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError("a worker did not come back")
        time.sleep(0.01)
    return found


def run(quick: bool) -> dict[str, Any]:
    """Memory and start-up of all variants, in turn."""
    servers, starts = (1, 3) if quick else (2, 5)
    memory: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    started: dict[str, list[dict[str, float]]] = {name: [] for name in NAMES}
    failed: dict[str, dict[str, Any]] = {}
    for number in range(servers):
        say(f"footprint {number + 1}/{servers}")
        for name in NAMES:
            try:
                memory[name].append(measure_memory(name))
                started[name] += measure_starts(name, starts)
            except RuntimeError as error:
                failed[name] = {"failed": str(error)}
    return failed | {
        name: {f"{kind}_mb": added(memory, name, kind) for kind in memory[name][0]}
        | {f"{kind}_ms": added(started, name, kind) for kind in started[name][0]}
        for name in NAMES
        if name not in failed
    }


def added(measured: dict[str, list[dict[str, float]]], name: str, kind: str) -> dict[str, float]:
    """What a variant has more than the bare one of the same turn; of the bare one, what it has."""
    pairs = zip(measured[name], measured["bare"], strict=True)
    return summary(one[kind] - (bare[kind] if name != "bare" else 0) for one, bare in pairs)


if __name__ == "__main__":
    run_part("footprint", run, __doc__)
