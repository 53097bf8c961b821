"""The budget of kept requests, which the processes of a host share.

    budget = Budget(folder, claim, guard)
    budget.take(50)                # true for 50 requests of the host in this second

Each process counts its tokens of a second in a word of its own in a mapped file, and adds up the
words of all. There is no lock between processes, and a killed one leaves a valid word. Processes
that add up at the same moment do not see each other's token: the tokens of a second exceed the
limit by at most one for each other process.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from avatar_telemetry._base.files import give_to_owner, open_own, reserve
from avatar_telemetry._base.guard import Guard

FILE_NAME = "keep.budget"
WORDS = 512
"""Words of the file. Processes with a higher slot share a word, and may lose a token of it."""
COUNT_BITS = 24
"""The lower bits of a word: the tokens; above them is their second."""
OPEN_INTERVAL = 1.0
"""Seconds between two attempts to open the file, such as in a full file system."""


class Budget:
    """The tokens of a host.

    Args:
        folder: the runtime directory; ``None``: the tokens are those of this process.
        claim: a function that returns the slot of this process.
        guard: the guard that reports internal failures.
        clock: a function that returns the monotonic seconds of the host.
    """

    def __init__(
        self,
        folder: Path | None,
        claim: Callable[[], int],
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = None if folder is None else folder / FILE_NAME
        self._claim = claim
        self._guard = guard
        self._clock = clock
        self._own = self._base = self._taken = 0
        self._open_at = 0.0
        self.forget()

    def take(self, limit: int) -> bool:
        """Take a token of this second, if fewer than a limit were taken. Never raises.

        Args:
            limit: the maximum number of tokens.
        """
        with self._lock:
            now = self._clock()
            base = int(now) << COUNT_BITS
            if base == self._base and self._taken >= limit:
                return False  # more can only have been taken since
            if self._identity is None and self._path is not None and now >= self._open_at:
                self._open_at = now + OPEN_INTERVAL
                with self._guard.at("budget"):
                    self._open(self._path)
            end = base + (1 << COUNT_BITS)
            words = self._words
            taken = sum([word - base for word in words.tolist() if base < word < end])
            is_left = taken < limit
            if is_left:
                own = words[self._own]  # of another second, or of another program
                words[self._own] = (own if base < own < end else base) + 1
            self._base, self._taken = base, taken + is_left
            return is_left

    def check(self) -> None:
        """Open the file again if it was removed."""
        with self._lock:
            if self._identity is not None and self._path is not None:
                try:
                    is_in_place = _identity(self._path.stat()) == self._identity
                except OSError:
                    is_in_place = False
                if not is_in_place:
                    self._close()

    def forget(self) -> None:
        """Close the file; the next token opens it. Call this in a forked child: it has another
        slot, and another thread of the parent may have held the lock."""
        self._lock = threading.RLock()
        self._close()

    def _close(self) -> None:
        self._identity: tuple[int, int] | None = None
        self._words = memoryview(bytearray(WORDS * 8)).cast("Q")
        self._own = self._base = self._taken = 0
        self._open_at = 0.0

    def _open(self, path: Path) -> None:
        own = self._claim() % WORDS
        file = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            give_to_owner(file, path.parent)
            reserve(file, WORDS * 8)
            self._words = memoryview(mmap.mmap(file, WORDS * 8)).cast("Q")
            self._own, self._identity = own, _identity(os.fstat(file))
        finally:
            os.close(file)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
