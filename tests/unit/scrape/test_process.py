"""process_cpu_seconds_total: a counter, whatever becomes of the processes that it adds up."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from avatar_telemetry.config.settings import Settings
from avatar_telemetry.scrape import process
from avatar_telemetry.scrape.collector import Collector, Server
from avatar_telemetry.store.slots import claim_slot

USED = 0.5
"""Seconds of processor time."""


def seconds(folder: Path, server: Server | None = None) -> float:
    families = Collector(folder, Settings.from_env({}), server).collect()
    (shown,) = (each for each in families if each.name == "process_cpu_seconds")
    return float(shown.values[0])


def work_and_wait(folder: Path, told: int) -> None:
    claim_slot(folder)
    while time.process_time() < USED:
        pass
    os.write(told, b"!")
    signal.pause()


def test_a_dead_worker_counts_until_its_master_has_it(tmp_path: Path) -> None:
    """Between its death and the master's wait the time of a worker is not missing."""
    claim_slot(tmp_path)  # one worker lives on, and shows the page
    read, write = os.pipe()
    worker = os.fork()
    if worker == 0:
        try:
            work_and_wait(tmp_path, write)
        finally:
            os._exit(1)
    try:
        os.read(read, 1)
        living = seconds(tmp_path)
        os.kill(worker, signal.SIGKILL)
        os.waitid(os.P_PID, worker, os.WEXITED | os.WNOWAIT)
        assert seconds(tmp_path) >= living >= USED
    finally:
        os.waitpid(worker, 0)
        os.close(read)
        os.close(write)


def test_no_rounding_makes_it_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that move from a worker to its master, which has waited for it, give the same sum."""
    claim_slot(tmp_path)
    seen = process.read_stat(os.getpid())
    assert seen is not None
    server = Server(0, lambda: ())

    def shown(master: int, worker: int, children: int) -> float:
        stats = {
            0: replace(seen, cpu_ticks=master, children_cpu_ticks=children),
            os.getpid(): replace(seen, cpu_ticks=worker),
        }
        monkeypatch.setattr(process, "read_stat", stats.get)
        return seconds(tmp_path, server)

    for ticks in range(40):
        at_work = shown(21, ticks, 3)
        assert at_work == shown(21, 0, ticks + 3) == (24 + ticks) / process.TICKS_PER_SECOND
