"""The file of a ring: its layout, its making, and the checks of what another process wrote.

Header (one page of native 64-bit words), two context areas (each a position, a length, and the
``Resource`` in force from that position on), then the frames. A frame is one word (length of the
payload in 32 bits, kind in 8, items in 24), a CRC-32 where the ring has checksums, and the payload
padded to 8 bytes. It is contiguous: where it does not fit before the end, padding fills the rest.

``written`` and ``read`` are *marks*: a position that only grows, in units of 8 bytes, and below it
the number of items up to there, modulo 2**20. So position and count change in one store, and no
kill can separate them.
"""

from __future__ import annotations

import errno
import mmap
import os
import platform
import re
import zlib
from contextlib import suppress
from pathlib import Path

from avatar_telemetry._base.errors import AvatarTelemetryError
from avatar_telemetry._base.files import give_to_owner, open_own, reserve
from avatar_telemetry._base.log import LOGGER

PADDING, RESOURCE, SPANS, LOGS = range(4)

# Words of the header. Those of the writer and those of the reader are on cache lines of their own.
MAGIC, CAPACITY, GENERATION, PID, STARTED, SET_ASIDE = range(6)
WRITTEN, DROPPED_SPANS, DROPPED_LOGS = range(8, 11)
READ, TORN = range(16, 18)

HEADER = 4096
AREA = 8192
"""Bytes of a context area."""
MAX_RESOURCE = AREA - 16
"""Bytes of an encoded resource."""
DATA = (HEADER + 2 * AREA) // 8
"""The first word of the frames."""
MIN_SIZE = 1 << 16
COUNT_BITS = 20
MAX_ITEMS = (1 << COUNT_BITS) - 1
MAX_POSITION = (1 << 64 - COUNT_BITS) - 1
FORMAT = int.from_bytes(b"avtring\x01", "big")
CHECKSUM_FLAG = 0x80
NEEDS_CHECKSUM = platform.machine() not in ("x86_64", "AMD64", "i686", "i386")
"""Whether another processor may see stores in another order than they were made in."""
RING_NAME = re.compile(r"(spans|logs)-(\d+)\.ring", re.ASCII)
# Errors of the open that mean: something else than a file of ours has this name.
FOREIGN = frozenset({errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class CorruptRing(AvatarTelemetryError):
    """A ring does not hold what its format says."""


def ring_path(folder: Path, number: int, signal: str = "spans") -> Path:
    """Return the path of the ring of a slot; each signal has one of its own (``spans``, ``logs``),
    since a collector of one that is down must not hold the other up."""
    return folder / f"{signal}-{number}.ring"


def rings(folder: Path, signal: str = "spans") -> dict[int, Path]:
    """Return the rings of a signal by slot, in the order of the slots.

    Raises:
        OSError: the folder is gone.
    """
    names = map(RING_NAME.fullmatch, os.listdir(folder))
    numbers = sorted(int(name[2]) for name in names if name and name[1] == signal)
    return {number: ring_path(folder, number, signal) for number in numbers}


def capacity_of(size: int) -> int:
    """Return the bytes for frames in a ring of this size."""
    return max(size, MIN_SIZE) & -8


def set_aside(path: Path, reason: object) -> None:
    """Rename a corrupt ring, in place of the one of this slot that was set aside before.

    Raises:
        OSError: it cannot be renamed.
    """
    kept = path.with_name(f"{path.name}.corrupt")
    path.replace(kept)
    LOGGER.warning("corrupt ring %s: %s; it was renamed to %s, and the spans in it are lost",
                   path, reason, kept.name)  # fmt: skip


class RingFile:
    """A ring, mapped.

    Args:
        path: of the file.

    Attributes:
        words: the whole file as native 64-bit words; a store is one move of 8 bytes.
        data: the whole file as bytes.
        capacity: of the frames, in units of 8 bytes.
        head: units before a payload: 2 with a checksum, else 1.

    Raises:
        OSError: it cannot be opened.
        CorruptRing: it is not a ring, or its header is impossible.
    """

    __slots__ = ("_identity", "capacity", "data", "head", "path", "words")

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            descriptor = open_own(path, os.O_RDWR)
        except OSError as error:
            if error.errno in FOREIGN:
                raise CorruptRing("not a regular file") from error
            raise
        try:
            status = os.fstat(descriptor)
            if status.st_size < DATA * 8 + MIN_SIZE or status.st_size % 8:
                raise CorruptRing(f"{status.st_size} bytes")
            self.data = mmap.mmap(descriptor, status.st_size)
        finally:
            os.close(descriptor)
        self._identity = status.st_dev, status.st_ino
        self.words = memoryview(self.data).cast("Q")
        self.capacity = len(self.words) - DATA
        self.head = 2 if self.words[MAGIC] & CHECKSUM_FLAG else 1
        try:
            if self.words[MAGIC] & ~CHECKSUM_FLAG != FORMAT:
                raise CorruptRing(f"not of this format: {self.words[MAGIC]:#x}")
            if self.words[CAPACITY] != self.capacity * 8:
                raise CorruptRing(f"capacity {self.words[CAPACITY]} in {self.capacity * 8} bytes")
            self.bounds()
        except BaseException:
            self.close()
            raise

    @classmethod
    def make(
        cls, path: Path, size: int, checksum: bool, replaced: RingFile | None = None
    ) -> RingFile:
        """Make a ring, complete before it has its name.

        Args:
            path: of the file.
            size: bytes for frames.
            checksum: whether frames carry one.
            replaced: the ring whose counts are continued.

        Raises:
            OSError: it cannot be made, or there is no space for it.
        """
        path_made = path.with_name(f"{path.name}.new")
        path_made.unlink(missing_ok=True)  # of a process that was killed here
        descriptor = open_own(path_made, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            total = DATA * 8 + capacity_of(size)
            give_to_owner(descriptor, path.parent)
            reserve(descriptor, total)
            with mmap.mmap(descriptor, total) as data, memoryview(data).cast("Q") as words:
                words[MAGIC] = FORMAT | CHECKSUM_FLAG * checksum
                words[CAPACITY] = capacity_of(size)
                if replaced is not None:
                    for index in (GENERATION, SET_ASIDE, DROPPED_SPANS, DROPPED_LOGS, TORN):
                        words[index] = replaced.words[index]
            path_made.replace(path)
        except BaseException:
            with suppress(OSError):
                path_made.unlink()
            raise
        finally:
            os.close(descriptor)
        return cls(path)

    def bounds(self) -> tuple[int, int]:
        """Return the marks ``read`` and ``written``.

        Raises:
            CorruptRing: they cannot be.
        """
        # The reader is the only one that moves the first: it cannot pass the second meanwhile.
        read = self.words[READ]
        written = self.words[WRITTEN]
        if not 0 <= (written >> COUNT_BITS) - (read >> COUNT_BITS) <= self.capacity:
            raise CorruptRing(f"read {read >> COUNT_BITS}, written {written >> COUNT_BITS}")
        return read, written

    @property
    def waiting(self) -> int:
        """Items that were written and not read."""
        read, written = self.words[READ], self.words[WRITTEN]
        # Without a frame there is no item, whatever a corrupt count says.
        return (written - read) & MAX_ITEMS if written >> COUNT_BITS != read >> COUNT_BITS else 0

    def frame(self, position: int, last: int) -> tuple[int, int, bytes | None, int]:
        """Read the frame at a position.

        Args:
            position: of the frame.
            last: the position up to which frames were written.

        Returns:
            Kind, items, payload (``None``: it does not match its checksum), units.

        Raises:
            CorruptRing: it leads out of the ring or of what was written, or is impossible.
        """
        offset = position % self.capacity
        room = self.capacity - offset
        head = self.head
        if room < head:  # the writer leaves it, because no frame is that short
            return PADDING, 0, b"", room
        word = self.words[DATA + offset]
        length = word & 0xFFFFFFFF
        kind = word >> 32 & 0xFF
        units = (length + 7 >> 3) + head
        if units > room or units > last - position or kind > LOGS or (not kind and units != room):
            raise CorruptRing(f"frame {word:#x} at unit {offset} of {self.capacity}")
        if kind == RESOURCE and length > MAX_RESOURCE:
            raise CorruptRing(f"a resource of {length} bytes")
        start = DATA + offset + head << 3
        payload = self.data[start : start + length] if kind else b""
        if head > 1 and checksum_of(position, word, payload) != self.words[DATA + offset + 1]:
            return kind, word >> 40, None, units
        return kind, word >> 40, payload, units

    def resource_in_force(self, position: int) -> bytes:
        """Return the resource of the frames from a position on.

        Raises:
            CorruptRing: there is none.
        """
        index = (HEADER + self.area_in_force(position) * AREA) // 8
        length = self.words[index + 1]
        if length > MAX_RESOURCE:
            raise CorruptRing(f"a resource of {length} bytes")
        return self.data[(index + 2) * 8 : (index + 2) * 8 + length]

    def area_in_force(self, position: int) -> int:
        """Return the number of the context area with the largest position up to this one.

        Raises:
            CorruptRing: there is none.
        """
        since = [self.words[(HEADER + area * AREA) // 8] for area in (0, 1)]
        past = [each for each in since if each <= position]
        if not past:
            raise CorruptRing("no resource is in force")
        return since.index(max(past))

    def keep_resource(self, read: int, position: int, resource: bytes) -> None:
        """Write a resource into the context area that is not needed now.

        A kill amidst it leaves an area that no position between ``read`` and the next call of this
        method makes the one in force.

        Args:
            read: the position that has been read up to.
            position: from which on the resource is in force.
            resource: encoded.

        Raises:
            CorruptRing: no resource is in force.
        """
        index = (HEADER + (1 - self.area_in_force(read)) * AREA) // 8
        self.words[index + 1] = len(resource)
        self.data[(index + 2) * 8 : (index + 2) * 8 + len(resource)] = resource
        self.words[index] = position

    def check(self) -> int:
        """Check the resource in force and all frames that wait.

        Returns:
            The number of items in the frames.

        Raises:
            CorruptRing: see :meth:`frame`.
        """
        read, written = self.bounds()
        position, last = read >> COUNT_BITS, written >> COUNT_BITS
        self.resource_in_force(position)
        total = 0
        while position < last:
            _, items, _, units = self.frame(position, last)
            position += units
            total += items
        return total

    def is_in_place(self) -> bool:
        """Return whether this is still the file at its path."""
        try:
            status = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return self._identity == (status.st_dev, status.st_ino)

    def close(self) -> None:
        """Unmap the file. Nothing in it changes."""
        self.words.release()
        self.data.close()


def checksum_of(position: int, word: int, payload: bytes) -> int:
    """Return the checksum of a frame.

    The position is part of it: without x86's order of stores the reader may find the whole frame
    that stood there one round before.
    """
    return zlib.crc32(payload, (position ^ word ^ word >> 32) & 0xFFFFFFFF)
