"""Values in memory-mapped files, in prometheus_client's multiprocess format.

The format is that of prometheus_client (``mmap_dict``), so that its tools read our files: four
bytes of used length, four of padding, then entries of a length, a JSON key padded to eight bytes,
and two doubles, value and timestamp. A value never moves: an update is a store into mapped memory,
which is kept when the process is killed. Only gauges of the modes ``mostrecent`` use the timestamp;
elsewhere it is the start of the process that last declared the series. The padding, which
prometheus_client ignores, has a random number of the file and the number of changes of such times:
the header shows a reader new declarations, and a new file with the inode of a removed one.
"""

from __future__ import annotations

import errno
import json
import mmap
import os
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from random import getrandbits
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol

from avatar_telemetry._base.files import give_to_owner, is_at_path, open_own, reserve
from avatar_telemetry.metrics.exemplars import (
    MAX_FILE_BYTES,
    NO_PLACE,
    SIZES,
    SUFFIX,
    Kind,
    Place,
    pack_labels,
)
from avatar_telemetry.metrics.family import make_exemplar
from avatar_telemetry.metrics.instruments import INSTRUMENTS

if TYPE_CHECKING:
    from prometheus_client.samples import Exemplar

OUR_METRICS = frozenset(instrument.name for instrument in INSTRUMENTS)
INITIAL_SIZE = 1 << 16
SLOT_SIZE = 4 * INITIAL_SIZE
"""Bytes of the files of a slot: counters, histograms, and the gauges of a common application."""
HEADER = 8
ENTRY_TAIL = 16
INFINITE = float("inf")
_length = struct.Struct("i")
_tail = struct.Struct("dd")
REVISIONS = 1 << 16
"""The number of revisions: a revision is the remainder of the padding divided by it."""

Cell = tuple["memoryview[float]", int]
"""The position of a value: ``doubles[index]``; its timestamp is the next one."""


class Lock(Protocol):
    """A reentrant lock."""

    def acquire(self) -> object: ...

    def release(self) -> object: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *error: Any) -> bool | None: ...


class CorruptFileError(Exception):
    """The content of a file does not have the expected format."""


def read_entries(
    data: bytes | bytearray | mmap.mmap, used: int, start: int = HEADER, tail: int = ENTRY_TAIL
) -> Iterator[tuple[bytes, int]]:
    """Yield the keys of a file, each with the index of its value among the doubles.

    Args:
        data: the file from its beginning, at least ``used`` bytes.
        used: the number of bytes up to the end of the entries.
        start: the position of the first entry to read.
        tail: the bytes of an entry after its key.

    Raises:
        CorruptFileError: an entry extends beyond the end of the entries.
    """
    position = start
    while position < used:
        (length,) = _length.unpack_from(data, position)
        value = position + 4 + length + 8 - (length + 4) % 8
        if length <= 0 or value + tail > used:
            raise CorruptFileError(f"entry at byte {position}")
        yield bytes(data[position + 4 : position + 4 + length]), value // 8
        position = value + tail


def used_bytes(data: bytes | bytearray | mmap.mmap, size: int) -> int:
    """Return the number of bytes up to the end of a file's entries.

    Raises:
        CorruptFileError: the number is impossible.
    """
    if size < HEADER:
        raise CorruptFileError("no header")
    (used,) = _length.unpack_from(data, 0)
    if used and (used < HEADER or used > size or used % 8):
        raise CorruptFileError(f"{used} of {size} bytes used")
    return int(used) or HEADER


def revision(data: bytes | bytearray | mmap.mmap) -> int:
    """Return a number that differs between files and after an entry was declared again."""
    return int(_length.unpack_from(data, 4)[0])


def encode_key(metric: str, sample: str, labels: dict[str, str], documentation: str) -> str:
    """Return the key of a value, the same text as prometheus_client's."""
    return json.dumps([metric, sample, labels, documentation], sort_keys=True)


class MappedFile:
    """One file, open for writing by this process alone.

    Args:
        path: the path of the file.
        tail: the bytes of an entry after its key, a multiple of 8 from 16 on.
        max_size: the maximum size of the file.

    Raises:
        OSError: the file cannot be made or read.
        CorruptFileError: the content of an existing file does not have the expected format.
    """

    def __init__(self, path: Path, tail: int = ENTRY_TAIL, max_size: float = INFINITE) -> None:
        self.path = path
        self._tail = tail
        self._max_size = max_size
        self._descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            size = os.fstat(self._descriptor).st_size
            is_new = size == 0
            if is_new:
                give_to_owner(self._descriptor, path.parent)
                reserve(self._descriptor, INITIAL_SIZE)
                size = INITIAL_SIZE
            if size % 8:
                raise CorruptFileError(f"{size} bytes")
            self._map(size)
            if is_new:
                _length.pack_into(self._bytes, 4, getrandbits(15) * REVISIONS)
            self._used = used_bytes(self._bytes, size)
            self.cells: dict[str, Cell] = {
                key.decode(): (self._doubles, index)
                for key, index in read_entries(self._bytes, self._used, tail=tail)
            }
        except BaseException:
            os.close(self._descriptor)
            raise
        _length.pack_into(self._bytes, 0, self._used)

    def cell(self, key: str, declared_at: float | None = None) -> Cell:
        """Find or create the cell of a key, with the value zero for a new one.

        Args:
            key: the key; see :func:`encode_key`.
            declared_at: the timestamp to set, or ``None`` to leave it unchanged.

        Raises:
            OSError: no space is left for it.
        """
        cell = self.cells.get(key)
        if cell is None:
            return self._append(key, declared_at or 0.0)
        doubles, index = cell
        if declared_at is not None and doubles[index + 1] != declared_at:
            doubles[index + 1] = declared_at
            # After the timestamp: a reader that sees the new revision sees the timestamp, too.
            before = revision(self._bytes)
            after = before - before % REVISIONS + (before + 1) % REVISIONS
            _length.pack_into(self._bytes, 4, after)
        return cell

    def is_at_path(self) -> bool:
        """Return whether the file is still at its path."""
        return is_at_path(self._descriptor, self.path)

    def close(self) -> None:
        """Close the descriptor; mapped values stay usable until they are forgotten."""
        os.close(self._descriptor)

    def _append(self, key: str, declared_at: float) -> Cell:
        text = key.encode()
        padded = text + b" " * (8 - (len(text) + 4) % 8)
        tail = _tail.pack(0.0, declared_at).ljust(self._tail, b"\0")
        entry = _length.pack(len(text)) + padded + tail
        end = self._used + len(entry)
        size = len(self._bytes)
        if end > self._max_size:
            raise OSError(errno.ENOSPC, "the file has its maximum size", str(self.path))
        while end > size:
            size *= 2
        if size > len(self._bytes):
            reserve(self._descriptor, size)
            self._map(size)
        self._bytes[self._used : end] = entry
        # The entry is stored before the length includes it: a kill in between loses nothing.
        self._bytes[0:4] = _length.pack(end)
        self._used = end
        cell = self.cells[key] = (self._doubles, (end - self._tail) // 8)
        return cell

    def _map(self, size: int) -> None:
        # Cells in an earlier, smaller mapping keep it; both map the same pages.
        self._bytes = mmap.mmap(self._descriptor, size)
        self._doubles = memoryview(self._bytes).cast("d")


class Book:
    """All values of one process, and the one lock for their changes.

    Without a directory, and where a file cannot be opened, values are in plain memory; in the
    second case ``failed`` is called.

    Args:
        failed: the function to call inside the ``except`` block of a failure.
    """

    def __init__(self, failed: Callable[[], None] = lambda: None) -> None:
        # Reentrant: a failure is counted with the lock held, and so may a signal handler count.
        # Never gevent's, which patches the name later: greenlets of one thread may hold it together
        # because no store waits, and it costs less.
        self.lock: Lock = RLock()
        self.failed = failed
        self.series = 0
        """The number of series of our own instruments; the application's have no ceiling."""
        self.short = False
        """True where values are in plain memory because a file could not be written."""
        self._failing = False
        self._location: tuple[Path, str] | None = None
        self._opened_at = 0.0
        self._files: dict[str, MappedFile] = {}
        self._exemplars: dict[Kind, MappedFile | None] = {}
        self._memory: dict[tuple[str, str], Cell] = {}
        self._values: list[Any] = []

    def open(self, folder: Path, identifier: str) -> None:
        """Start to write into the files of a process identifier.

        Existing values of the application move there.

        Args:
            folder: the runtime directory.
            identifier: the slot, or the name of a process without one; without ``_``, at which
                prometheus_client splits file names.
        """
        with self.lock:
            early = self._values_in_memory() if self._location is None else {}
            self._leave()
            self._location = (folder, identifier)
            self._opened_at = time.time()
            self._restore(early)

    def move(self, folder: Path, identifier: str) -> None:
        """Continue in other files, because some were removed: the values of these, which are still
        mapped, move into the new ones. Files that still exist stay on the page.

        Args:
            folder: the runtime directory.
            identifier: the process identifier of the slot.
        """
        with self.lock:
            values = {
                (prefix, key): (doubles[index], doubles[index + 1])
                for prefix, file in self._files.items()
                if not file.is_at_path()
                for key, (doubles, index) in file.cells.items()
            }
            values |= self._values_in_memory()
            self._leave()
            self._location = (folder, identifier)
            self._restore(values)

    def recover(self) -> bool:
        """Try to move the values from plain memory into files, after a lack of space.

        Returns:
            True where values have moved, and their cells have to be found again.
        """
        with self.lock:
            values = self._values_in_memory()
            before, self._memory = self._memory, {}
            self.short = False
            for prefix, key in before:
                self._place(prefix, key)
                break
            if self.short:
                self._memory = before
                return False
            self._restore(values)
            self._exemplars = {kind: file for kind, file in self._exemplars.items() if file}
            return True

    def detach(self) -> None:
        """Start to write into plain memory: another process owns the files, or they are gone."""
        with self.lock:
            self._leave()
            self._location = None
            self._place_all()

    @property
    def is_open(self) -> bool:
        """Return whether the book writes into files."""
        return self._location is not None

    @property
    def is_intact(self) -> bool:
        """Return whether all files are still in their directory."""
        return all(file.is_at_path() for file in self._open_files())

    def renew_lock(self) -> None:
        """Replace the lock, in a forked child: a thread that does not exist there may hold it."""
        self.lock = RLock()

    def on_next_use(self, call: Callable[[], None]) -> None:
        """Defer a call until the next use of a value.

        Args:
            call: the function to call once, before that use.
        """
        self.lock = _FirstUse(self, call)

    def cell(self, prefix: str, key: str) -> Cell:
        """Find or create the cell of a value. Call it with the lock held.

        Args:
            prefix: the beginning of the file's name, such as ``counter``.
            key: the key; see :func:`encode_key`.
        """
        return self._place(prefix, key)

    def exemplar_place(self, kind: Kind, key: str) -> Place:
        """Find or create the place of an exemplar: :data:`NO_PLACE` where no file has space for it.
        Call it with the lock held.

        Args:
            kind: the kind of the file.
            key: the key of the value.
        """
        with suppress(OSError, ValueError):
            if kind not in self._exemplars:
                self._exemplars[kind] = None  # no further attempt until recover()
                self.short = True
                self._exemplars[kind] = self._open_exemplars(kind)
                self.short = bool(self._memory)
            file = self._exemplars[kind]
            if file is not None:
                doubles, index = file.cell(key)
                return doubles.obj, slice(8 * index, 8 * index + SIZES[kind])
        return NO_PLACE

    def knows(self, prefix: str, key: str) -> bool:
        """Return whether a value exists, and so does not count against the ceiling. Call it with
        the lock held."""
        file = self._file(prefix)
        return (file is not None and key in file.cells) or (prefix, key) in self._memory

    def count(self, prefix: str, start: str) -> int:
        """Return the number of keys that begin with a text. Call it with the lock held."""
        file = self._file(prefix)
        keys = file.cells if file else [key for kind, key in self._memory if kind == prefix]
        return sum(key.startswith(start) for key in keys)

    def _file(self, prefix: str) -> MappedFile | None:
        """Return the file of a prefix, ``None`` where values are in plain memory."""
        if self._location is not None and prefix not in self._files:
            with suppress(OSError, CorruptFileError, ValueError):  # reported with the first value
                self._open_file(prefix)
        return self._files.get(prefix)

    def adopt(self, value: Any) -> None:
        """Place a value of the application, now and after every :meth:`open`."""
        with self.lock:
            self._values.append(value)
            value.place(*self._place(value.prefix, value.key))

    def _place(self, prefix: str, key: str) -> Cell:
        try:
            if self._location is not None:
                file = self._files.get(prefix) or self._open_file(prefix)
                is_new = key not in file.cells
                stamped = prefix.endswith("mostrecent")
                cell = file.cell(key, None if stamped else self._opened_at)
                self.series += is_new and _counts(key)
                if is_new and prefix == "histogram":
                    _reset_other_bounds(file, key, self._opened_at)
                return cell
        except (OSError, CorruptFileError, ValueError):
            self.short = True
            self._report()
        return self._memory.setdefault((prefix, key), (memoryview(array("d", (0.0, 0.0))), 0))

    def _restore(self, values: dict[tuple[str, str], tuple[float, float]]) -> None:
        for (prefix, key), (value, stamp) in values.items():
            doubles, index = self._place(prefix, key)
            if not prefix.startswith("gauge"):
                doubles[index] += value
            elif value or stamp:  # otherwise it was never set
                doubles[index] = value
            if prefix.endswith("mostrecent") and (value or stamp):
                doubles[index + 1] = stamp
        self._place_all()

    def _values_in_memory(self) -> dict[tuple[str, str], tuple[float, float]]:
        return {
            each: (doubles[index], doubles[index + 1])
            for each, (doubles, index) in self._memory.items()
        }

    def _open_files(self) -> Iterator[MappedFile]:
        yield from self._files.values()
        yield from filter(None, self._exemplars.values())

    def _leave(self) -> None:
        for file in self._open_files():
            file.close()
        self._files.clear()
        self._exemplars.clear()
        self._memory.clear()
        self.short = False
        self.series = 0

    def _place_all(self) -> None:
        for value in self._values:
            value.place(*self._place(value.prefix, value.key))

    def _report(self) -> None:
        # The value that counts failures may itself be the one without space.
        if not self._failing:
            self._failing = True
            try:
                self.failed()
            finally:
                self._failing = False

    def _open_file(self, prefix: str) -> MappedFile:
        folder, identifier = self._location  # type: ignore[misc]
        path = folder / f"{prefix}_{identifier}.db"
        try:
            file = MappedFile(path)
        except (CorruptFileError, ValueError):
            self._report()
            path.replace(path.with_suffix(".db.corrupt"))
            file = MappedFile(path)
        self._files[prefix] = file
        self.series += sum(map(_counts, file.cells))
        return file

    def _open_exemplars(self, kind: Kind) -> MappedFile | None:
        if self._location is None:
            return None
        folder, identifier = self._location
        path = folder / f"{kind}_{identifier}{SUFFIX}"
        try:
            return MappedFile(path, SIZES[kind], MAX_FILE_BYTES)
        except (CorruptFileError, ValueError):
            path.replace(path.with_suffix(f"{SUFFIX}.corrupt"))
            return MappedFile(path, SIZES[kind], MAX_FILE_BYTES)


def _counts(key: str) -> bool:
    """Return whether a value counts as one of our series; a histogram is one series."""
    return key[2:].partition('"')[0] in OUR_METRICS and '_bucket", {' not in key


def _reset_other_bounds(file: MappedFile, key: str, opened_at: float) -> None:
    """Set a histogram to zero where its declaration has a bound that the slot's last holder did not
    declare: the distribution of its values over the new buckets is unknown."""
    if '"le": "' not in key:
        return
    metric, sample, labels, documentation = json.loads(key)
    # The infinite bucket of a new series is placed last: only an earlier series has it here.
    last = file.cells.get(encode_key(metric, sample, labels | {"le": "+Inf"}, documentation))
    if "le" not in labels or last is None or last[0][last[1] + 1] in (opened_at, 0.0):
        return
    series = _series_of(key)
    begin = json.dumps([metric])[:-1]
    for each, (doubles, index) in file.cells.items():
        if each.startswith(begin) and _series_of(each) == series:
            doubles[index] = 0.0
    # Once per declaration: this time marks it for the other bounds.
    last[0][last[1] + 1] = opened_at


def _series_of(key: str) -> tuple[str, dict[str, str]]:
    metric, _, labels, _ = json.loads(key)
    return metric, {name: value for name, value in labels.items() if name != "le"}


class _FirstUse:
    """A placeholder for the lock of a book until its first use."""

    def __init__(self, book: Book, call: Callable[[], None]) -> None:
        self._book = book
        self._call = call
        # Looked up now: gevent may have patched it, and the call may wait.
        self._once = threading.RLock()

    def acquire(self) -> object:
        with self._once:
            if self._book.lock is self:
                self._book.renew_lock()
                self._call()
        return self._book.lock.acquire()

    def release(self) -> None:
        self._book.lock.release()

    def __enter__(self) -> object:
        return self.acquire()

    def __exit__(self, *error: Any) -> None:
        self.release()


class MappedValue:
    """A value of prometheus_client in a book; the arguments are prometheus_client's."""

    _multiprocess = True
    _book: Book

    def __init__(
        self,
        typ: str,
        metric_name: str,
        name: str,
        labelnames: Sequence[str],
        labelvalues: Sequence[str],
        help_text: str,
        multiprocess_mode: str = "",
        **kwargs: object,
    ) -> None:
        self.prefix = f"{typ}_{multiprocess_mode}" if typ == "gauge" else typ
        self.stamped = self.prefix.endswith("mostrecent")
        labels = dict(zip(labelnames, labelvalues, strict=True))
        self.key = encode_key(metric_name, name, labels, help_text)
        self._book.adopt(self)

    def place(self, doubles: memoryview[float], index: int) -> None:
        """Set the cell of the value."""
        self._doubles = doubles
        self._index = index

    def inc(self, amount: float) -> None:
        """Add to the value."""
        with self._book.lock:
            self._doubles[self._index] += amount
            if self.stamped:
                self._doubles[self._index + 1] = 0.0

    def set(self, value: float, timestamp: float | None = None) -> None:
        """Replace the value."""
        with self._book.lock:
            self._doubles[self._index] = value
            if self.stamped:
                self._doubles[self._index + 1] = timestamp or 0.0

    def get(self) -> float:
        """Return the value."""
        with self._book.lock:
            return float(self._doubles[self._index])

    def set_exemplar(self, exemplar: Exemplar) -> None:
        """Keep an exemplar, unless its labels are too long for the page."""
        kept = make_exemplar(exemplar.labels, exemplar.value, exemplar.timestamp)
        record = pack_labels(kept) if kept is not None else None
        if record is not None:
            with self._book.lock:
                memory, where = self._book.exemplar_place("labels", self.key)
                memory[where] = record

    def get_exemplar(self) -> None:
        """Return ``None``: the exemplars of all processes are on the page."""


def value_class(book: Book) -> type:
    """Make a class for ``prometheus_client.values.ValueClass`` that keeps its values in a book.

    With it the application's counters, gauges, histograms and summaries are written into the files
    of the worker's slot. prometheus_client documents this attribute for other process identifiers.
    """
    return type("MappedValue", (MappedValue,), {"_book": book})
