"""The rings of a runtime folder as one source of batches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from avatar_telemetry.exporter import ring_reader
from avatar_telemetry.exporter import rings as rings_module
from avatar_telemetry.exporter.ring import SPANS, RingReader, RingWriter, ring_path
from avatar_telemetry.exporter.ring_file import DATA, MIN_SIZE, RingFile
from avatar_telemetry.exporter.rings import Rings, encode_request
from tests.support.rings import Worker, spans_of


class Source:
    """The rings of a folder, with the failures that they counted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures = 0
        self.rings = Rings(folder, "spans", self._failed)
        self._workers: list[Worker] = []

    def _failed(self) -> None:
        self.failures += 1

    def worker(self, slot: int = 0, **options: int) -> Worker:
        self._workers.append(Worker(self.folder, slot, **options))
        return self._workers[-1]

    def taken(self, most: int = 512) -> list[str]:
        """Take a batch, settle it, and return the names of its spans."""
        self.rings.refresh()
        request, number = encode_request(self.rings.take(most))
        self.rings.settle()
        names = [name for _, _, name in spans_of(request)]
        assert len(names) == number
        return names

    def close(self) -> None:
        self.rings.close()
        for worker in self._workers:
            worker.ring.close()


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path)
    yield source
    source.close()


def test_batches_of_all_slots(source: Source) -> None:
    """A batch has the frames of several rings; each resource and scope is there once."""
    first, second = source.worker(0), source.worker(1)
    first.write("a", "b")
    first.write("c", scope="other")
    second.write("d")
    first.write("e")
    source.rings.refresh()
    frames = source.rings.take(512)
    assert sum(frame.items for frame in frames) == 5
    request, number = encode_request(frames)
    assert number == 5
    assert sorted(spans_of(request)) == [
        ("0", "other", "c"), ("0", "tests", "a"), ("0", "tests", "b"), ("0", "tests", "e"),
        ("1", "tests", "d"),
    ]  # fmt: skip
    message = ExportTraceServiceRequest.FromString(request)
    assert [len(each.scope_spans) for each in message.resource_spans] == [2, 1]
    assert message.SerializeToString() == request


def test_what_is_not_settled_is_read_again(source: Source) -> None:
    """Frames leave the ring when a collector has taken them, not when they are read."""
    source.worker().write("a")
    source.rings.refresh()
    for _ in range(2):
        assert len(source.rings.take(512)) == 1
        assert source.rings.waiting() == 1
    assert source.taken() == ["a"]
    assert source.taken() == []
    assert source.rings.waiting() == 0


def test_limits_of_a_batch(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has no more items and bytes than allowed, but for its first frame."""
    worker = source.worker()
    for number in range(5):
        worker.write(str(number), f"{number}+")
    assert source.taken(4) == ["0", "0+", "1", "1+"]
    assert source.taken(1) == ["2", "2+"]
    monkeypatch.setattr(rings_module, "MAX_BYTES", 1)
    assert source.taken() == ["3", "3+"]


def test_a_busy_ring_keeps_no_other_waiting(source: Source) -> None:
    """Where batches are full, the next one begins with another ring."""
    workers = [source.worker(slot) for slot in range(3)]
    for _ in range(3):
        for slot, worker in enumerate(workers):
            worker.write(str(slot))
    assert [source.taken(1) for _ in range(6)] == [["0"], ["1"], ["2"]] * 2


def test_ring_of_a_dead_worker(source: Source) -> None:
    """What a worker left is read without it; its successor continues the same ring."""
    source.worker().write("of the first")
    source.worker().write("of the second")
    assert source.taken() == ["of the first", "of the second"]
    source.worker()  # a third one that has written nothing but its resource
    assert source.taken() == []
    assert source.rings.waiting() == 0


def test_rings_of_another_signal(source: Source) -> None:
    """Log records have rings of their own: each signal waits for its collector alone."""
    worker = Worker(source.folder, 0, signal="logs")
    worker.write("a")
    assert source.taken() == []
    worker.ring.close()


def test_ring_that_is_replaced(source: Source) -> None:
    """A ring that a cleaner removed is forgotten, the new one of that slot is read."""
    source.worker().write("lost")
    source.rings.refresh()
    ring_path(source.folder, 0).unlink()
    source.worker().write("new")
    assert source.taken() == ["new"]
    assert source.failures == 0


def test_folder_that_is_gone(tmp_path: Path) -> None:
    """Without its folder there is nothing to read, and the caller learns why."""
    folder = tmp_path / "gone"
    rings = Rings(folder, "spans", lambda: None)
    with pytest.raises(FileNotFoundError):
        rings.refresh()


def corrupt_frame(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(DATA * 8)
        file.write(b"\xff" * 8)


def make_text(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"no ring" * 40_000)


def make_link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def make_empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [corrupt_frame, make_text, make_link, make_empty])
def test_corrupt_ring(source: Source, damage: Callable[[Path], object]) -> None:
    """It is set aside and counted once, and costs no other ring anything."""
    worker, other = source.worker(0), source.worker(1)
    worker.write("lost")
    worker.ring.close()
    other.write("kept")
    damage(ring_path(source.folder, 0))
    assert source.taken() == ["kept"]
    assert source.failures == 1
    assert not os.path.lexists(ring_path(source.folder, 0))
    source.worker(0).write("new")
    assert source.taken() == ["new"]
    assert source.failures == 1


def test_ring_that_becomes_corrupt(source: Source) -> None:
    """The same for a ring that was read before."""
    worker, other = source.worker(0), source.worker(1)
    worker.write("a")
    source.taken()
    worker.write("lost")
    with open(ring_path(source.folder, 0), "r+b") as file:
        file.seek(DATA * 8)
        file.write(b"\xff" * 4096)
    other.write("kept")
    assert source.taken() == ["kept"]
    assert source.failures == 1


def test_frame_with_a_wrong_checksum(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted once, when it leaves the ring, however often it was read."""
    monkeypatch.setattr(ring_reader, "RETRY_DELAY", 0)
    ring = RingWriter(source.folder, 0, MIN_SIZE, 100, resource=b"R", checksum=True)
    offset = DATA + ring.written
    for payload in (b"lost" * 2, b"kept" * 2):
        assert ring.put(SPANS, 1, payload)
    file = RingFile(ring_path(source.folder, 0))
    file.words[offset + 2] ^= 1
    file.close()
    source.rings.refresh()
    for _ in range(2):
        assert [frame.payload for frame in source.rings.take(512)] == [b"kept" * 2]
    assert source.failures == 0
    source.rings.settle()
    assert source.failures == 1
    assert ring.put(SPANS, 1, b"more" * 2)
    assert len(source.rings.take(512)) == 1
    source.rings.settle()
    assert source.failures == 1
    ring.close()


def test_ring_that_another_process_reads(source: Source) -> None:
    """A second reader, against the rules, makes the ring be set aside instead of lost frames."""
    worker = source.worker()
    worker.write("a")
    source.rings.refresh()
    source.rings.take(512)
    intruder = Source(source.folder)
    assert intruder.taken() == ["a"]
    intruder.close()
    source.rings.settle()
    assert source.failures == 1


@pytest.mark.parametrize("kind", ["folder", "fifo"])
def test_name_that_cannot_be_cleared(source: Source, kind: str) -> None:
    """Where something in the way cannot be renamed, the rings after it are still read."""
    path = ring_path(source.folder, 0)
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    kept = path.with_name(f"{path.name}.corrupt")
    kept.mkdir()
    (kept / "file").touch()
    source.worker(1).write("kept")
    assert source.taken() == ["kept"]
    assert source.taken() == []
    assert source.failures == 2


@pytest.mark.parametrize("error", [PermissionError, OSError, ValueError])
def test_ring_that_cannot_be_opened(
    source: Source, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """Without the right, a descriptor or memory for one ring, the rings after it are read."""
    source.worker(0).write("later")
    source.worker(1).write("kept")
    with monkeypatch.context() as patch:

        def open_ring(path: Path) -> RingReader:
            if path == ring_path(source.folder, 0):
                raise error
            return RingReader(path)

        patch.setattr(rings_module, "RingReader", open_ring)
        assert source.taken() == ["kept"]
    assert source.failures == 1
    assert source.taken() == ["later"]


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff" * 7,
        b"\xff" * 64,
        b"\x01\x00\x00\x00\x01\x00\x00\x00a",
        b"\x00" * 9,
        b"",
    ],
)
def test_frame_that_is_not_made_of_sections(source: Source, payload: bytes) -> None:
    """It is left out of the request, and settled with the others."""
    worker = source.worker()
    worker.write("a")
    assert worker.ring.put(SPANS, 3, payload)
    worker.write("b")
    source.rings.refresh()
    frames = source.rings.take(512)
    assert sum(frame.items for frame in frames) == 5
    request, number = encode_request(frames)
    assert number == 2
    assert [name for _, _, name in spans_of(request)] == ["a", "b"]
    source.rings.settle()
    assert source.taken() == []
