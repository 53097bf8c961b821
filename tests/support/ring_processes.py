"""A writer and a reader of one ring in processes of their own, killed at random."""

from __future__ import annotations

import os
import random
import select
import signal
import struct
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from avatar_telemetry.exporter.ring import SPANS, RingWriter, ring_path
from avatar_telemetry.exporter.ring_file import MIN_SIZE
from tests.support.rings import Reader
from tests.support.waiting import DEADLINE

NUMBER = struct.Struct("=II")
"""Life of the writer, number of the frame in it."""
BATCH = struct.Struct("=cIIII")
"""``B`` (read) or ``A`` (removed), first and last frame of a batch without a gap in one life."""


def write_frames(folder: Path, life: int, checksum: bool, report: int) -> None:
    """Put numbered frames at full speed, and report each number after its ``put``."""
    lengths = random.Random(life)
    writer = RingWriter(
        folder, 0, MIN_SIZE, 100_000, resource=NUMBER.pack(life, 0), checksum=checksum
    )
    number = 1
    while True:
        length = lengths.randrange(3000)
        while not writer.put(SPANS, 1, payload_of(life, number, length)):
            time.sleep(0)
        os.write(report, NUMBER.pack(life, number))
        number += 1


def payload_of(life: int, number: int, length: int) -> bytes:
    """Return a payload of which each part is known from its beginning."""
    name = NUMBER.pack(life, number)
    return name + name * (length // len(name))


def read_frames(folder: Path, report: int) -> None:
    """Read batches at full speed, and report each one before it is removed and after."""
    limits = random.Random(os.getpid())
    while not ring_path(folder, 0).exists():
        time.sleep(0.001)
    reader = Reader(ring_path(folder, 0))
    while True:
        batch = reader.read(limits.randrange(60_000), limits.randrange(1, 100))
        numbers = []
        for frame in batch.frames:
            life, number = NUMBER.unpack_from(frame.payload)
            whole = frame.payload == payload_of(life, number, len(frame.payload) - NUMBER.size)
            if not whole or frame.resource != NUMBER.pack(life, 0):
                raise AssertionError(f"frame {number} of life {life} is not what was put")
            numbers.append((life, number))
        runs = _runs(numbers)
        # One write for the whole batch: a kill must not leave half of a report.
        read, removed = (
            b"".join(BATCH.pack(kind, len(runs), *run) for run in runs) for kind in (b"B", b"A")
        )
        os.write(report, read)
        reader.advance(batch.end)
        os.write(report, removed)
        if not numbers:
            time.sleep(0.0005)


def _runs(numbers: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    runs: list[tuple[int, int, int]] = []
    for life, number in numbers:
        if runs and runs[-1][0] == life and runs[-1][2] + 1 == number:
            runs[-1] = (life, runs[-1][1], number)
        else:
            runs.append((life, number, number))
    return runs


class Killable:
    """A forked process that reports over a pipe until it is killed.

    Args:
        work: called with the descriptor to report to; must not return.
    """

    def __init__(self, work: Callable[[int], None]) -> None:
        self.reports = b""
        self.source, report = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads beside the fork
            self.pid = os.fork()
        if self.pid == 0:
            try:
                work(report)
            finally:
                os._exit(1)
        os.close(report)

    def receive(self) -> int:
        """Take what was reported, and return how many bytes."""
        received = os.read(self.source, 1 << 16)
        assert received, "the process has ended by itself"
        self.reports += received
        return len(received)

    def kill(self) -> bytes:
        """End it, and return all that it reported."""
        os.kill(self.pid, signal.SIGKILL)
        _, status = os.waitpid(self.pid, 0)
        while rest := os.read(self.source, 1 << 16):
            self.reports += rest
        os.close(self.source)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        return self.reports


class Killing:
    """Processes at one ring, the reports of all, and what they prove.

    Args:
        folder: of the ring.
        checksum: whether its frames carry one.
    """

    def __init__(self, folder: Path, checksum: bool) -> None:
        self._folder = folder
        self._checksum = checksum
        self._chance = random.Random(1)
        self.put: list[int] = []
        """By life of a writer the number of its last frame that was reported."""
        self.readers: list[bytes] = []
        self.repeated = 0
        self._writer = self._start_writer()
        self._reader = self._start_reader()

    def run(self, kills: int) -> None:
        """So many times, kill a side after a random number of reports."""
        for _ in range(kills):
            self._receive(self._chance.randrange(1, 20_000))
            side = self._chance.choice(["writer", "reader", "both"])
            if side != "reader":
                self._end_writer()
                self._writer = self._start_writer()
            if side != "writer":
                self.readers.append(self._reader.kill())
                self._reader = self._start_reader()

    def finish(self) -> None:
        """End the writer, let the reader read the rest, and end it as well."""
        self._end_writer()
        ring = Reader(ring_path(self._folder, 0))
        try:
            while not ring.is_empty:
                if select.select([self._reader.source], [], [], 0.01)[0]:
                    self._reader.receive()
        finally:
            ring.close()
            self.readers.append(self._reader.kill())

    def check(self) -> None:
        """Compare what was read with what was put.

        Raises:
            AssertionError: a frame was lost, moved, or read twice outside of the last batch of a
                reader that was killed.
        """
        removed = (0, 0)
        for reports in self.readers:
            read = removed
            first = True
            for kind, runs in _batches(reports):
                if kind == b"A":
                    removed = read
                    continue
                if first and not self._follows(removed, runs[0]):
                    removed = self._last_end
                    assert self._follows(removed, runs[0]), (removed, runs[0])
                elif first and removed != self._last_end:
                    self.repeated += 1
                first = False
                read = removed
                for run in runs:
                    assert self._follows(read, run), (read, run)
                    read = run[0], run[2]
                self._last_end = read
        assert self._last_end[1] >= self.put[-1] or not self.put[-1]
        assert self._follows(self._last_end, (len(self.put), 1, 1))

    _last_end = (0, 0)

    def _follows(self, before: tuple[int, int], run: tuple[int, int, int]) -> bool:
        """Return whether a run begins with the next frame that was put."""
        life, number = before
        if run[0] == life:
            return run[1] == number + 1
        # A frame more than was reported may be in the ring: the kill came before the report.
        skipped = self.put[life + 1 : run[0]]
        return run[0] > life and run[1] == 1 and number >= self.put[life] and not any(skipped)

    def _receive(self, count: int) -> None:
        while count > 0:
            sources = {each.source: each for each in (self._writer, self._reader)}
            ready = select.select(list(sources), [], [], DEADLINE)[0]
            assert ready, "neither side reports anything"
            for each in ready:
                received = sources[each].receive()
                count -= received

    def _start_writer(self) -> Killable:
        life, folder, checksum = len(self.put), self._folder, self._checksum
        return Killable(lambda report: write_frames(folder, life, checksum, report))

    def _start_reader(self) -> Killable:
        return Killable(lambda report: read_frames(self._folder, report))

    def _end_writer(self) -> None:
        reports = self._writer.kill()
        whole = len(reports) // NUMBER.size * NUMBER.size
        numbers = [number for _, number in NUMBER.iter_unpack(reports[:whole])]
        assert numbers == list(range(1, len(numbers) + 1))
        self.put.append(len(numbers))


def _batches(reports: bytes) -> list[tuple[bytes, list[tuple[int, int, int]]]]:
    """The batches in the reports of a reader, each as read and as removed."""
    found = []
    records = list(BATCH.iter_unpack(reports[: len(reports) // BATCH.size * BATCH.size]))
    while records:
        kind, count, *_ = records[0]
        found.append((kind, [record[2:] for record in records[:count]]))
        del records[:count]
    return found
