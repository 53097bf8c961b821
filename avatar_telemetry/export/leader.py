"""One speaker per host: the worker that holds the leader lock, and the threads that do its duties.

The lock goes with the process, however that ends; the next worker takes over within a second.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from avatar_telemetry.guard import Guard
from avatar_telemetry.store.files import is_at_path
from avatar_telemetry.store.slots import LEADER_LOCK, try_lead

POLL_INTERVAL = 1.0
"""Seconds between two attempts to lead, or to take up a duty that failed."""
MAX_ROOT = 5.0
"""Seconds that a worker of root is waited for to become the user whose folder it is."""


class Duty(Protocol):
    """What the leader does, in a thread of its own."""

    def work(self, stopped: Event) -> None:
        """Go on until the term ends; where it raises it is called again."""

    def finish(self) -> None:
        """What is left to do at the end."""

    def settle(self, deadline: float) -> None:
        """Wait for what must not be cut off by the end of the process, and begin it no more."""

    def forget(self) -> None:
        """In a forked child: what this holds is the parent's, and must go with it."""


class Term(Event):
    """The time for which a process leads: it ends when it is set, or when the lock is no longer the
    file at its path, so that another process leads.

    Args:
        lock: descriptor of the leader lock.
        path: of its file.
    """

    def __init__(self, lock: int, path: Path) -> None:
        super().__init__()
        self._lock = lock
        self._path = path

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; a duty that waits between two acts never begins one after it."""
        return super().wait(timeout) or not is_at_path(self._lock, self._path)


class Leader(Thread):
    """Waits until this process leads, then does the duties.

    Args:
        folder: the runtime folder.
        duties: each gets a thread, so that none waits for another.
        guard: told of failures, such as a port in use; it is tried again.
    """

    def __init__(self, folder: Path, duties: Sequence[Duty], guard: Guard) -> None:
        super().__init__(name="avatar-telemetry-leader", daemon=True)
        self._folder = folder
        self._duties = duties
        self._guard = guard
        self._lock: int | None = None
        self._stopped = Event()
        self._term: Term | None = None
        self._finishes = False

    def run(self) -> None:
        with self._guard.at("leader"):
            self._await_drop()
        while not self._stopped.is_set():
            with self._guard.at("leader"):
                lock = self._lead()
                if lock is not None:
                    self._do_duties(lock)
            self._stopped.wait(POLL_INTERVAL)

    def stop(self, *, finish: bool = False) -> None:
        """Stop; does not wait.

        Args:
            finish: whether there is nobody who takes over, so that what is left is done here.
        """
        self._finishes = finish
        self._stopped.set()
        if self._term is not None:
            self._term.set()

    def wait(self, deadline: float) -> None:
        """Wait no longer than until a time of the monotonic clock: for everything to stop if that
        finishes what is left, else for what must not be cut off."""
        if not self._finishes:
            for duty in self._duties:
                duty.settle(deadline)
        elif self.is_alive():
            self.join(max(0.0, deadline - time.monotonic()))

    def forget(self) -> None:
        """In a forked child: the lock and the port are the parent's, and must go with it."""
        for duty in self._duties:
            duty.forget()
        with suppress(OSError):
            if self._lock is not None:
                os.close(self._lock)

    def _await_drop(self) -> None:
        """gunicorn's worker starts as root and drops its privileges (``user``) after its hooks, at
        any moment for this thread: a file made until then would be closed to all other workers."""
        owner = self._folder.stat().st_uid
        end = time.monotonic() + MAX_ROOT
        while os.getuid() == 0 and owner != 0 and time.monotonic() < end:
            if self._stopped.wait(0.01):
                return

    def _lead(self) -> int | None:
        if self._lock is None:
            self._lock = try_lead(self._folder)
        return self._lock

    def _do_duties(self, lock: int) -> None:
        term = self._term = Term(lock, self._folder / LEADER_LOCK)
        if self._stopped.is_set():
            term.set()
        threads = [
            Thread(target=self._keep_at, args=(duty, term), name=self.name, daemon=True)
            for duty in self._duties
        ]
        for thread in threads:
            thread.start()
        while not term.wait(POLL_INTERVAL):
            pass
        term.set()
        for thread in threads:
            thread.join()
        if not self._stopped.is_set():
            self._lock = None
            os.close(lock)

    def _keep_at(self, duty: Duty, term: Term) -> None:
        while not term.is_set():
            with self._guard.at("leader"):
                duty.work(term)
            term.wait(POLL_INTERVAL)
        if self._finishes:
            with self._guard.at("leader"):
                duty.finish()
