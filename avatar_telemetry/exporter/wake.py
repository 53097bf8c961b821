"""Wake the exporter: a named pipe in the runtime folder, into which a writer puts one byte."""

from __future__ import annotations

import os
import select
import stat
from contextlib import suppress
from pathlib import Path

FILE_NAME = "exporter.wake"
NONE = -1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW


class Wakeup:
    """The reading end.

    Args:
        folder: the runtime folder.

    Raises:
        OSError: the pipe cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        make_pipe(folder)
        # For writing, too: without a writer every wait would end at once.
        self._pipe = _open_pipe(folder, os.O_RDWR)

    def wait(self, timeout: float) -> bool:
        """Wait so many seconds; return whether someone woke this one before."""
        poll = select.poll()
        poll.register(self._pipe, select.POLLIN)
        if not poll.poll(timeout * 1000):
            return False
        with suppress(BlockingIOError):
            os.read(self._pipe, 65_536)
        return True

    def close(self) -> None:
        """Close the pipe."""
        os.close(self._pipe)


class Waker:
    """The writing end, of a process that records.

    Args:
        folder: the runtime folder.
    """

    def __init__(self, folder: Path) -> None:
        self._pipe = NONE
        self.open(folder)

    def open(self, folder: Path) -> None:
        """Open the pipe anew, where the runtime folder was built anew."""
        self.close()
        with suppress(OSError):  # then the exporter comes by itself, only later
            make_pipe(folder)
            self._pipe = _open_pipe(folder, os.O_RDWR)

    def __call__(self) -> None:
        """Wake the exporter. Never waits, never raises."""
        with suppress(OSError):  # full: it will wake
            os.write(self._pipe, b"\0")

    def close(self) -> None:
        """Close the pipe."""
        if self._pipe != NONE:
            os.close(self._pipe)
            self._pipe = NONE


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


def _open_pipe(folder: Path, flags: int) -> int:
    descriptor = os.open(folder / FILE_NAME, flags | _FLAGS)
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("not a pipe")
    return descriptor
