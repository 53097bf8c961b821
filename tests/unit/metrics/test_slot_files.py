"""The slot of a process and its files: taken, checked, and restored after whatever was removed."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.metrics import slot_files
from avatar_telemetry.metrics.folder import open_runtime_dir
from avatar_telemetry.metrics.instruments import DURATION, SPANS
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.metrics.slot_files import SlotFiles
from avatar_telemetry.metrics.slots import Slot, holders
from tests.support.descriptors import open_below
from tests.support.samples import samples_in

COUNTED = (f"{SPANS.name}_total", frozenset({("result", "dropped")}))


class Worker:
    """A process that counts into a runtime directory."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.folder = open_runtime_dir(str(folder), 0, os.geteuid(), os.getegid())
        self.book = Book()
        self.guard = Guard()
        self.files = SlotFiles(self.folder, self.book, self.guard)
        self.begin()

    def begin(self) -> None:
        self.files.take()
        self.metrics = Metrics(self.book, 100)
        self.files.on_move(self.metrics.renew)

    def count(self) -> None:
        self.metrics.count(SPANS, "dropped")
        self.metrics.observe(DURATION, 0.1, "GET", "200", "/")

    def counted(self) -> list[float]:
        """The values of both instruments in the directory."""
        samples = samples_in(self.path)
        sums = {name: value for (name, _), value in samples.items()}
        return [samples[COUNTED], sums[f"{DURATION.name}_count"]]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """A worker with a slot."""
    worker = Worker(tmp_path / "runtime")
    yield worker
    worker.files.close()
    worker.book.detach()
    worker.metrics.renew()
    worker.folder.release()
    assert open_below(tmp_path) == []


def test_a_slot_begins_without_the_requests_of_its_last_holder(worker: Worker) -> None:
    """Counters go on; a killed worker's requests in progress are over, though its master may not
    know it yet."""
    worker.count()
    worker.metrics.started(0.0)
    in_progress = "ivatar_requests_in_progress", frozenset[Any]()
    assert samples_in(worker.path, ("s0",))[in_progress] == 1.0
    worker.files = worker.files.of_child(worker=True)
    worker.begin()
    worker.count()
    assert samples_in(worker.path, ("s0",))[in_progress] == 0.0
    assert worker.counted() == [2.0, 2.0]
    assert worker.files.number() == 0


def test_a_slot_that_cannot_be_used_is_free_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the live gauges of the last holder stay, the slot is left to the next attempt."""

    def fail(path: Path, slot: int) -> None:
        raise PermissionError(path)

    worker.files = worker.files.of_child(worker=True)
    monkeypatch.setattr(slot_files, "remove_live_gauges", fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no slot"):
            worker.files.number()
    assert [name for name in open_below(worker.path) if "slot-" in name] == []
    assert [path.name for path in worker.path.glob("slot-*")] == ["slot-0.lock"]


@pytest.mark.parametrize("later", [SlotFiles.number, SlotFiles.check])
def test_a_slot_that_is_taken_later(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, later: Any
) -> None:
    """Counts from before and after the slot was taken are in the files of the slot."""

    def fail(folder: Path, *, worker: bool) -> Slot:
        raise OSError(28, "no space left on device")

    worker.files = worker.files.of_child(worker=True)
    worker.book.detach()
    with monkeypatch.context() as full:
        full.setattr(slot_files, "claim_slot", fail)
        worker.begin()
        worker.count()
    later(worker.files)
    worker.count()
    assert worker.counted() == [2.0, 2.0]


@pytest.mark.parametrize(
    ("removed", "slot"),
    [
        pytest.param("histogram_s0.db", 0, id="file"),
        pytest.param("slot-0.lock", 0, id="lock of the slot"),
        pytest.param("counter_s0.db", 1, id="locked counters"),
        pytest.param("folder.lock", 0, id="lock of the directory"),
        pytest.param("*", 0, id="everything"),
    ],
)
def test_what_was_removed_is_restored(worker: Worker, removed: str, slot: int) -> None:
    """With the counts, and with a lock without which another process would take the slot."""
    worker.count()
    for path in worker.path.glob(removed):
        path.unlink()
    worker.files.check()
    worker.count()
    assert worker.counted() == [2.0, 2.0]
    assert [each.slot for each in holders(worker.path)][-1] == worker.files.number() == slot
    assert worker.folder.is_locked
    assert [name for name in open_below(worker.path) if "deleted" in name] == []


def test_nothing_is_logged_while_values_move(worker: Worker) -> None:
    """gevent runs other greenlets while a record is written; they would count in removed files."""
    logged: list[tuple[str, bool]] = []

    class Owners(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            owned = worker.book.lock._is_owned()  # type: ignore[attr-defined]
            logged.append((" ".join(record.getMessage().split()[:3]), owned))

    handler = Owners()
    LOGGER.addHandler(handler)
    shutil.rmtree(worker.path)
    worker.files.check()
    shutil.rmtree(worker.path)
    worker.path.write_text("no folder")
    worker.files.check()
    worker.path.unlink()
    LOGGER.removeHandler(handler)
    assert logged == [("the runtime directory", False), ("internal telemetry error", False)]


def test_the_files_of_a_quiet_server_look_young(worker: Worker) -> None:
    """A cleaner that goes by the time of access leaves them."""
    os.utime(worker.path / "folder.lock", (1000, 1000))
    worker.files.check()
    assert (worker.path / "folder.lock").stat().st_atime > 1000
