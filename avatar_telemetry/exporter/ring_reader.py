"""The reading side of a ring: batches that stay in it until they are removed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from avatar_telemetry.exporter.ring_file import (
    COUNT_BITS,
    MAX_ITEMS,
    PADDING,
    READ,
    RESOURCE,
    WRITTEN,
    CorruptRing,
    RingFile,
    set_aside,
)

MAX_RETRIES = 20
"""Retries of a batch for frames with a wrong checksum, whose stores may not be visible yet."""
RETRY_DELAY = 0.001


class Frame(NamedTuple):
    """The data that one ``put`` wrote.

    Args:
        kind: the kind: ``SPANS`` or ``LOGS``.
        items: the number of spans or log records.
        payload: the sections, each of ``<II`` lengths, scope part and items part.
        resource: the encoded ``Resource`` of the writer.
    """

    kind: int
    items: int
    payload: bytes
    resource: bytes


class Batch(NamedTuple):
    """Frames that were read and are still in the ring.

    Args:
        frames: the frames in the order of writing; may be empty where the end advances.
        end: the end of the batch, for :meth:`RingReader.advance`.
        items: the number of spans and log records in the frames.
    """

    frames: list[Frame]
    end: int
    items: int


class RingReader:
    """The reading side of a ring; a ring has at most one at a time.

    Args:
        path: the path of the ring.

    Raises:
        OSError: the ring cannot be opened.
        CorruptRing: the file is not a ring, or its header is impossible; see :meth:`set_aside`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = RingFile(path)
        self._words = self._file.words
        self._frame = self._read_with_retries if self._file.head > 1 else self._file.frame
        self._batch: Batch | None = None
        self._start = 0
        self.torn = 0
        """Frames of the last batch that did not match their checksums."""
        self._retries = 0
        self._passed: tuple[int, bytes] | None = None

    @property
    def waiting(self) -> int:
        """The number of items in the ring."""
        return self._file.waiting

    @property
    def is_empty(self) -> bool:
        """True where there is nothing to read, not even the resource of a new holder."""
        return self._words[READ] >> COUNT_BITS == self._words[WRITTEN] >> COUNT_BITS

    def is_in_place(self) -> bool:
        """Return whether this is still the file at its path: a writer may have replaced it."""
        return self._file.is_in_place()

    def read(self, max_bytes: int, max_items: int) -> Batch:
        """Read frames without removing them: until :meth:`advance` they are read again.

        Args:
            max_bytes: the maximum of payload bytes, unless the first frame has more.
            max_items: the maximum of spans and log records, unless the first frame has more.

        Raises:
            CorruptRing: the content of the ring is corrupt.
        """
        read, written = self._file.bounds()
        position, last = read >> COUNT_BITS, written >> COUNT_BITS
        resource = self._file.resource_in_force(read >> COUNT_BITS)
        self._passed, self.torn, self._start = None, 0, read
        self._retries = MAX_RETRIES
        frames: list[Frame] = []
        size = total = 0
        while position < last:
            kind, items, payload, units = self._frame(position, last)
            if payload is None:
                self.torn += 1
            elif kind == RESOURCE:
                resource = payload
                self._passed = position + units, payload
            elif kind != PADDING:
                if frames and (size + len(payload) > max_bytes or total + items > max_items):
                    break
                frames.append(Frame(kind, items, payload, resource))
                size += len(payload)
                total += items
            position += units
        # At the end the writer's count is used: it corrects an earlier error.
        end = written if position == last else position << COUNT_BITS | (read + total) & MAX_ITEMS
        self._batch = Batch(frames, end, total)
        return self._batch

    def advance(self, end: int) -> None:
        """Remove the frames of a batch.

        Args:
            end: the end of the batch that was read last.

        Raises:
            CorruptRing: another process has moved ``read``.
            ValueError: the end is that of another batch.
        """
        if self._batch is None or end != self._batch.end:
            raise ValueError("not the end of the batch that was read last")
        if self._words[READ] != self._start:
            raise CorruptRing("read was moved by another process")
        if self._passed is not None:
            self._file.store_resource(self._start >> COUNT_BITS, *self._passed)
        self._words[READ] = end
        self._batch = None

    def set_aside(self, reason: object) -> None:
        """Rename the ring, unless a writer has replaced it.

        The writer detects with ``is_in_place`` that it needs a new one.

        Raises:
            OSError: the ring cannot be renamed.
        """
        if self.is_in_place():
            set_aside(self.path, reason)

    def close(self) -> None:
        """Unmap the ring."""
        self._file.close()

    def _read_with_retries(self, position: int, last: int) -> tuple[int, int, bytes | None, int]:
        """Read a frame whose stores may become visible after that of ``written``."""
        while self._retries:
            try:
                found = self._file.frame(position, last)
                if found[2] is not None:
                    return found
            except CorruptRing:
                pass
            self._retries -= 1
            time.sleep(RETRY_DELAY)
        return self._file.frame(position, last)
