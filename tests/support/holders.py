"""Processes that hold the slots of a runtime folder."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from avatar_telemetry.metrics.slots import claim_slot

FORK = multiprocessing.get_context("fork")


def hold_slot(folder: Path, tell) -> None:
    tell.send((os.getpid(), claim_slot(folder).number))
    signal.pause()


class Holders:
    """Processes that hold slots until they are killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[int, multiprocessing.process.BaseProcess] = {}

    def start(self, number: int) -> dict[int, int]:
        """So many more; gives slot -> pid of the new ones."""
        # A pipe each: one that is killed while it writes into a common queue keeps its lock.
        pipes = []
        for _ in range(number):
            told, tell = FORK.Pipe(duplex=False)
            process = FORK.Process(target=hold_slot, args=(self.folder, tell))
            process.start()
            tell.close()
            self.processes[process.pid or 0] = process
            pipes.append(told)
        return {slot: pid for pid, slot in (told.recv() for told in pipes)}

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.processes.pop(pid).join()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Holders]:
    started = Holders(tmp_path)
    yield started
    for pid in list(started.processes):
        started.kill(pid)
