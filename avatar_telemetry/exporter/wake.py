"""Wake the exporter: a named pipe in the runtime folder, into which a writer puts one byte."""

from __future__ import annotations

import os
import select
import stat
import time
from contextlib import suppress
from pathlib import Path

FILE_NAME = "exporter.wake"
NONE = -1
_FLAGS = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class Wakeup:
    """The reading end. Where something else has the name of the pipe, every wait takes its time.

    Args:
        folder: the runtime folder.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = _open_or_none(folder)

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds; return whether a writer ended the wait before."""
        if self._pipe == NONE:
            time.sleep(timeout)
            return False
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return False
        with suppress(BlockingIOError):
            os.read(self._pipe, 65_536)
        return True

    def close(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, NONE
        if pipe != NONE:
            os.close(pipe)


class Waker:
    """The writing end, of a process that records.

    Args:
        folder: the runtime folder.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = NONE
        self.open(folder)

    def open(self, folder: Path) -> None:
        """Open the pipe again, where the runtime folder was built anew."""
        pipe = _open_or_none(folder)
        if self._pipe == NONE or pipe == NONE:
            self._pipe = max(self._pipe, pipe)
        else:
            # Under the same number: another thread may be writing, and must not hit another file.
            os.dup2(pipe, self._pipe, inheritable=False)
            os.close(pipe)

    def __call__(self) -> None:
        """Wake the exporter. Never waits, never raises."""
        with suppress(OSError):  # full, so that the exporter wakes anyway
            os.write(self._pipe, b"\0")

    def close(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, NONE
        if pipe != NONE:
            os.close(pipe)


def wake(folder: Path) -> None:
    """Wake the exporter of a folder once."""
    waker = Waker(folder)
    waker()
    waker.close()


def make_pipe(folder: Path) -> None:
    """Make the pipe, to be done as the user that the workers run as.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(FileExistsError):
        os.mkfifo(folder / FILE_NAME, 0o600)


def _open_or_none(folder: Path) -> int:
    """Open the pipe for both ends: without a writer every wait would end at once."""
    try:
        make_pipe(folder)
        descriptor = os.open(folder / FILE_NAME, _FLAGS)
    except OSError:
        return NONE
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return NONE
    return descriptor
