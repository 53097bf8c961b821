"""Calls of the callbacks of observable instruments, in one process of a runtime directory."""

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
"""Seconds until a new instrument is observed, or another process replaces an ended observer."""


class Observers:
    """A thread, started with the first instrument, that observes all of them at an interval.

    Args:
        guard: the guard that counts failures.
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
        """Start to observe.

        Args:
            folder: the runtime directory.
            interval: the seconds between two observations.
            timeout: the seconds that a callback may take.
        """
        self._folder, self._interval, self._timeout = folder, interval, timeout
        self._stopped = threading.Event()
        self._ensure_thread()

    def add(self, instrument: Observed) -> None:
        """Add an instrument. Call it with the lock of the book held."""
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
        """Forget the parent's thread and lock, in a forked child."""
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
        # During the first wait a worker drops its privileges and imports what the callbacks need.
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
        """Return whether this process is the observer; take the lock if it is free."""
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
