"""The slot of a process, and the files of it that the process writes into."""

from __future__ import annotations

import time
from collections.abc import Callable

from avatar_telemetry._base.files import acting_as
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.folder import RuntimeDir
from avatar_telemetry.metrics.mapped import Book
from avatar_telemetry.metrics.slots import Slot, claim_again, claim_slot, remove_live_gauges

RENEW_TIMES_INTERVAL = 3600.0
"""Seconds between two renewals of the modification times, which cleaners look at."""
DIRECTORY_REMOVED = (
    "the runtime directory %s was removed while the server runs; it is restored with the counts of"
    " the running workers. Exclude it from cleaners (systemd: RemoveIPC=no for the user)"
)


class SlotFiles:
    """The slot of a process, which is taken on demand, and restored where its files were removed.

    Args:
        folder: the runtime directory.
        book: the values of the process.
        guard: the guard that reports internal failures.
        worker: true where the process serves requests; see
            :class:`~avatar_telemetry.metrics.slots.Holder`.
    """

    def __init__(
        self, folder: RuntimeDir, book: Book, guard: Guard, *, worker: bool = True
    ) -> None:
        self._folder = folder
        self._book = book
        self._guard = guard
        self._worker = worker
        self._slot: Slot | None = None
        self._moved: Callable[[], None] = lambda: None
        self._renew_times_at = 0.0

    def on_move(self, call: Callable[[], None]) -> None:
        """Set the function to call, with the lock of the book held, after the values have moved."""
        self._moved = call

    def take(self) -> None:
        """Take a slot and open its files, unless this process has one. Never raises."""
        with self._guard.holding(self._book.lock):
            if self._slot is not None:  # taking the lock for the first time in a child may do it
                return
            try:
                with acting_as(*self._folder.user):
                    self.renew_folder()
                    slot = self._slot = self._claim()
                    self._book.open(self._folder.path, slot.identifier)
            except OSError:
                if self._book.is_open:
                    self._book.detach()
                self._guard.failed("slot")
            self._moved()

    def number(self) -> int:
        """Return the number of the slot, which is taken if there is none.

        Raises:
            OSError: none can be taken.
        """
        if self._slot is None:
            self.take()
        if self._slot is None:
            raise OSError("this process has no slot")
        return self._slot.number

    def check(self) -> None:
        """Check that the process writes into files that are read. Never raises."""
        folder, book = self._folder, self._book
        with self._guard.at("slot"), self._guard.holding(book.lock):
            slot = self._slot
            if slot is None:
                self.take()
            elif not (folder.is_locked and slot.is_safe(folder.path) and book.is_intact):
                self._restore(slot)
                self._moved()
            elif book.short and book.recover():
                self._moved()
            now = time.monotonic()
            if now >= self._renew_times_at:
                self._renew_times_at = now + RENEW_TIMES_INTERVAL
                folder.renew_times()

    def close(self) -> None:
        """Close the slot; in a forked child, that of its parent is closed but not released."""
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.close()

    def of_child(self, *, worker: bool) -> SlotFiles:
        """Return the slot of a forked child, which closes this one and takes its own on demand."""
        self.close()
        return SlotFiles(self._folder, self._book, self._guard, worker=worker)

    def renew_folder(self) -> None:
        """Restore the directory if it was removed, with a warning.

        Raises:
            OSError: the directory cannot be restored.
        """
        if self._folder.renew():
            self._guard.warn(DIRECTORY_REMOVED, self._folder.path)

    def _claim(self) -> Slot:
        """Take a slot, without the live gauges of its last holder."""
        slot = claim_slot(self._folder.path, worker=self._worker)
        try:
            remove_live_gauges(self._folder.path, slot.number)
        except OSError:
            slot.close()
            raise
        return slot

    def _restore(self, slot: Slot) -> None:
        """Restore a directory, or files in it, that were removed, with the previous values."""
        path = self._folder.path
        with acting_as(*self._folder.user):
            self.renew_folder()
            if slot.has_data(path):
                if not slot.is_safe(path):
                    self._slot = claim_again(path, slot, worker=self._worker) or slot
                if not self._book.is_intact:
                    self._book.move(path, slot.identifier)
                return
            self._slot = self._claim()
            self._book.move(path, self._slot.identifier)
        slot.close()
