"""Wake the exporter: a named pipe in the runtime directory, into which a writer puts one byte."""

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
    """The reading end. Without a pipe, every wait takes its whole timeout.

    Args:
        folder: the runtime directory.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = _open_or_none(folder)

    def wait(self, timeout: float) -> bool:
        """Wait for a timeout in seconds; return whether a writer ended the wait."""
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
    """The writing end, in a process that records.

    Args:
        folder: the runtime directory.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = NONE
        self.open(folder)

    def open(self, folder: Path) -> None:
        """Open the pipe again, after the runtime directory was made again."""
        pipe = _open_or_none(folder)
        if self._pipe == NONE or pipe == NONE:
            self._pipe = max(self._pipe, pipe)
        else:
            # With the same number: a thread that writes now must not write into another file.
            os.dup2(pipe, self._pipe, inheritable=False)
            os.close(pipe)

    def __call__(self) -> None:
        """Wake the exporter. Never waits, never raises."""
        with suppress(OSError):  # a full pipe wakes the exporter, too
            os.write(self._pipe, b"\0")

    def close(self) -> None:
        """Close the pipe."""
        pipe, self._pipe = self._pipe, NONE
        if pipe != NONE:
            os.close(pipe)


def wake(folder: Path) -> None:
    """Wake the exporter of a runtime directory once."""
    waker = Waker(folder)
    waker()
    waker.close()


def make_pipe(folder: Path) -> None:
    """Make the pipe; call it as the workers' user.

    Raises:
        OSError: the pipe cannot be made.
    """
    with suppress(FileExistsError):
        os.mkfifo(folder / FILE_NAME, 0o600)


def _open_or_none(folder: Path) -> int:
    """Open the pipe for reading and writing: without a writer every wait would end at once."""
    try:
        make_pipe(folder)
        descriptor = os.open(folder / FILE_NAME, _FLAGS)
    except OSError:
        return NONE
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return NONE
    return descriptor
