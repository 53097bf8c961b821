"""The file of a ring: its layout, its creation, and the checks of another process's data.

Header (one page of native 64-bit words), two context areas (each a position, a length, and the
``Resource`` in force from that position on), then the frames. A frame is one word (length of the
payload in 32 bits, kind in 8, items in 24), a CRC-32 where the ring has checksums, and the payload
padded to 8 bytes. It is contiguous: where it does not fit before the end, padding fills the rest.

``written`` and ``read`` are *marks*: an increasing position in units of 8 bytes, and in the lower
bits the number of items up to it, modulo 2**20. So one store changes position and count, and a kill
cannot separate them.
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
MAGIC, CAPACITY, GENERATION, PID, STARTED = range(5)
WRITTEN, DROPPED_SPANS, DROPPED_LOGS = range(8, 11)
READ = 16

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
"""True where another processor may observe stores in another order."""
RING_NAME = re.compile(r"(spans|logs)-(\d+)\.ring", re.ASCII)
# Errors of open() where another kind of file has this name.
FOREIGN = frozenset({errno.EINVAL, errno.ELOOP, errno.ENXIO, errno.EISDIR})


class CorruptRing(AvatarTelemetryError):
    """The content of a ring does not have the expected format."""


def ring_path(folder: Path, number: int, signal: str = "spans") -> Path:
    """Return the path of the ring of a slot. Each signal has its own (``spans``, ``logs``): an
    unavailable collector of one must not delay the other."""
    return folder / f"{signal}-{number}.ring"


def rings(folder: Path, signal: str = "spans") -> dict[int, Path]:
    """Return the rings of a signal by slot, in the order of the slots.

    Raises:
        OSError: the directory is gone.
    """
    names = map(RING_NAME.fullmatch, os.listdir(folder))
    numbers = sorted(int(name[2]) for name in names if name and name[1] == signal)
    return {number: ring_path(folder, number, signal) for number in numbers}


def capacity_of(size: int) -> int:
    """Return the number of bytes for frames in a ring of a size."""
    return max(size, MIN_SIZE) & -8


def set_aside(path: Path, reason: object) -> None:
    """Rename a corrupt ring, which replaces an earlier one of this slot.

    Raises:
        OSError: the ring cannot be renamed.
    """
    kept = path.with_name(f"{path.name}.corrupt")
    path.replace(kept)
    LOGGER.warning("corrupt ring %s: %s; it was renamed to %s, and the spans in it are lost",
                   path, reason, kept.name)  # fmt: skip


class RingFile:
    """A mapped ring.

    Args:
        path: the path of the file.

    Attributes:
        words: the whole file as native 64-bit words; a store is one move of 8 bytes.
        data: the whole file as bytes.
        capacity: the size of the frames, in units of 8 bytes.
        head: the units before a payload: 2 with a checksum, else 1.

    Raises:
        OSError: the file cannot be opened.
        CorruptRing: the file is not a ring, or its header is impossible.
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
        """Make a ring, which is complete before it is renamed into place.

        Args:
            path: the path of the file.
            size: the bytes for frames.
            checksum: true where frames have a checksum.
            replaced: the ring whose counts continue, or ``None``.

        Raises:
            OSError: the ring cannot be made, or there is no space for it.
        """
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)  # left by a process that was killed
        descriptor = open_own(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            total = DATA * 8 + capacity_of(size)
            give_to_owner(descriptor, path.parent)
            reserve(descriptor, total)
            with mmap.mmap(descriptor, total) as data, memoryview(data).cast("Q") as words:
                words[MAGIC] = FORMAT | CHECKSUM_FLAG * checksum
                words[CAPACITY] = capacity_of(size)
                if replaced is not None:
                    for index in (GENERATION, DROPPED_SPANS, DROPPED_LOGS):
                        words[index] = replaced.words[index]
            draft.replace(path)
        except BaseException:
            with suppress(OSError):
                draft.unlink()
            raise
        finally:
            os.close(descriptor)
        return cls(path)

    def bounds(self) -> tuple[int, int]:
        """Return the marks ``read`` and ``written``.

        Raises:
            CorruptRing: the marks are impossible.
        """
        # Only the reader moves the first mark, which so cannot exceed the second.
        read = self.words[READ]
        written = self.words[WRITTEN]
        if not 0 <= (written >> COUNT_BITS) - (read >> COUNT_BITS) <= self.capacity:
            raise CorruptRing(f"read {read >> COUNT_BITS}, written {written >> COUNT_BITS}")
        return read, written

    @property
    def waiting(self) -> int:
        """The number of items that were written and not read."""
        read, written = self.words[READ], self.words[WRITTEN]
        # Without a frame there is no item, even where the count is corrupt.
        return (written - read) & MAX_ITEMS if written >> COUNT_BITS != read >> COUNT_BITS else 0

    def frame(self, position: int, last: int) -> tuple[int, int, bytes | None, int]:
        """Read the frame at a position.

        Args:
            position: the position of the frame.
            last: the position up to which frames were written.

        Returns:
            The kind, the number of items, the payload (``None`` where it does not match its
            checksum), and the number of units.

        Raises:
            CorruptRing: the frame extends beyond the ring or the written part, or is impossible.
        """
        offset = position % self.capacity
        space = self.capacity - offset
        head = self.head
        if space < head:  # unused, because no frame is that short
            return PADDING, 0, b"", space
        word = self.words[DATA + offset]
        length = word & 0xFFFFFFFF
        kind = word >> 32 & 0xFF
        units = (length + 7 >> 3) + head
        if units > space or units > last - position or kind > LOGS or (not kind and units != space):
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
            CorruptRing: the resource is missing or too long.
        """
        index = (HEADER + self.area_in_force(position) * AREA) // 8
        length = self.words[index + 1]
        if length > MAX_RESOURCE:
            raise CorruptRing(f"a resource of {length} bytes")
        return self.data[(index + 2) * 8 : (index + 2) * 8 + length]

    def area_in_force(self, position: int) -> int:
        """Return the number of the context area with the largest position up to this one.

        Raises:
            CorruptRing: no area is in force.
        """
        since = [self.words[(HEADER + area * AREA) // 8] for area in (0, 1)]
        past = [each for each in since if each <= position]
        if not past:
            raise CorruptRing("no resource is in force")
        return since.index(max(past))

    def store_resource(self, read: int, position: int, resource: bytes) -> None:
        """Write a resource into the context area that is not in use.

        After a kill in between, no position from ``read`` up to the next call uses that area.

        Args:
            read: the position up to which frames were read.
            position: the position from which on the resource is in force.
            resource: the encoded resource.

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
            CorruptRing: a frame or the resource is impossible.
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

    It includes the position: without x86's order of stores the reader may find the frame of the
    previous round.
    """
    return zlib.crc32(payload, (position ^ word ^ word >> 32) & 0xFFFFFFFF)
