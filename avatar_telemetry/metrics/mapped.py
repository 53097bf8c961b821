"""Values in memory-mapped files: prometheus_client's multiprocess format, written our way.

The format is prometheus_client's own (``mmap_dict``), so that its tools read our files: four bytes
of length used, four of padding, then entries of a length, a JSON key padded to eight bytes, and two
doubles, value and timestamp. A value once placed never moves, so that updating one is a store into
mapped memory, which outlives a killed process. Only gauges of the modes ``mostrecent`` use the
timestamp; elsewhere it is the time at which the process that last declared the series began. The
padding, which prometheus_client ignores, has a random number of the file and counts how often such
a time was changed: a reader that knows the file sees from the header whether there are new
declarations in it, and whether it is another file that has got the inode of a removed one.
"""

from __future__ import annotations

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
from typing import Any, Protocol

from avatar_telemetry._base.files import give_to_owner, is_at_path, open_own, reserve
from avatar_telemetry.metrics.instruments import INSTRUMENTS

OUR_METRICS = frozenset(instrument.name for instrument in INSTRUMENTS)
INITIAL_SIZE = 1 << 16
SLOT_SIZE = 4 * INITIAL_SIZE
"""Counters, histograms, and the gauges of a common application."""
HEADER = 8
ENTRY_TAIL = 16
_length = struct.Struct("i")
_tail = struct.Struct("dd")
REVISIONS = 1 << 16
"""Revisions of a file, of whose number they are the remainder."""

Cell = tuple["memoryview[float]", int]
"""Where a value stands: ``doubles[index]``; its timestamp is the next one."""


class Lock(Protocol):
    """A reentrant lock."""

    def acquire(self) -> object: ...

    def release(self) -> object: ...

    def __enter__(self) -> object: ...

    def __exit__(self, *error: Any) -> bool | None: ...


class CorruptFileError(Exception):
    """A file does not hold what the format says."""


def read_entries(
    data: bytes | bytearray | mmap.mmap, used: int, start: int = HEADER
) -> Iterator[tuple[bytes, int]]:
    """The keys of a file, each with the index of its value among the doubles.

    Args:
        data: the file from its beginning, at least ``used`` bytes.
        used: how many bytes hold entries.
        start: where the first entry to read begins.

    Raises:
        CorruptFileError: lengths that lead out of the entries.
    """
    position = start
    while position < used:
        (length,) = _length.unpack_from(data, position)
        value = position + 4 + length + 8 - (length + 4) % 8
        if length <= 0 or value + ENTRY_TAIL > used:
            raise CorruptFileError(f"entry at byte {position}")
        yield bytes(data[position + 4 : position + 4 + length]), value // 8
        position = value + ENTRY_TAIL


def used_bytes(data: bytes | bytearray | mmap.mmap, size: int) -> int:
    """Return how many bytes of a file hold entries.

    Raises:
        CorruptFileError: a number that cannot be.
    """
    if size < HEADER:
        raise CorruptFileError("no header")
    (used,) = _length.unpack_from(data, 0)
    if used and (used < HEADER or used > size or used % 8):
        raise CorruptFileError(f"{used} of {size} bytes used")
    return int(used) or HEADER


def revision(data: bytes | bytearray | mmap.mmap) -> int:
    """Return a number that changes with the file and whenever an entry is declared again."""
    return int(_length.unpack_from(data, 4)[0])


def encode_key(metric: str, sample: str, labels: dict[str, str], documentation: str) -> str:
    """The key of a value, the same text that prometheus_client makes of it."""
    return json.dumps([metric, sample, labels, documentation], sort_keys=True)


class MappedFile:
    """One file, open for writing by this process alone.

    Raises:
        OSError: it cannot be made or read.
        CorruptFileError: there is a file of that name that does not hold what it should.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
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
                for key, index in read_entries(self._bytes, self._used)
            }
        except BaseException:
            os.close(self._descriptor)
            raise
        _length.pack_into(self._bytes, 0, self._used)

    def cell(self, key: str, declared_at: float | None = None) -> Cell:
        """Where the value of a key stands; a new key begins at zero.

        Args:
            key: see :func:`encode_key`.
            declared_at: the timestamp to set, or ``None`` to leave it as it is.

        Raises:
            OSError: no space for it.
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
        """Return whether the file is still in its folder."""
        return is_at_path(self._descriptor, self.path)

    def close(self) -> None:
        """Close the descriptor; mapped values stay usable until they are forgotten."""
        os.close(self._descriptor)

    def _append(self, key: str, declared_at: float) -> Cell:
        text = key.encode()
        padded = text + b" " * (8 - (len(text) + 4) % 8)
        entry = _length.pack(len(text)) + padded + _tail.pack(0.0, declared_at)
        end = self._used + len(entry)
        size = len(self._bytes)
        while end > size:
            size *= 2
        if size > len(self._bytes):
            reserve(self._descriptor, size)
            self._map(size)
        self._bytes[self._used : end] = entry
        # The entry stands before the length says so: a kill in between loses nothing.
        self._bytes[0:4] = _length.pack(end)
        self._used = end
        cell = self.cells[key] = (self._doubles, (end - ENTRY_TAIL) // 8)
        return cell

    def _map(self, size: int) -> None:
        # Cells in an earlier, smaller mapping keep it alive; both show the same pages.
        self._bytes = mmap.mmap(self._descriptor, size)
        self._doubles = memoryview(self._bytes).cast("d")


class Book:
    """All values of one process, and the one lock under which they change.

    Before a folder is given, and where a file cannot be had, values live in plain memory: the
    application goes on, and ``failed`` is called.

    Args:
        failed: called inside the ``except`` block of what went wrong.
    """

    def __init__(self, failed: Callable[[], None] = lambda: None) -> None:
        # Reentrant: a failure is counted, and so may a signal handler of the application.
        # Not gevent's, though it patches the name later: greenlets of one thread hold it together,
        # which is sound where no store waits, and costs less.
        self.lock: Lock = RLock()
        self.failed = failed
        self.series = 0
        """Values of our own instruments: the application's are not ours to bound."""
        self.short = False
        """Values are in plain memory that should be in a file."""
        self._failing = False
        self._location: tuple[Path, str] | None = None
        self._opened_at = 0.0
        self._files: dict[str, MappedFile] = {}
        self._memory: dict[tuple[str, str], Cell] = {}
        self._values: list[Any] = []

    def open(self, folder: Path, identifier: str) -> None:
        """From now on, write into the files of this process identifier.

        Values of the application that were made before are found again there.

        Args:
            folder: the runtime folder.
            identifier: the slot, or the name of a process without one. No ``_`` in it:
                prometheus_client takes names of files apart there.
        """
        with self.lock:
            early = self._values_in_memory() if self._location is None else {}
            self._leave()
            self._location = (folder, identifier)
            self._opened_at = time.time()
            self._restore(early)

    def move(self, folder: Path, identifier: str) -> None:
        """Go on in other files: those of before were removed. Their values are still mapped, and
        go into the new ones. What is still in the folder stays there, and on the page.

        Args:
            folder: the runtime folder.
            identifier: the slot.
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
        """Try to put into files what is in plain memory because there was no space.

        Returns:
            Whether values have moved, so that their cells have to be found anew.
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
            return True

    def detach(self) -> None:
        """From now on, write into plain memory: the files are another process's, or gone."""
        with self.lock:
            self._leave()
            self._location = None
            self._place_all()

    @property
    def is_open(self) -> bool:
        """Return whether it writes into files."""
        return self._location is not None

    @property
    def is_whole(self) -> bool:
        """Return whether all its files are still in their folder."""
        return all(file.is_at_path() for file in self._files.values())

    def renew_lock(self) -> None:
        """In a forked child: the thread that may have held the lock is not there."""
        self.lock = RLock()

    def on_next_use(self, call: Callable[[], None]) -> None:
        """Put off what costs something until a value is next touched.

        Args:
            call: made once, before that.
        """
        self.lock = _FirstUse(self, call)

    def cell(self, prefix: str, key: str) -> Cell:
        """Where a value stands. Call it with the lock held.

        Args:
            prefix: the type as it begins the name of a file, such as ``counter``.
            key: see :func:`encode_key`.
        """
        return self._place(prefix, key)

    def knows(self, prefix: str, key: str) -> bool:
        """Return whether a value exists already, and counts against no ceiling. Call it with the
        lock held."""
        file = self._file(prefix)
        return (file is not None and key in file.cells) or (prefix, key) in self._memory

    def count(self, prefix: str, start: str) -> int:
        """Return how many values have a key that begins with a text. Call it with the lock held."""
        file = self._file(prefix)
        keys = file.cells if file else [key for kind, key in self._memory if kind == prefix]
        return sum(key.startswith(start) for key in keys)

    def _file(self, prefix: str) -> MappedFile | None:
        """Return the file of a type, ``None`` where it cannot be opened or values are in memory."""
        if self._location is not None and prefix not in self._files:
            with suppress(OSError, CorruptFileError, ValueError):  # reported with the first value
                self._open_file(prefix)
        return self._files.get(prefix)

    def adopt(self, value: Any) -> None:
        """Place a value of the application, here and again after every :meth:`open`."""
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
                    _forget_other_bounds(file, key, self._opened_at)
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
            elif value or stamp:  # else it was not set since it was made
                doubles[index] = value
            if prefix.endswith("mostrecent") and (value or stamp):
                doubles[index + 1] = stamp
        self._place_all()

    def _values_in_memory(self) -> dict[tuple[str, str], tuple[float, float]]:
        return {
            each: (doubles[index], doubles[index + 1])
            for each, (doubles, index) in self._memory.items()
        }

    def _leave(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._memory.clear()
        self.short = False
        self.series = 0

    def _place_all(self) -> None:
        for value in self._values:
            value.place(*self._place(value.prefix, value.key))

    def _report(self) -> None:
        # The value that counts failures may itself be what has no place.
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


def _counts(key: str) -> bool:
    """Return whether a value counts as a series of ours; a histogram is one."""
    return key[2:].partition('"')[0] in OUR_METRICS and '_bucket", {' not in key


def _forget_other_bounds(file: MappedFile, key: str, opened_at: float) -> None:
    """Set a histogram to zero whose declaration has a bound that the slot's last holder did not
    declare: how its values would have fallen into the new buckets is unknown."""
    if '"le": "' not in key:
        return
    metric, sample, labels, documentation = json.loads(key)
    # Of a new series it is the last to be placed, so that only those of before have it here.
    last = file.cells.get(encode_key(metric, sample, labels | {"le": "+Inf"}, documentation))
    if "le" not in labels or last is None or last[0][last[1] + 1] in (opened_at, 0.0):
        return
    series = _series_of(key)
    begin = json.dumps([metric])[:-1]
    for each, (doubles, index) in file.cells.items():
        if each.startswith(begin) and _series_of(each) == series:
            doubles[index] = 0.0
    # Once for a declaration: its other bounds find that this was done.
    last[0][last[1] + 1] = opened_at


def _series_of(key: str) -> tuple[str, dict[str, str]]:
    metric, _, labels, _ = json.loads(key)
    return metric, {name: value for name, value in labels.items() if name != "le"}


class _FirstUse:
    """Stands for the lock of a book until somebody takes it."""

    def __init__(self, book: Book, call: Callable[[], None]) -> None:
        self._book = book
        self._call = call
        # By its name: gevent may have patched it by now, and the call may wait.
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
    """A value of prometheus_client that a book keeps; the arguments are prometheus_client's."""

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
        """Write into another cell from now on."""
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

    def set_exemplar(self, exemplar: object) -> None:
        """Exemplars are not kept over several processes, as in prometheus_client."""

    def get_exemplar(self) -> None:
        """Return ``None``: there are none."""


def value_class(book: Book) -> type:
    """A class for ``prometheus_client.values.ValueClass`` that keeps its values in a book.

    With it the application's own counters, gauges, histograms and summaries go into the files of
    the worker's slot. It is the seam that prometheus_client documents for other process
    identifiers.
    """
    return type("MappedValue", (MappedValue,), {"_book": book})
