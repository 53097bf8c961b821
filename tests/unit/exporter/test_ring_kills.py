"""Rings under any sequence of puts, reads, kills and takeovers, and under any corruption."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.exporter import ring_reader, ring_writer
from avatar_telemetry.exporter.ring import (
    LOGS,
    SPANS,
    Batch,
    CorruptRing,
    Frame,
    RingWriter,
    ring_path,
)
from avatar_telemetry.exporter.ring_file import (
    AREA,
    COUNT_BITS,
    DATA,
    HEADER,
    MAX_ITEMS,
    MIN_SIZE,
    WRITTEN,
    RingFile,
)
from tests.support.ring_stores import Killed, Stores, watched_rings
from tests.support.rings import Reader

ALL = 1 << 30
CAPACITY = MIN_SIZE // 8
STEPS = st.integers(0, 12)
"""Stores before a kill: more than any operation makes, so that some survive it."""
LENGTHS = st.one_of(st.integers(0, 40), st.integers(0, 3000), st.integers(0, MIN_SIZE // 2))


class Kills(RuleBasedStateMachine):
    """A ring, its writers and readers in turn, and a list of what has to be in it."""

    checksum = False

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        self.stores = Stores()
        self.patched = pytest.MonkeyPatch()
        for side in (ring_reader, ring_writer):
            self.patched.setattr(side, "RingFile", watched_rings(self.stores))
        self.frames: list[Frame] = []
        self.batch: Batch | None = None
        self.writer: RingWriter | None = None
        self.reader: Reader | None = None
        self.number = 0
        self.dropped = 0
        self.resource = b""

    def teardown(self) -> None:
        self.stores.close()
        self.patched.undo()
        shutil.rmtree(self.folder)

    @initialize()
    def first(self) -> None:
        self.take_over(b"first", None)
        self.start_reader()

    @rule(resource=st.binary(max_size=60), left=st.none() | STEPS)
    def take_over(self, resource: bytes, left: int | None) -> None:
        """The holder ends, and the next one may be killed while it starts."""
        self.writer = None
        self.stores.left = left
        try:
            self.writer = RingWriter(
                self.folder, 0, MIN_SIZE, 5000, resource=resource, checksum=self.checksum
            )
            self.resource = resource
        except Killed:
            pass
        self.stores.left = None

    @precondition(lambda self: self.writer)
    @rule(length=LENGTHS, items=st.integers(1, 600), kind=st.sampled_from([SPANS, LOGS]),
          left=st.none() | STEPS)  # fmt: skip
    def put(self, length: int, items: int, kind: int, left: int | None) -> None:
        """The writer may be killed after any store of it."""
        assert self.writer is not None
        self.number += 1
        payload = (b"%d;" % self.number * (length // 2 + 1))[:length]
        before = self.written()
        self.stores.left = left
        try:
            stored = self.writer.put(kind, items, payload)
        except Killed:
            # Its last store is that of the mark with its items.
            stored = (self.written() - before) & MAX_ITEMS == items
            assert not stored
            self.writer = None
        self.stores.left = None
        if stored:
            self.frames.append(Frame(kind, items, payload, self.resource))
        elif self.writer:
            self.dropped += items
            assert self.frames or len(payload) > self.writer.max_payload or self.waits_for_reader()

    @precondition(lambda self: self.writer)
    @rule(units=st.integers(-2, 2), left=st.none() | STEPS)
    def put_up_to_the_end(self, units: int, left: int | None) -> None:
        """The frame ends where the ring ends, or so many units before or after."""
        head = 2 if self.checksum else 1
        room = CAPACITY - (self.written() >> COUNT_BITS) % CAPACITY
        self.put(max(0, min((room + units - head) * 8, MIN_SIZE // 2 - head * 8)), 1, SPANS, left)

    def written(self) -> int:
        assert self.writer is not None
        return int(self.writer._words[WRITTEN])

    def waits_for_reader(self) -> bool:
        """Resources of many takeovers can fill a ring as well."""
        return self.reader is None or not self.reader.is_empty

    @rule()
    def start_reader(self) -> None:
        """The last one was killed, at whatever it did."""
        self.batch = None
        self.reader = Reader(ring_path(self.folder, 0))

    @precondition(lambda self: self.reader)
    @rule(max_bytes=st.integers(0, 100_000), max_items=st.integers(0, 5000))
    def read(self, max_bytes: int, max_items: int) -> None:
        """Exactly what was put and not removed, in order, each frame with its resource."""
        assert self.reader is not None
        self.batch = self.reader.read(max_bytes, max_items)
        frames = self.batch.frames
        assert frames == self.frames[: len(frames)]
        assert bool(frames) == bool(self.frames)
        rest = self.frames[len(frames) : len(frames) + 1]
        size = sum(len(each.payload) for each in frames)
        items = sum(each.items for each in frames)
        assert len(frames) < 2 or (size <= max_bytes and items <= max_items)
        for each in rest:
            assert size + len(each.payload) > max_bytes or items + each.items > max_items

    @precondition(lambda self: self.reader and self.batch)
    @rule(left=st.none() | STEPS)
    def advance(self, left: int | None) -> None:
        """The reader may be killed after any store of it: then the batch is read again, or not."""
        assert self.reader is not None
        assert self.batch is not None
        self.stores.left = left
        try:
            self.reader.advance(self.batch.end)
        except Killed:
            self.reader = None
        else:
            del self.frames[: len(self.batch.frames)]
        self.stores.left = None
        self.batch = None
        if self.reader is None:
            self.start_reader()

    @invariant()
    def counts(self) -> None:
        """What waits and what was dropped is in the header."""
        if self.reader:
            assert self.reader.waiting == sum(each.items for each in self.frames)
            assert self.reader.dropped == self.dropped


class KillsWithChecksums(Kills):
    checksum = True


def machine(kind: type[Kills]) -> Any:
    case = kind.TestCase
    case.settings = settings(settings.get_profile("default"), stateful_step_count=60)
    return case


TestKills = machine(Kills)
TestKillsWithChecksums = machine(KillsWithChecksums)


@pytest.fixture(scope="module", autouse=True)
def quick_and_quiet() -> Iterator[None]:
    """What does not match is not waited for, and hundreds of corrupt rings are not logged."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ring_reader, "RETRY_DELAY", 0)
        patched.setattr(LOGGER, "disabled", True)
        yield


WORDS = st.one_of(
    st.integers(0, 24),  # of the header
    st.sampled_from([(HEADER + area * AREA) // 8 + word for area in (0, 1) for word in (0, 1, 2)]),
    st.integers(DATA, DATA + 200),
)
FLIPS = st.lists(st.tuples(WORDS, st.integers(0, 63)), min_size=1, max_size=4)


def prepared(folder: Path, checksum: bool) -> tuple[RingWriter, Reader]:
    """A ring in the middle of its life: something was removed, something waits."""
    writer = RingWriter(folder, 0, MIN_SIZE, 5000, resource=b"resource", checksum=checksum)
    reader = Reader(ring_path(folder, 0))
    for number in range(30):
        assert writer.put(SPANS, 2, b"%d;" % number * number)
        if number == 10:
            reader.advance(reader.read(ALL, 6).end)
    return writer, reader


def read_all(reader: Reader) -> None:
    """Read to the end of a ring, which comes after a bounded number of steps."""
    for _ in range(CAPACITY + 1):
        batch = reader.read(ALL, ALL)
        assert sum(len(frame.payload) for frame in batch.frames) <= MIN_SIZE
        reader.advance(batch.end)
        if reader.is_empty:
            return
    raise AssertionError("the ring has no end")


@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
@pytest.mark.parametrize("opened", ["before", "after"])
@given(flips=FLIPS)
@settings(max_examples=100)
def test_a_corrupt_ring_is_read_or_refused(
    opened: str, checksum: bool, flips: list[tuple[int, int]]
) -> None:
    """Whatever bits flip, before or after it was opened: nothing but ``CorruptRing`` is raised,
    nothing is read from outside of the frames, and reading ends."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writer, reader = prepared(folder, checksum)
        _flip(folder, flips)
        try:
            with suppress(CorruptRing):
                if opened == "after":
                    reader.close()
                    reader = Reader(ring_path(folder, 0))
                for _ in range(2):
                    read_all(reader)
                    writer.put(LOGS, 1, b"still there")
            writer.put(LOGS, 1, b"still there")
        finally:
            writer.close()
            reader.close()


@pytest.mark.parametrize("checksum", [False, True], ids=["plain", "checksum"])
@given(flips=FLIPS)
@settings(max_examples=100)
def test_the_next_holder_of_a_corrupt_ring_can_write(
    checksum: bool, flips: list[tuple[int, int]]
) -> None:
    """It goes on with it, or sets it aside; whichever, what it puts is read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for each in prepared(folder, checksum):
            each.close()
        _flip(folder, flips)
        writer = RingWriter(folder, 0, MIN_SIZE, 5000, resource=b"new", checksum=checksum)
        reader = Reader(ring_path(folder, 0))
        try:
            read_all(reader)
            assert writer.put(SPANS, 1, b"a")
            assert reader.read(ALL, ALL).frames == [Frame(SPANS, 1, b"a", b"new")]
        finally:
            writer.close()
            reader.close()


def _flip(folder: Path, flips: list[tuple[int, int]]) -> None:
    file = RingFile(ring_path(folder, 0))
    for index, bit in flips:
        file.words[index] ^= 1 << bit
    file.close()
