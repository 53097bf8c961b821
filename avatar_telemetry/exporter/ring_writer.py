"""The writing side of a ring, with a fast path for most frames."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.exporter.ring_file import (
    COUNT_BITS,
    DATA,
    DROPPED_LOGS,
    DROPPED_SPANS,
    GENERATION,
    LOGS,
    MAX_ITEMS,
    MAX_POSITION,
    MAX_RESOURCE,
    NEEDS_CHECKSUM,
    PADDING,
    PID,
    READ,
    RESOURCE,
    SPANS,
    STARTED,
    WRITTEN,
    CorruptRing,
    RingFile,
    capacity_of,
    checksum_of,
    ring_path,
    set_aside,
)
from avatar_telemetry.metrics.procfs import start_ticks

# Indexed by kind; padding and unknown kinds raise.
KIND_BITS: Sequence[Any] = (None, RESOURCE << 32, SPANS << 32, LOGS << 32)
REFUSED, STORED, HALF_FULL = range(3)


class RingWriter:
    """The writing side of the ring of a slot, for its holder alone.

    The ring of an earlier holder is continued. One of another size is replaced where it is empty. A
    corrupt one is set aside.

    A forked child has its parent's ring and must call :meth:`detach` before it writes anything.

    Args:
        folder: the runtime directory.
        number: the number of the slot.
        size: the bytes for frames; no frame may be larger than half of it.
        max_items: the maximum of waiting spans and log records; an empty ring accepts a frame with
            more.
        resource: the encoded ``Resource`` of this process.
        wake: the function to call each time the ring becomes more than half full; must not block.
        dropped: the function to call with the number of dropped items; must not raise.
        failed: the function to call in the ``except`` block for a corrupt ring.
        checksum: true where the frames of a new ring have a checksum.
        signal: the signal: ``spans`` or ``logs``.

    Raises:
        OSError: the ring cannot be opened or made.
        ValueError: the resource is longer than ``MAX_RESOURCE``.
    """

    __slots__ = (
        "_base", "_busy", "_capacity", "_data", "_dropped", "_due", "_file", "_head", "_lock",
        "_max_items", "_unchecked_end", "_unchecked_items", "_wake", "_words",
    )  # fmt: skip

    def __init__(
        self,
        folder: Path,
        number: int,
        size: int,
        max_items: int,
        *,
        resource: bytes,
        wake: Callable[[], object] = lambda: None,
        dropped: Callable[[int], object] = lambda items: None,
        failed: Callable[[], object] = lambda: None,
        checksum: bool = NEEDS_CHECKSUM,
        signal: str = "spans",
    ) -> None:
        if len(resource) > MAX_RESOURCE:
            raise ValueError(f"a resource of {len(resource)} bytes; allowed are {MAX_RESOURCE}")
        self._file = _continued(ring_path(folder, number, signal), size, checksum, failed)
        self._words = self._file.words
        self._data = self._file.data
        self._capacity = self._file.capacity
        self._head = self._file.head
        self._max_items = min(max_items, MAX_ITEMS)
        # Reentrant: a put that interrupts another one of its thread finds the ring busy.
        self._lock = threading.RLock()
        self._busy = False
        self._wake = wake
        self._dropped = dropped
        self._words[GENERATION] += 1
        self._words[PID] = os.getpid()
        self._words[STARTED] = start_ticks(os.getpid())
        self._due: bytes | None = resource
        # Up to this position and number of items, a frame fits and leaves the ring half empty.
        self._unchecked_end = -1
        self._unchecked_items = 0
        self._base = 0
        self._store_resource()

    @property
    def waiting(self) -> int:
        """The number of items that were not read yet."""
        return self._file.waiting

    @property
    def dropped(self) -> int:
        """The number of items that all holders of the slot have dropped."""
        return self._words[DROPPED_SPANS] + self._words[DROPPED_LOGS]

    @property
    def written(self) -> int:
        """The position up to which frames were written, which only increases."""
        return self._words[WRITTEN] >> COUNT_BITS

    @property
    def read(self) -> int:
        """The position up to which frames were read; a flush waits until it reaches ``written``."""
        return self._words[READ] >> COUNT_BITS

    @property
    def max_payload(self) -> int:
        """The size of the longest possible payload, in bytes."""
        return (self._capacity // 2 - self._head) * 8

    def is_in_place(self) -> bool:
        """Return whether the ring is still the file at its path."""
        return self._file.is_in_place()

    def close(self) -> None:
        """Close the ring, for the next holder. Further frames are neither written nor counted."""
        self._file.close()

    def detach(self) -> None:
        """Close the parent's ring, in a forked child; takes no lock."""
        self.close()
        # Another thread of the parent, which does not exist here, may have held the old one.
        self._lock = threading.RLock()
        self._busy = False

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        """Write a frame, or count its items as dropped. Never raises, and waits only for its lock.

        Args:
            kind: the kind: ``SPANS`` or ``LOGS``.
            items: the number of spans or records in the payload.
            payload: the encoded items.

        Returns:
            True where the frame was written.
        """
        lock = self._lock
        lock.acquire()
        try:
            if self._busy:  # a signal handler or a finalizer within a put of the same thread
                stored = self._refuse(kind, items)
            else:
                self._busy = True
                try:
                    stored = self._store(kind, items, payload)
                except Exception:  # noqa: BLE001 - a closed ring or a wrong type: nothing was written
                    stored = self._refuse(kind, items)
                finally:
                    self._busy = False
        finally:
            lock.release()
        if stored == STORED:
            return True
        if stored == REFUSED:
            self._dropped(items)
            return False
        self._notify()
        return True

    def _store(self, kind: int, items: int, payload: bytes) -> int:
        """Write a frame: payload, word, mark.

        The mark is read from the file each time: an exception of a signal handler between two
        stores could make a copy of it wrong.
        """
        words = self._words
        length = len(payload)
        mark = words[WRITTEN]
        position = mark >> COUNT_BITS
        head = self._head
        end = position + head + (length + 7 >> 3)
        unchecked_items = self._unchecked_items - items
        if end > self._unchecked_end or unchecked_items < 0:
            return self._store_checked(kind, items, payload)
        self._unchecked_items = unchecked_items
        index = position - self._base
        start = index + head << 3
        word = length + KIND_BITS[kind] + (items << 40)
        self._data[start : start + length] = payload
        if head > 1:
            words[index + 1] = checksum_of(position, word, payload)
        words[index] = word
        words[WRITTEN] = (end << COUNT_BITS) + (mark + items & MAX_ITEMS)
        return STORED

    def _store_checked(self, kind: int, items: int, payload: bytes) -> int:
        """Write a frame with all checks, and set the range of frames that need none after it."""
        if self._due is not None and kind != RESOURCE:
            if not self._store_resource():
                return self._refuse(kind, items)
            return self._store(kind, items, payload)
        capacity, half, half_items = self._capacity, self._capacity // 2, self._max_items // 2
        written, read = self._words[WRITTEN], self._words[READ] >> COUNT_BITS
        position = written >> COUNT_BITS
        units = (len(payload) + 7 >> 3) + self._head
        space = capacity - position % capacity
        end = position + units + (space if units > space else 0)
        waiting = self._file.waiting
        # In an empty ring, too, a frame of more than half may not fit before or after the position.
        if end - read > capacity or units > half or items > MAX_ITEMS:
            return self._refuse(kind, items)
        if waiting and waiting + items > self._max_items:
            return self._refuse(kind, items)
        if units > space:
            self._store_padding(position, space)
            self._words[WRITTEN] = position + space << COUNT_BITS | written & MAX_ITEMS
        first = end - units
        self._base = first - first % capacity - DATA
        self._unchecked_end = max(end, min(first - first % capacity + capacity, read + half))
        self._unchecked_items = max(items, half_items - waiting)
        self._store(kind, items, payload)
        was_half = position - read > half or waiting > half_items
        is_half = end - read > half or waiting + items > half_items
        return HALF_FULL if is_half and not was_half else STORED

    def _store_padding(self, position: int, units: int) -> None:
        if units < self._head:
            return
        index = DATA + position % self._capacity
        word = (units - self._head) * 8 | PADDING << 32
        if self._head > 1:
            self._words[index + 1] = checksum_of(position, word, b"")
        self._words[index] = word

    def _store_resource(self) -> bool:
        """Write the resource, the first frame of this holder."""
        try:
            if self._due is None or self._store(RESOURCE, 0, self._due) == REFUSED:
                return False
            self._due = None
            return True
        finally:
            self._unchecked_end = -1

    def _refuse(self, kind: int, items: int) -> int:
        try:
            self._words[DROPPED_LOGS if kind == LOGS else DROPPED_SPANS] += items
        except Exception:  # noqa: BLE001 - a closed ring or a wrong type: nothing to count
            return REFUSED
        return REFUSED

    def _notify(self) -> None:
        try:
            self._wake()
        except Exception:  # noqa: BLE001 - the reader also polls
            LOGGER.debug("the exporter was not woken", exc_info=True)


def _continued(path: Path, size: int, checksum: bool, failed: Callable[[], object]) -> RingFile:
    """Open the ring of the last holder, or make a new one."""
    ring = None
    try:
        ring = RingFile(path)
        waiting = ring.check()
    except FileNotFoundError:
        return RingFile.make(path, size, checksum)
    except CorruptRing as error:
        failed()
        set_aside(path, error)
        return _replacement(path, size, checksum, ring)
    same = ring.capacity * 8 == capacity_of(size) and (ring.head > 1) == checksum
    # Positions are exhausted after about 140 TB; a ring is replaced long before.
    if waiting or (same and ring.words[WRITTEN] >> COUNT_BITS < MAX_POSITION // 2):
        return ring
    return _replacement(path, size, checksum, ring)


def _replacement(path: Path, size: int, checksum: bool, ring: RingFile | None) -> RingFile:
    made = RingFile.make(path, size, checksum, ring)
    if ring is not None:
        ring.close()
    return made
