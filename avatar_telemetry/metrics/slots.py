"""Slots: numbers that workers hold one after the other, each with a lock that the kernel releases.

The metric files of a worker are named by its slot instead of its pid: the next holder continues the
counts of a dead one, and the largest number of concurrent workers bounds the number of files.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from avatar_telemetry._base.files import is_at_path, lock_own, open_own
from avatar_telemetry.metrics.procfs import is_alive, start_ticks

SLOT_FILE = re.compile(r"slot-(\d+)\.lock")
EXPORTER_LOCK = "exporter.lock"
# The slot of a dead holder can still be locked for a moment: by the master that clears it, or
# because the kernel has not closed the holder's files yet. The next number would add files.
MAX_ATTEMPTS = 20
RETRY_DELAY = 0.005
MAX_SLOTS = 4096
"""The end of the search for a free slot; no host has as many processes that record."""
# With these errors, no other slot can be taken either.
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True)
class Slot:
    """A number held by this process.

    Args:
        number: the lowest free number.
        lock: the descriptor of the lock file, to be kept open as long as the slot is used.
        data: the descriptor of the locked file of counters: no other process takes the slot even
            where a cleaner has removed the lock file.
    """

    number: int
    lock: int
    data: int

    def is_safe(self, folder: Path) -> bool:
        """Return whether both files are still in the directory."""
        return is_at_path(self.lock, _lock_path(folder, self.number)) and self.has_data(folder)

    def has_data(self, folder: Path) -> bool:
        """Return whether the file of counters is still in the directory."""
        return is_at_path(self.data, _data_path(folder, self.number))

    def close(self) -> None:
        """Close the locks; a forked child does not release its parent's."""
        os.close(self.lock)
        os.close(self.data)

    @property
    def identifier(self) -> str:
        """The process identifier in its file names."""
        return slot_identifier(self.number)


@dataclass(frozen=True)
class Holder:
    """The process that holds a slot.

    Args:
        slot: the number of the slot.
        pid: the pid of the process.
        started: the clock ticks from boot to its start.
        worker: true where it serves requests; false for a child that the application forked.
    """

    slot: int
    pid: int
    started: int
    worker: bool = True

    @property
    def identifier(self) -> str:
        """The process identifier in its file names."""
        return slot_identifier(self.slot)


def slot_identifier(number: int) -> str:
    """Return the process identifier of a slot, which is never a pid.

    prometheus_client's ``mark_process_dead(pid)`` removes the live gauges of an identifier, and
    pids in a container are as small as slots.
    """
    return f"s{number}"


def claim_slot(folder: Path, *, worker: bool = True) -> Slot:
    """Take the lowest free slot of a runtime directory, until this process ends.

    Args:
        folder: the runtime directory.
        worker: true where this process serves requests; see :class:`Holder`.

    Raises:
        OSError: the directory is gone, full or read-only, or no slot in it can be taken.
    """
    for number in range(MAX_SLOTS):
        if slot := _try_claim(folder, number, worker):
            return slot
    raise OSError(errno.EBUSY, f"none of {MAX_SLOTS} slots can be taken", str(folder))


def claim_again(folder: Path, slot: Slot, *, worker: bool = True) -> Slot | None:
    """Make the lock file of a held slot again, after it was removed.

    Returns:
        The same slot, or ``None`` where another process has that lock now.
    """
    lock = lock_own(_lock_path(folder, slot.number))
    if lock is None:
        return None
    _write_holder(lock, worker)
    os.close(slot.lock)
    return Slot(slot.number, lock, slot.data)


def holders(folder: Path) -> list[Holder]:
    """Return the living holders of the slots of a directory, by number."""
    return [each for each in last_holders(folder) if is_alive(each.pid, each.started)]


def last_holders(folder: Path) -> list[Holder]:
    """Return the present or last holder of each slot of a directory, by number."""
    found = []
    for entry in os.scandir(folder):
        name = SLOT_FILE.fullmatch(entry.name)
        holder = _read_holder(entry.path, int(name[1])) if name else None
        if holder:
            found.append(holder)
    return sorted(found, key=lambda holder: holder.slot)


def clear_dead_gauges(folder: Path, pid: int) -> None:
    """Remove the live gauges of the slot whose last holder was this dead process."""
    for holder in last_holders(folder):
        if holder.pid == pid:
            _clear_if_free(folder, holder)


def remove_live_gauges(folder: Path, number: int) -> None:
    """Remove the live gauges of a slot; only the process that has its lock may do this."""
    for path in folder.glob(f"gauge_live*_{slot_identifier(number)}.db"):
        path.unlink(missing_ok=True)


def make_exporter_lock(folder: Path) -> None:
    """Make the file of the exporter's lock; call it as the workers' user.

    A file that root makes (the master, a doctor) could not be opened by a worker.
    """
    with suppress(OSError):
        os.close(open_own(folder / EXPORTER_LOCK, os.O_RDWR | os.O_CREAT))


def has_exporter(folder: Path) -> bool:
    """Return whether an exporter runs for a runtime directory.

    Raises:
        OSError: the directory is gone.
    """
    lock = lock_own(folder / EXPORTER_LOCK)
    if lock is not None:
        os.close(lock)
    return lock is None


def _lock_path(folder: Path, number: int) -> Path:
    return folder / f"slot-{number}.lock"


def _data_path(folder: Path, number: int) -> Path:
    return folder / f"counter_{slot_identifier(number)}.db"


def _try_claim(folder: Path, number: int, worker: bool) -> Slot | None:
    path = _lock_path(folder, number)
    for _ in range(MAX_ATTEMPTS):
        lock = lock_own(path)
        if lock is not None:
            return _claim_locked(folder, number, lock, worker)
        holder = _read_holder(path, number)
        if holder is None or is_alive(holder.pid, holder.started):
            break
        _pause()
    return None


def _pause() -> None:
    """Wait a moment without running gevent's greenlets.

    In a forked child these are copies of the server's, and would accept connections that the child
    closes at its end.
    """
    if hasattr(signal, "sigtimedwait"):
        signal.sigtimedwait((), RETRY_DELAY)
    else:
        time.sleep(RETRY_DELAY)


def _claim_locked(folder: Path, number: int, lock: int, worker: bool) -> Slot | None:
    try:
        data = lock_own(_data_path(folder, number), mode=0o644)
        if data is None:
            os.close(lock)
            return None
        _write_holder(lock, worker)
        return Slot(number, lock, data)
    except OSError as error:
        os.close(lock)
        if error.errno in EXHAUSTED:
            raise
        return None  # another kind of file has this name: the next slot can be used


def _clear_if_free(folder: Path, holder: Holder) -> None:
    lock = lock_own(_lock_path(folder, holder.slot), os.O_RDWR)
    if lock is None:
        return
    try:
        if _read_holder(lock, holder.slot) == holder:
            remove_live_gauges(folder, holder.slot)
    finally:
        os.close(lock)


def _write_holder(lock: int, worker: bool) -> None:
    pid = os.getpid()
    # One write of fixed width: a reader finds the old holder or the new one, never a mix.
    os.pwrite(lock, json.dumps([pid, start_ticks(pid), int(worker)]).ljust(64).encode(), 0)


def _read_holder(source: str | Path | int, slot: int) -> Holder | None:
    try:
        if isinstance(source, int):
            record = os.pread(source, 64, 0)
        else:
            with open(open_own(source, os.O_RDONLY), "rb") as file:
                record = file.read(64)
        pid, started, *worker = json.loads(record)
        return Holder(slot, int(pid), int(started), worker != [0])
    except (OSError, ValueError, TypeError):
        return None
