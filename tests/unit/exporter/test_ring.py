"""Rings: what is put is read once, in order, whatever ends meanwhile."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from avatar_telemetry.exporter import ring_file, ring_reader
from avatar_telemetry.exporter.ring import (
    LOGS,
    MAX_RESOURCE,
    SPANS,
    CorruptRing,
    RingWriter,
    ring_path,
    rings,
)
from avatar_telemetry.exporter.ring_file import (
    COUNT_BITS,
    DATA,
    MAGIC,
    MAX_ITEMS,
    MAX_POSITION,
    MIN_SIZE,
    READ,
    WRITTEN,
    RingFile,
)
from avatar_telemetry.metrics.procfs import start_ticks
from tests.support.forked import in_child
from tests.support.rings import Reader

ALL = 1 << 30
NAME = "spans-0.ring"


class Sides:
    """Writers and readers of the ring of slot 0, closed at the end of the test."""

    def __init__(self, folder: Path, checksum: bool) -> None:
        self.folder = folder
        self.path = ring_path(folder, 0)
        self.checksum = checksum
        self._opened: list[Any] = []

    def writer(
        self, size: int = MIN_SIZE, max_items: int = 100_000, resource: bytes = b"R", **options: Any
    ) -> RingWriter:
        options.setdefault("checksum", self.checksum)
        writer = RingWriter(self.folder, 0, size, max_items, resource=resource, **options)
        self._opened.append(writer)
        return writer

    def reader(self) -> Reader:
        reader = Reader(self.path)
        self._opened.append(reader)
        return reader

    def file(self) -> RingFile:
        """The ring itself, for what only a fault would store."""
        file = RingFile(self.path)
        self._opened.append(file)
        return file

    def close(self) -> None:
        for each in self._opened:
            each.close()


@pytest.fixture(params=[False, True], ids=["plain", "checksum"])
def sides(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Sides]:
    opened = Sides(tmp_path, request.param)
    yield opened
    opened.close()


def drain(reader: Reader, max_bytes: int = ALL, max_items: int = ALL) -> list[bytes]:
    """The payloads of everything that waits, which is removed."""
    payloads = []
    while not reader.is_empty:
        batch = reader.read(max_bytes, max_items)
        payloads += [frame.payload for frame in batch.frames]
        reader.advance(batch.end)
    return payloads


def fill(writer: RingWriter, payload: bytes = b"x" * 1000) -> int:
    """Put until the ring is full, and return how many were put."""
    count = 0
    while writer.put(SPANS, 1, payload):
        count += 1
    return count


def test_frames_are_read_in_order_with_all_that_was_put(sides: Sides) -> None:
    """Kind, items, payload of any length, and the resource of the writer."""
    writer, reader = sides.writer(resource=b"encoded"), sides.reader()
    put = [(SPANS, 2, b""), (LOGS, 1, b"1234567"), (SPANS, 3, b"12345678"), (LOGS, 0, b"9" * 99)]
    assert all(writer.put(*each) for each in put)
    batch = reader.read(ALL, ALL)
    assert [tuple(each) for each in batch.frames] == [(*each, b"encoded") for each in put]
    assert batch.items == 6
    assert reader.waiting == writer.waiting == 6
    reader.advance(batch.end)
    assert reader.waiting == writer.waiting == 0
    assert reader.read(ALL, ALL).frames == []


def test_a_ring_goes_round(sides: Sides) -> None:
    """Many times its size passes through it, whatever the lengths."""
    writer, reader = sides.writer(), sides.reader()
    sent, received = [], []
    for number in range(3000):
        payload = b"%d;" % number * (number * 7 % 250)
        assert writer.put(SPANS, 1, payload)
        sent.append(payload)
        if number % 20 == 0:
            received += drain(reader)
    assert received + drain(reader) == sent


@pytest.mark.parametrize("left", range(4), ids=lambda left: f"{left}-units")
def test_a_frame_that_does_not_fit_before_the_end_starts_at_the_beginning(
    sides: Sides, left: int
) -> None:
    """Any number of units may be left, too few for a word and a checksum as well."""
    writer, reader = sides.writer(), sides.reader()
    capacity, head = MIN_SIZE // 8, 2 if sides.checksum else 1
    sent = []
    while (room := capacity - writer.written % capacity) > 2000:
        sent.append(b"a" * 7000)
        assert writer.put(SPANS, 1, sent[-1])
        drain(reader)
    sent = [b"b" * ((room - left - head) * 8), b"c" * 100]
    assert all(writer.put(SPANS, 1, each) for each in sent)
    assert drain(reader) == sent
    assert writer.read == writer.written


def test_the_newest_is_dropped_from_a_full_ring_and_counted(sides: Sides) -> None:
    """Spans and log records are counted apart, in the header, for the next holder as well."""
    writer, reader = sides.writer(), sides.reader()
    assert writer.put(SPANS, 1, b"the oldest")
    fill(writer)
    dropped = reader.dropped
    assert not writer.put(LOGS, 3, b"x" * 1000)
    assert not writer.put(SPANS, 2, b"x" * 1000)
    assert (reader.dropped_spans, reader.dropped_logs) == (dropped + 2, 3)
    writer.close()
    assert sides.writer().dropped == reader.dropped == dropped + 5
    assert drain(reader)[0] == b"the oldest"


def test_items_are_bounded(sides: Sides) -> None:
    """``max_items`` may wait; a frame of more is accepted where nothing waits."""
    writer, reader = sides.writer(max_items=4), sides.reader()
    assert writer.put(SPANS, 2, b"a")
    assert writer.put(SPANS, 2, b"b")
    assert not writer.put(SPANS, 1, b"c")
    assert drain(reader) == [b"a", b"b"]
    assert writer.put(SPANS, 9, b"d")
    assert not writer.put(SPANS, 1, b"e")
    assert drain(reader) == [b"d"]
    assert reader.dropped == 2
    assert writer.put(SPANS, 1, b"f")


def test_a_count_of_items_that_went_wrong_is_right_once_the_ring_is_empty(sides: Sides) -> None:
    """Otherwise a bit that flipped would drop spans for ever."""
    writer, reader = sides.writer(max_items=4), sides.reader()
    assert writer.put(SPANS, 4, b"")
    drain(reader)
    sides.file().words[READ] -= 3
    assert writer.waiting == reader.waiting == 0
    assert writer.put(SPANS, 2, b"a")
    drain(reader)
    assert writer.put(SPANS, 2, b"b")
    assert writer.waiting == 2


def test_the_longest_payload_fits_at_any_position(sides: Sides) -> None:
    """One that is longer is dropped and counted, even from an empty ring."""
    writer, reader = sides.writer(), sides.reader()
    longest = b"x" * writer.max_payload
    assert MIN_SIZE // 2 - 16 <= len(longest) <= MIN_SIZE // 2
    for number in range(36):
        assert writer.put(SPANS, 1, b"y" * (900 * number))
        drain(reader)
        assert writer.put(SPANS, 1, longest), number
        assert drain(reader) == [longest]
        assert not writer.put(SPANS, 1, longest + b"x")
    assert reader.dropped == 36


@pytest.mark.parametrize("cause", ["bytes", "items"])
def test_the_reader_is_woken_once_when_the_ring_is_half_full(sides: Sides, cause: str) -> None:
    """And again only after it was less than half full."""
    calls: list[int] = []
    size, payload = (MIN_SIZE, b"x" * 1000) if cause == "bytes" else (1 << 20, b"")
    writer = sides.writer(size, 100_000 if cause == "bytes" else 64, wake=lambda: calls.append(0))
    reader = sides.reader()
    for rounds in range(1, 4):
        half = 32 if cause == "bytes" else 33
        for _ in range(half - 3):
            assert writer.put(SPANS, 1, payload)
        assert len(calls) == rounds - 1
        for _ in range(12):
            assert writer.put(SPANS, 1, payload)
        assert len(calls) == rounds
        drain(reader)


def test_a_failing_wake_disturbs_nobody(sides: Sides) -> None:
    """The frame is in the ring; one that the wake puts itself is, too."""

    def wake() -> None:
        assert writer.put(LOGS, 1, b"woken")
        raise OSError("nobody there")

    writer = sides.writer(max_items=2, wake=wake)
    assert writer.put(SPANS, 1, b"a")
    assert not writer.put(SPANS, 2, b"b")
    writer.close()
    writer = sides.writer(max_items=10, wake=wake)
    assert writer.put(SPANS, 6, b"c")
    assert drain(sides.reader()) == [b"a", b"c", b"woken"]


@pytest.mark.parametrize(
    ("kind", "items", "payload"),
    [
        pytest.param(SPANS, 1, None, id="none"),
        pytest.param(SPANS, 1, "text", id="text"),
        pytest.param(SPANS, 1, memoryview(b"12345678").cast("I"), id="words"),
        pytest.param(SPANS, -1, b"x", id="negative"),
        pytest.param(SPANS, None, b"x", id="no-items"),
        pytest.param(4, 1, b"x", id="unknown-kind"),
        pytest.param(1 << 30, 1, b"x", id="large-kind"),
        pytest.param(0, 1, b"x", id="padding"),
        pytest.param(SPANS, 1 << 20, b"x", id="items"),
        pytest.param(SPANS, 1 << 70, b"x", id="many-items"),
    ],
)
def test_put_never_raises(sides: Sides, kind: int, items: int, payload: Any) -> None:
    """What cannot be put is dropped, and the next frame is whole."""
    writer, reader = sides.writer(), sides.reader()
    assert not writer.put(kind, items, payload)
    assert writer.put(SPANS, 1, b"next")
    assert drain(reader) == [b"next"]


class Interrupting(bytes):
    """A payload whose measuring runs something, as a signal handler or a finalizer would."""

    action: Callable[[], object]

    def __len__(self) -> int:
        self.action()
        return super().__len__()


def test_a_put_amidst_a_put_is_dropped(sides: Sides) -> None:
    """It neither waits for itself nor writes where the other one does."""
    writer, reader = sides.writer(), sides.reader()
    results = []
    outer = Interrupting(b"outer")
    outer.action = lambda: results.append(writer.put(LOGS, 3, b"inner"))
    assert writer.put(SPANS, 1, outer)
    assert set(results) == {False}
    assert writer.put(SPANS, 1, b"next")
    assert drain(reader) == [b"outer", b"next"]
    assert reader.dropped_logs == 3 * len(results)


def test_an_exit_amidst_a_put_passes(sides: Sides) -> None:
    """A handler that ends the process may still put what it has."""

    def leave() -> None:
        raise SystemExit

    writer, reader = sides.writer(), sides.reader()
    payload = Interrupting(b"outer")
    payload.action = leave
    with pytest.raises(SystemExit):
        writer.put(SPANS, 1, payload)
    assert writer.put(SPANS, 1, b"last")
    assert drain(reader) == [b"last"]


def test_threads_that_put_at_once_lose_nothing(sides: Sides) -> None:
    """Eight of them, while the ring is read."""
    writer, reader = sides.writer(1 << 20), sides.reader()
    start = threading.Barrier(8)

    def work(thread: int) -> None:
        start.wait()
        for number in range(300):
            assert writer.put(SPANS, 1, b"%d %d " % (thread, number) * 10)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    received = []
    while any(each.is_alive() for each in threads):
        received += drain(reader)
    for each in threads:
        each.join()
    received += drain(reader)
    for thread in range(8):
        expected = [b"%d %d " % (thread, number) * 10 for number in range(300)]
        assert [each for each in received if each.startswith(b"%d " % thread)] == expected
    assert len(received) == 2400
    assert writer.dropped == 0


def test_what_waits_stays_for_the_next_holder(sides: Sides) -> None:
    """It goes on after it, with its own resource; the header names the new holder."""
    first = sides.writer(resource=b"first")
    assert first.put(SPANS, 1, b"a")
    reader = sides.reader()
    generation = reader.generation
    first.close()
    second = sides.writer(resource=b"second")
    assert second.put(SPANS, 1, b"b")
    frames = reader.read(ALL, ALL).frames
    assert [(each.payload, each.resource) for each in frames] == [
        (b"a", b"first"),
        (b"b", b"second"),
    ]
    assert reader.generation == generation + 1
    assert reader.writer == (os.getpid(), start_ticks(os.getpid()))
    assert reader.is_in_place()


def test_frames_wait_for_their_resource(sides: Sides) -> None:
    """Where a full ring has no space for that of a new holder, its frames are dropped."""
    first = sides.writer(resource=b"first")
    fill(first)
    while first.put(SPANS, 1, b""):
        pass
    first.close()
    second, reader = sides.writer(resource=b"second"), sides.reader()
    dropped = reader.dropped
    assert not second.put(SPANS, 1, b"too early")
    assert reader.dropped == dropped + 1
    drain(reader)
    assert not second.put(SPANS, 1, b"x" * MIN_SIZE)
    assert reader.dropped == dropped + 2
    assert second.put(SPANS, 1, b"late")
    assert second.put(SPANS, 1, b"later")
    frames = reader.read(ALL, ALL).frames
    assert [(each.payload, each.resource) for each in frames] == [
        (b"late", b"second"),
        (b"later", b"second"),
    ]


def test_the_resource_in_force_outlives_the_reader(sides: Sides) -> None:
    """A reader that starts after its frame was removed knows it, however often it changed."""
    for number in range(6):
        resource = b"%d" % number * (MAX_RESOURCE if number % 2 else 30)
        writer = sides.writer(resource=resource[:MAX_RESOURCE])
        reader = sides.reader()
        drain(reader)
        reader.close()
        assert writer.put(SPANS, 1, b"a")
        (frame,) = sides.reader().read(ALL, ALL).frames
        assert frame.resource == resource[:MAX_RESOURCE]
        writer.close()


def test_a_resource_that_is_too_long_is_refused_at_the_start(sides: Sides) -> None:
    """Nothing is made then."""
    with pytest.raises(ValueError, match="resource of"):
        sides.writer(resource=b"r" * (MAX_RESOURCE + 1))
    assert not os.listdir(sides.folder)


def test_a_ring_of_another_size_is_kept_until_it_is_empty(sides: Sides) -> None:
    """What waits is not lost; the counts go on, and the reader sees that the ring was replaced."""
    first, reader = sides.writer(), sides.reader()
    fill(first)
    first.close()
    sides.writer(1 << 17).close()
    assert sides.path.stat().st_size == DATA * 8 + MIN_SIZE
    dropped, generation = reader.dropped, reader.generation
    drain(reader)
    assert reader.is_in_place()
    writer = sides.writer(1 << 17)
    assert sides.path.stat().st_size == DATA * 8 + (1 << 17)
    assert not reader.is_in_place()
    new = sides.reader()
    assert (new.dropped, new.generation) == (dropped, generation + 1)
    assert writer.put(SPANS, 1, b"a")
    assert new.read(ALL, ALL).frames == [(SPANS, 1, b"a", b"R")]


def test_a_ring_with_or_without_checksums_is_kept_until_it_is_empty(sides: Sides) -> None:
    """Its frames are read as they were written."""
    first = sides.writer(checksum=not sides.checksum)
    assert first.put(SPANS, 1, b"a")
    first.close()
    second = sides.writer()
    assert second.put(SPANS, 1, b"b")
    assert drain(sides.reader()) == [b"a", b"b"]
    second.close()
    sides.writer().close()
    assert (sides.file().head > 1) == sides.checksum


def test_a_worn_ring_is_replaced(sides: Sides) -> None:
    """Positions have an end; before it, an empty ring is made anew."""
    sides.writer().close()
    file, reader = sides.file(), sides.reader()
    drain(reader)
    file.words[WRITTEN] = file.words[READ] = (MAX_POSITION // 2 // 8192 * 8192) << COUNT_BITS
    sides.writer().close()
    assert reader.is_in_place()
    drain(reader)
    file.words[WRITTEN] = file.words[READ] = MAX_POSITION << COUNT_BITS
    assert sides.writer().written < 1000
    assert not reader.is_in_place()


def test_the_end_of_the_positions_drops(sides: Sides) -> None:
    """Nothing is raised, and nothing of the ring is harmed."""
    writer, reader = sides.writer(), sides.reader()
    drain(reader)
    file = sides.file()
    file.words[WRITTEN] = file.words[READ] = (MAX_POSITION - 3) << COUNT_BITS
    assert not writer.put(SPANS, 1, b"x" * 1000)
    assert reader.dropped == 1
    assert reader.read(ALL, ALL).frames == []


def test_a_flush_waits_for_a_position(sides: Sides) -> None:
    """What was put before it is read once ``read`` has passed ``written``."""
    writer, reader = sides.writer(), sides.reader()
    assert writer.put(SPANS, 1, b"a")
    position = writer.written
    assert writer.put(SPANS, 1, b"b")
    assert writer.read < position
    batch = reader.read(ALL, 1)
    reader.advance(batch.end)
    assert position <= writer.read < writer.written


def test_only_the_batch_that_was_read_last_is_removed(sides: Sides) -> None:
    """And only once; the end of another one is refused."""
    writer, reader = sides.writer(), sides.reader()
    for each in (b"a", b"b", b"c"):
        assert writer.put(SPANS, 1, each)
    first = reader.read(ALL, 1)
    second = reader.read(ALL, 2)
    with pytest.raises(ValueError, match="read last"):
        reader.advance(first.end)
    reader.advance(second.end)
    with pytest.raises(ValueError, match="read last"):
        reader.advance(second.end)
    assert drain(reader) == [b"c"]


def test_two_readers_at_once_are_noticed(sides: Sides) -> None:
    """Else one would move ``read`` backwards."""
    writer, one, other = sides.writer(), sides.reader(), sides.reader()
    for each in (b"a", b"b"):
        assert writer.put(SPANS, 1, each)
    batch = one.read(ALL, 1)
    drain(other)
    with pytest.raises(CorruptRing, match="another process"):
        one.advance(batch.end)
    assert other.is_empty


def test_the_file_is_private_and_reserved(sides: Sides) -> None:
    """A store into it cannot fail for want of space; it has its name only when complete."""
    sides.writer(1 << 18)
    status = sides.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_blocks * 512 >= status.st_size
    assert os.listdir(sides.folder) == [NAME]


def test_a_ring_has_its_name_only_when_complete(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader never meets one that is being made."""
    original = Path.replace

    def replace(path: Path, target: Path) -> Path:
        assert os.listdir(sides.folder) == [path.name]
        with RingFileOf(path) as file:
            assert file.words[WRITTEN] == 0
        return original(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    sides.writer()
    assert list(rings(sides.folder)) == [0]


class RingFileOf:
    def __init__(self, path: Path) -> None:
        self.file = RingFile(path)

    def __enter__(self) -> RingFile:
        return self.file

    def __exit__(self, *error: object) -> None:
        self.file.close()


def test_a_full_file_system_leaves_nothing_behind(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails, not a store later."""

    def reserve(descriptor: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(ring_file, "reserve", reserve)
    with pytest.raises(OSError, match="no space"):
        sides.writer()
    assert not os.listdir(sides.folder)


@pytest.mark.parametrize("length", [0, 5, 4096, 100_000])
def test_what_a_killed_process_was_making_is_made_anew(sides: Sides, length: int) -> None:
    """It never had the name of a ring."""
    (sides.folder / f"{NAME}.new").write_bytes(b"\1" * length)
    assert rings(sides.folder) == {}
    assert sides.writer().put(SPANS, 1, b"a")
    assert os.listdir(sides.folder) == [NAME]


def test_rings_are_listed_by_slot(tmp_path: Path) -> None:
    """Nothing else in the folder is taken for one."""
    for name in ("spans-10.ring", "spans-2.ring", "spans-3.ring.corrupt", "spans-4.ring.new",
                 "slot-1.lock", "spans-x.ring", "aspans-1.ring", "spans-\u0661.ring"):  # fmt: skip
        (tmp_path / name).touch()
    assert list(rings(tmp_path).items()) == [
        (2, tmp_path / "spans-2.ring"),
        (10, tmp_path / "spans-10.ring"),
    ]


def corrupted(path: Path) -> None:
    with RingFileOf(path) as file:
        file.words[MAGIC] ^= 1


CORRUPT: dict[str, Callable[[Path], None]] = {
    "header": corrupted,
    "empty": lambda path: os.truncate(path, 0),
    "short": lambda path: os.truncate(path, 10_000),
    "cut": lambda path: os.truncate(path, path.stat().st_size - 8),
    "odd": lambda path: os.truncate(path, path.stat().st_size - 1),
    "link": lambda path: (path.unlink(), path.symlink_to("elsewhere"))[0],
    "pipe": lambda path: (path.unlink(), os.mkfifo(path))[0],
    "folder": lambda path: (path.unlink(), path.mkdir())[0],
    "hard-link": lambda path: os.link(path, path.with_name("another")),
}


@pytest.mark.parametrize("fault", CORRUPT)
def test_a_corrupt_ring_is_set_aside_and_counted(
    sides: Sides, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """At most one of a slot is kept; the slot has a new ring, and the log says so."""
    for _ in range(2):
        sides.writer().close()
        CORRUPT[fault](sides.path)
        with pytest.raises(CorruptRing):
            sides.reader()
        if fault == "hard-link":
            (sides.folder / "another").unlink(missing_ok=True)
            os.link(sides.path, sides.folder / "another")
        if fault == "folder" and (sides.folder / f"{NAME}.corrupt").exists():
            (sides.folder / f"{NAME}.corrupt").rmdir()
        failures: list[Any] = []
        with caplog.at_level(logging.WARNING):
            writer = sides.writer(
                failed=lambda failures=failures: failures.append(sys.exc_info()[0])
            )
        assert f"renamed to {NAME}.corrupt" in caplog.text
        assert writer.put(SPANS, 1, b"a")
        reader = sides.reader()
        assert drain(reader) == [b"a"]
        assert failures == [CorruptRing]
        writer.close()
        (sides.folder / "another").unlink(missing_ok=True)
        assert sorted(os.listdir(sides.folder)) == [NAME, f"{NAME}.corrupt"]


def test_a_socket_in_place_of_a_ring_is_set_aside(tmp_path: Path, monkeypatch: Any) -> None:
    """As all that is no regular file."""
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(NAME)
        RingWriter(tmp_path, 0, MIN_SIZE, 10, resource=b"").close()
    assert sorted(os.listdir(tmp_path)) == [NAME, f"{NAME}.corrupt"]


def test_corrupt_frames_are_found_by_the_next_holder(sides: Sides) -> None:
    """Counts that can still be read go on."""
    writer = sides.writer()
    assert not writer.put(SPANS, 1, b"x" * MIN_SIZE)
    assert writer.put(SPANS, 1, b"a" * 100)
    writer.close()
    sides.file().words[DATA] |= 9 << 32
    failures: list[int] = []
    writer = sides.writer(failed=lambda: failures.append(1))
    assert writer.put(SPANS, 1, b"b")
    reader = sides.reader()
    assert drain(reader) == [b"b"]
    assert (reader.dropped, failures, reader.generation) == (1, [1], 2)


def test_a_ring_that_cannot_be_opened_is_not_corrupt(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without a descriptor left must not rename what waits."""
    writer = sides.writer()
    assert writer.put(SPANS, 1, b"a")
    writer.close()

    def open_own(*arguments: object) -> int:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(ring_file, "open_own", open_own)
        with pytest.raises(OSError, match="too many"):
            sides.writer()
    assert drain(sides.reader()) == [b"a"]


def test_a_reader_sets_aside_the_ring_that_it_read(sides: Sides) -> None:
    """Its writer notices, and makes a new one; the new one is not set aside."""
    writer, reader = sides.writer(), sides.reader()
    reader.set_aside("a reason")
    assert not writer.is_in_place()
    writer.close()
    writer = sides.writer()
    assert writer.is_in_place()
    reader.set_aside("a reason")
    assert writer.is_in_place()
    assert sides.reader().waiting == 0


def test_a_folder_that_was_removed_harms_nobody(sides: Sides) -> None:
    """The writer goes on in memory that nobody reads."""
    writer = sides.writer()
    sides.path.unlink()
    sides.folder.rmdir()
    assert not writer.is_in_place()
    assert fill(writer) > 10


def test_a_closed_writer_puts_nothing(sides: Sides) -> None:
    """Not even a count changes: the next holder may be at work."""
    writer, reader = sides.writer(), sides.reader()
    put = writer.put  # as somebody may have kept it
    writer.close()
    assert not writer.put(SPANS, 1, b"a")
    assert not put(SPANS, 1, b"a")
    assert reader.waiting == reader.dropped == 0


def test_a_forked_child_does_not_write_into_the_ring_of_its_parent(sides: Sides) -> None:
    """It detaches, even where another thread of the parent held the lock; the parent goes on."""
    writer, reader = sides.writer(), sides.reader()

    def work() -> list[bool]:
        writer.detach()
        return [writer.put(SPANS, 1, b"child"), writer.put(SPANS, 1, b"x" * MIN_SIZE)]

    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with writer._lock:
            held.set()
            release.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait()
    try:
        assert in_child(work) == [False, False]
    finally:
        release.set()
        holder.join()
    assert writer.put(SPANS, 1, b"parent")
    assert drain(reader) == [b"parent"]
    assert reader.dropped == 0


@pytest.fixture
def checked(tmp_path: Path) -> Iterator[Sides]:
    """Rings with checksums."""
    opened = Sides(tmp_path, checksum=True)
    yield opened
    opened.close()


def test_a_frame_is_awaited_that_is_not_visible_yet(
    checked: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``written`` may be seen before what it is about."""
    writer, reader = checked.writer(), checked.reader()
    drain(reader)
    offset = DATA + writer.written
    assert writer.put(SPANS, 1, b"a" * 8)
    file = checked.file()
    word, payload = file.words[offset], file.words[offset + 2]
    file.words[offset], file.words[offset + 2] = 0xFFFFFFFF, 0

    def become_visible(seconds: float) -> None:
        file.words[offset], file.words[offset + 2] = word, payload

    monkeypatch.setattr(ring_reader, "time", SimpleNamespace(sleep=become_visible))
    assert drain(reader) == [b"a" * 8]
    assert reader.torn == 0


def test_a_frame_that_never_matches_its_checksum_is_skipped_and_counted(checked: Sides) -> None:
    """In each read of it, and with the frames after it."""
    writer, reader = checked.writer(), checked.reader()
    drain(reader)
    offset = DATA + writer.written
    for each in (b"a" * 8, b"b" * 8):
        assert writer.put(SPANS, 2, each)
    checked.file().words[offset + 2] ^= 1
    assert [each.payload for each in reader.read(ALL, ALL).frames] == [b"b" * 8]
    assert reader.torn == 1
    assert drain(reader) == [b"b" * 8]
    assert reader.torn == 1
    assert reader.waiting == 0


def test_a_batch_waits_only_once_for_frames_that_do_not_match(
    checked: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ring full of them must not stop the reader of all others."""
    pauses: list[float] = []
    monkeypatch.setattr(ring_reader, "time", SimpleNamespace(sleep=pauses.append))
    writer, reader = checked.writer(), checked.reader()
    drain(reader)
    offset = DATA + writer.written
    for _ in range(100):
        assert writer.put(SPANS, 1, b"a" * 8)
    file = checked.file()
    for number in range(100):
        file.words[offset + 3 * number + 2] ^= 1
    assert drain(reader) == []
    assert reader.torn == 100
    assert len(pauses) == ring_reader.MAX_RETRIES


def test_a_frame_of_the_round_before_is_not_taken_for_a_new_one(
    checked: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole and matches; only its position is another."""
    monkeypatch.setattr(ring_reader, "RETRY_DELAY", 0)
    writer, reader = checked.writer(), checked.reader()
    drain(reader)
    capacity = MIN_SIZE // 8
    assert writer.put(SPANS, 1, b"old" * 8)
    assert drain(reader) == [b"old" * 8]
    file = checked.file()
    file.words[WRITTEN] += capacity << COUNT_BITS
    file.words[READ] += (capacity - 5) << COUNT_BITS
    assert [each.payload for each in reader.read(ALL, ALL).frames] == []


def test_the_bits_of_a_count_suffice() -> None:
    """Every allowed size of the queue is below the modulus."""
    assert MAX_ITEMS > 1_000_000
