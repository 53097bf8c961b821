"""Call the callbacks of observable instruments, in one process of a runtime folder."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from avatar_telemetry._base.files import give_to_owner, is_at_path, lock_own
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.metrics.api_instruments import Observed
from avatar_telemetry.metrics.api_series import stored_values

LOCK_NAME = "observer.lock"
POLL_INTERVAL = 5.0
"""Seconds until a new instrument is observed, and until another process replaces one that ended."""


class Observers:
    """A thread, started with the first instrument, that observes all of them once an interval.

    Args:
        guard: notified of failures.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._instruments: list[Observed] = []
        self._observed: set[Observed] = set()
        self._folder: Path | None = None
        self._interval = self._timeout = 0.0
        self._due = 0.0
        self._lock: int | None = None
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def start(self, folder: Path, interval: float, timeout: float) -> None:
        """Observe from now on.

        Args:
            folder: the runtime folder.
            interval: seconds between two observations.
            timeout: seconds that a callback is allowed.
        """
        self._folder, self._interval, self._timeout = folder, interval, timeout
        self._stopped = threading.Event()
        self._ensure_thread()

    def add(self, instrument: Observed) -> None:
        """Observe an instrument, too. Call it with the lock of the book held."""
        if instrument not in self._instruments:
            self._instruments.append(instrument)
        self._ensure_thread()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self.forget()

    def forget(self) -> None:
        """In a forked child: thread and lock are the parent's."""
        self._thread = self._folder = None
        self._release()

    def _ensure_thread(self) -> None:
        if self._instruments and self._folder is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(self._folder,), name="avatar-telemetry-observer",
                daemon=True,
            )  # fmt: skip
            self._thread.start()

    def _run(self, folder: Path) -> None:
        # The first wait lets a worker become the user that it serves as, and load what the
        # callbacks need.
        while not self._stopped.wait(min(self._interval, POLL_INTERVAL)):
            with self._guard.at("meters"):
                self._observe(folder)

    def _observe(self, folder: Path) -> None:
        if not self._holds_lock(folder / LOCK_NAME):
            return
        instruments = list(self._instruments)
        new = [each for each in instruments if each not in self._observed]
        if new:
            stored = stored_values(folder, [each.metric for each in new])
            for instrument in new:
                instrument.take_over(stored[instrument.metric.name])
            self._observed.update(new)
        now = time.monotonic()
        if now >= self._due:
            self._due = now + self._interval
            new = instruments
        for instrument in new:
            instrument.observe(self._timeout)

    def _holds_lock(self, path: Path) -> bool:
        """Return whether this process is the one that observes; take the lock if it is free."""
        if self._lock is not None and is_at_path(self._lock, path):
            return True
        self._release()
        self._lock = lock_own(path)
        if self._lock is None:
            return False
        give_to_owner(self._lock, path.parent)
        self._observed.clear()
        self._due = 0.0
        return True

    def _release(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)
