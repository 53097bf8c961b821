"""The recording of a worker: rings, tracer provider and log handler, with no sending in it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_telemetry import Settings
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter.ring import LOGS, SPANS, RingWriter, ring_path
from avatar_telemetry.exporter.rings import Rings, encode_request
from avatar_telemetry.exporter.wake import Wakeup
from avatar_telemetry.metrics.folder import RuntimeDir
from avatar_telemetry.metrics.instruments import Instrument
from avatar_telemetry.profiles.generic import PROFILE
from avatar_telemetry.runtime import recording as recording_module
from avatar_telemetry.runtime.recording import OPEN_INTERVAL, Recording, SlotRing
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.budget import FILE_NAME
from avatar_telemetry.tracing.keep import Ended
from tests.support.descriptors import open_below
from tests.support.forked import in_child
from tests.support.frames import log_record
from tests.support.rings import Reader, spans_of
from tests.support.waiting import DEADLINE

ENABLED = {"OTEL_EXPORT_ENABLED": "true", "OTEL_METRICS_EXPORTER": "none"}
LOGGER = logging.getLogger("shop")


class Worker:
    """A process that records into a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.folder = RuntimeDir(folder, False, -1, 1_000.0, b"key")
        self.failures: list[str] = []
        self.guard = Guard(self.failures.append)
        self.dropped: Counter[str] = Counter()
        self.slot = 0
        self.claimed: Callable[[], int] = lambda: self.slot
        self._made: list[Recording] = []

    def add(self, instrument: Instrument, amount: float, result: str) -> None:
        assert result == "dropped"
        self.dropped[instrument.name] += int(amount)

    def recording(self, **environ: str) -> Recording:
        settings = Settings.from_env({**ENABLED, **environ})
        made = Recording(settings, self.folder, lambda: self.claimed(), self.add, self.guard)
        self._made.append(made)
        return made

    def span(self, recording: Recording, name: str = "name") -> None:
        assert recording._pipeline is not None
        recording._pipeline.provider.get_tracer("tests").start_span(name).end()

    def spans(self) -> list[str]:
        """Read and remove the spans of all rings."""
        rings = Rings(self.path, "spans", lambda: None)
        rings.refresh()
        frames = rings.take(10_000)
        names = [name for _, _, name in spans_of(encode_request(frames)[0])]
        rings.settle()
        rings.close()
        return names

    def close(self) -> None:
        for recording in self._made:
            recording.stop(time.monotonic() + DEADLINE)
            for ring in recording._rings:
                ring.forget()
            recording._waker.close()


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    """A worker whose provider is not published: that would be for the whole process of tests."""
    monkeypatch.setattr(Pipeline, "publish", lambda self: None)
    worker = Worker(tmp_path)
    handlers = logging.getLogger().handlers[:]
    yield worker
    worker.close()
    assert logging.getLogger().handlers == handlers
    assert open_below(tmp_path) == []


# Rings


class Slots:
    """Rings of one process that are opened by a prepared function."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures: list[str] = []
        self.dropped: list[int] = []
        self.opened = 0
        self.error: Exception | None = None
        self.now = 0.0
        self.made = SlotRing(
            self._make, self.dropped.append, Guard(self.failures.append), lambda: self.now
        )

    def _make(self) -> RingWriter:
        self.opened += 1
        if self.error is not None:
            raise self.error
        return RingWriter(self.folder, 0, 1 << 16, 4, resource=b"", dropped=self.dropped.append)


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    slots = Slots(tmp_path)
    yield slots
    slots.made.forget()


def test_ring_is_made_once(slots: Slots) -> None:
    """It is made with the first frame, and full rings count what is dropped."""
    assert slots.opened == 0
    assert slots.made.put(SPANS, 3, b"x" * 8)
    assert not slots.made.put(SPANS, 2, b"x" * 8)
    assert slots.made.put(SPANS, 1, b"x" * 8)
    assert (slots.opened, slots.dropped) == (1, [2])


def test_ring_that_cannot_be_made(slots: Slots) -> None:
    """A record that cannot be written is dropped and counted; nothing is raised."""
    slots.error = OSError("no space")
    assert not slots.made.put(SPANS, 3, b"x")
    assert (slots.failures, slots.dropped) == (["ring"], [3])
    for _ in range(9):
        assert not slots.made.put(SPANS, 1, b"x")
    assert slots.opened == 1, "it is not tried again for every frame"
    slots.error = None
    slots.now += OPEN_INTERVAL
    assert slots.made.put(SPANS, 3, b"x")


def test_ring_that_was_removed(slots: Slots) -> None:
    """A ring that is not in its folder any more is replaced; what is in place stays."""
    slots.made.put(SPANS, 1, b"x")
    slots.made.check()
    assert slots.opened == 1
    ring_path(slots.folder, 0).unlink()
    slots.made.check()
    assert slots.opened == 2
    assert slots.made.put(SPANS, 1, b"x")
    reader = Reader(ring_path(slots.folder, 0))
    assert reader.waiting == 1
    reader.close()


def test_check_of_a_ring_that_was_never_made(slots: Slots) -> None:
    """A process that recorded nothing has no ring."""
    slots.made.check()
    slots.made.forget()
    assert slots.opened == 0
    assert slots.made.is_read()()


def test_whether_a_ring_is_read(slots: Slots) -> None:
    """Only records that were in the ring at the call count, not later ones."""
    slots.made.put(SPANS, 1, b"x")
    is_read = slots.made.is_read()
    assert not is_read()
    reader = Reader(ring_path(slots.folder, 0))
    reader.advance(reader.read(1 << 20, 9).end)
    slots.made.put(SPANS, 1, b"y")
    assert is_read()
    assert not slots.made.is_read()()
    reader.close()


def test_threads_make_one_ring(slots: Slots) -> None:
    """The first spans of several threads go into the same ring."""
    threads = [threading.Thread(target=slots.made.put, args=(SPANS, 1, b"x" * 8)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    assert slots.opened == 1


# Recording


def test_spans_and_log_records_have_rings(worker: Worker) -> None:
    """Each signal is written into a ring of the slot, with the attributes of the worker."""
    recording = worker.recording(
        OTEL_LOGS_EXPORTER="otlp", OTEL_SERVICE_NAME="pictures", HOSTNAME="here"
    )
    worker.slot = 0
    recording.take_logs()
    worker.span(recording, "a")
    LOGGER.warning("b")
    assert sorted(each.name for each in worker.path.iterdir()) == [
        "exporter.wake", "logs-0.ring", "spans-0.ring",
    ]  # fmt: skip
    assert worker.spans() == ["a"]
    reader = Reader(ring_path(worker.path, 0, "logs"))
    (frame,) = reader.read(1 << 20, 9).frames
    reader.close()
    assert (frame.kind, frame.items) == (LOGS, 1)
    assert log_record(frame.payload)[1].body.string_value == "b"
    for text in (b"pictures", b"here/0", b"process.pid"):
        assert text in frame.resource
    assert worker.failures == []


def test_log_records_are_taken_late(worker: Worker) -> None:
    """Not before the application has configured its logging, and not after the stop."""
    recording = worker.recording(OTEL_LOGS_EXPORTER="otlp", OTEL_TRACES_EXPORTER="none")
    LOGGER.warning("early")
    recording.take_logs()
    LOGGER.warning("taken")
    recording.stop(time.monotonic() + DEADLINE)
    LOGGER.warning("late")
    reader = Reader(ring_path(worker.path, 0, "logs"))
    assert reader.waiting == 1
    reader.close()
    assert not ring_path(worker.path, 0).exists()


def test_spans_that_nobody_exports(worker: Worker) -> None:
    """OTEL_TRACES_EXPORTER=none: spans are made for processors, and written nowhere."""
    recording = worker.recording(OTEL_TRACES_EXPORTER="none")
    worker.span(recording)
    assert recording.tracing(PROFILE) is not None
    assert list(worker.path.glob("*.ring")) == []
    assert worker.dropped == {}
    assert recording.flush(0.0)


def test_full_ring(worker: Worker) -> None:
    """Records that do not fit are counted by signal."""
    recording = worker.recording(
        OTEL_BSP_MAX_QUEUE_SIZE="2", OTEL_BLRP_MAX_QUEUE_SIZE="1", OTEL_LOGS_EXPORTER="otlp"
    )
    recording.take_logs()
    for number in range(5):
        worker.span(recording, str(number))
        LOGGER.warning("x")
    assert worker.dropped == {
        recording_module.SPANS.name: 3, recording_module.LOG_RECORDS.name: 4,
    }  # fmt: skip
    assert worker.spans() == ["0", "1"]


def test_half_full_ring_wakes_the_exporter(worker: Worker) -> None:
    """The exporter does not wait for its interval then."""
    recording = worker.recording(OTEL_BSP_MAX_QUEUE_SIZE="10")
    wakeup = Wakeup(worker.path)
    worker.span(recording)
    assert not wakeup.wait(0)
    for _ in range(6):
        worker.span(recording)
    assert wakeup.wait(0)
    wakeup.close()


def test_flush_waits_for_the_reader(worker: Worker) -> None:
    """A flush wakes the exporter, and returns when it has taken what was there."""
    recording = worker.recording()
    worker.span(recording, "a")
    assert not recording.flush(time.monotonic())
    wakeup = Wakeup(worker.path)
    taken: list[str] = []

    def read() -> None:
        wakeup.wait(DEADLINE)
        taken.extend(worker.spans())

    thread = threading.Thread(target=read)
    thread.start()
    assert recording.flush(time.monotonic() + DEADLINE)
    thread.join(DEADLINE)
    assert taken == ["a"]
    wakeup.close()


def test_stop_waits_for_nothing(worker: Worker) -> None:
    """The records of the ring stay there for the exporter."""
    recording = worker.recording()
    worker.span(recording, "a")
    recording.stop(time.monotonic())
    assert worker.spans() == ["a"]


def test_folder_that_was_built_anew(worker: Worker) -> None:
    """After a check what follows goes into a ring of the new folder, and wakes its exporter."""
    recording = worker.recording(OTEL_BSP_MAX_QUEUE_SIZE="2")
    for path in worker.path.iterdir():
        path.unlink()
    recording.check()
    wakeup = Wakeup(worker.path)
    worker.span(recording, "a")
    worker.span(recording, "b")
    assert wakeup.wait(0)
    assert worker.spans() == ["a", "b"]
    wakeup.close()


def test_child_has_rings_of_its_own(worker: Worker) -> None:
    """A forked child writes into the ring of its own slot, with its own pid, and its parent goes
    on."""
    recording = worker.recording(HOSTNAME="here")
    worker.span(recording, "of the parent")
    parent = os.getpid()

    def work() -> list[bool]:
        recording.forget(lambda: 1)
        worker.span(recording, "of the child")
        reader = Reader(ring_path(worker.path, 1))
        (frame,) = reader.read(1 << 20, 9).frames
        of_child = reader.writer[0] == os.getpid() and b"here/1" in frame.resource
        reader.close()
        return [Reader(ring_path(worker.path, 0)).writer[0] == parent, of_child]

    assert in_child(work) == [True, True]
    worker.span(recording, "of the parent again")
    assert sorted(worker.spans()) == ["of the child", "of the parent", "of the parent again"]


def test_workers_share_the_budget_of_kept_requests(worker: Worker) -> None:
    """It is a file of the runtime directory, and a forked child counts in the word of its slot."""
    rules = {"AVATAR_TELEMETRY_KEEP": "errors, budget:100000/s"}
    failed = Ended("/", "500", True), 0.1, bytes(16)
    recording = worker.recording(**rules)
    assert recording._pipeline is not None
    keeper = recording._pipeline.provider.keeper
    assert keeper is not None
    assert keeper.decide(*failed).kept
    recording.forget(lambda: 1)
    assert keeper.decide(*failed).kept
    words = memoryview((worker.path / FILE_NAME).read_bytes()).cast("Q")
    assert [bool(word) for word in words[:3]] == [True, True, False]
    (worker.path / FILE_NAME).unlink()
    recording.check()
    assert keeper.decide(*failed).kept
    assert (worker.path / FILE_NAME).exists()
    assert not worker.failures
    recording._budget.forget()


def test_process_without_a_slot(worker: Worker) -> None:
    """Spans of a process that gets no slot are dropped and counted; requests go on."""

    def fail() -> int:
        raise OSError("this process has no slot")

    recording = worker.recording()
    for ring in recording._rings:
        ring.forget()
    worker.claimed = fail
    worker.span(recording)
    assert worker.dropped == {recording_module.SPANS.name: 1}
    assert worker.failures == ["ring"]


def test_corrupt_ring_of_an_earlier_worker(worker: Worker) -> None:
    """It is counted as an internal error, and a new ring records the spans."""
    ring_path(worker.path, 0).write_bytes(b"no ring")
    recording = worker.recording()
    worker.span(recording, "kept")
    assert worker.failures == ["ring"]
    assert worker.spans() == ["kept"]


def test_slot_that_is_free_later(worker: Worker) -> None:
    """A worker that starts in a full file system records spans as soon as there is room."""

    def fail() -> int:
        raise OSError("no space left on device")

    claim, worker.claimed = worker.claimed, fail
    recording = worker.recording()
    worker.span(recording, "lost")
    assert worker.dropped == {recording_module.SPANS.name: 1}
    worker.claimed = claim
    for ring in recording._rings:
        ring._open_at = 0.0
    worker.span(recording, "kept")
    assert worker.spans() == ["kept"]


def test_part_that_fails(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker starts and ends without the spans or log records that it cannot record."""

    def fail(*args: Any) -> None:
        raise OSError("no memory")

    monkeypatch.setattr(recording_module, "Pipeline", fail)
    monkeypatch.setattr(recording_module, "ExportHandler", fail)
    recording = worker.recording(OTEL_LOGS_EXPORTER="otlp")
    assert worker.failures == ["export", "logs"]
    assert recording.tracing(PROFILE) is None
    recording.take_logs()
    recording.check()
    recording.forget(worker.claimed)  # nothing of it raises
    recording.stop(time.monotonic())


@pytest.mark.parametrize(
    ("environ", "key"),
    [
        pytest.param({}, b"key", id="of the folder"),
        pytest.param({"AVATAR_TELEMETRY_HASH_KEY": "0123456789"}, b"0123456789", id="named"),
    ],
)
def test_key_of_hashes(worker: Worker, environ: dict[str, str], key: bytes) -> None:
    """Servers that are given one key make the same hashes; the folder's key is for all others."""
    recording = worker.recording(**environ)
    assert recording._pipeline is not None
    assert recording._pipeline._key == key
