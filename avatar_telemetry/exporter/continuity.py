"""The start and the sent values of each series, kept over all exporters of one run.

A collector distinguishes a restart from a continued count by the start of a series. It is the last
time at which the series certainly did not exist: the read before the one that found it, or the
start of the run. An exporter may be replaced at any time, so the state is in the runtime directory:
cumulative sums are written when a series is new, increments (delta) as soon as they have arrived.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from operator import lt
from pathlib import Path

from avatar_telemetry._base.files import open_own
from avatar_telemetry._base.log import LOGGER

FILE_NAME = "pushed.state"
MAX_LINE_SERIES = 500
"""Series on one line of the file: encoding a line holds the interpreter's lock."""
MAX_GROWTH = 1 << 20
"""Bytes by which the file may grow, whatever its size, before it is rewritten."""

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """The start of a series and its values.

    Args:
        start: the start, in nanoseconds since the epoch.
        values: the values at the start of the next increment (delta) or at the last read
            (cumulative): one number, or the buckets and the sum of a histogram.
    """

    start: int
    values: Numbers


class Continuity:
    """The state of the pushes, which one exporter passes to the next.

    Changes are appended to the file, one JSON object per line; a large file is rewritten.

    Args:
        folder: the runtime directory.
        since: the start of the run, in nanoseconds since the epoch.
        delta: true where increments are sent.
    """

    def __init__(self, folder: Path, since: int, *, delta: bool) -> None:
        self.delta = delta
        self._path = folder / FILE_NAME
        self._marks: dict[str, Mark] = {}
        self._unsaved: dict[str, Mark] = {}
        self._read = since
        self._before = 0
        self._pushed_at: float | None = None
        self._size = self._size_after_rewrite = 0

    def load(self) -> None:
        """Read the state of the previous exporter, if there was one.

        Raises:
            OSError: the directory is gone or cannot be written.
        """
        with suppress(FileNotFoundError), open(open_own(self._path, os.O_RDONLY), "rb") as file:
            self._pushed_at = os.fstat(file.fileno()).st_mtime
            for line in file:
                self._read_line(line)
        self._rewrite()

    def next_due(self, interval: float) -> float:
        """Return the seconds until the next push, an interval after the previous exporter's."""
        if self._pushed_at is None:
            return 0.0
        return min(max(interval - (time.time() - self._pushed_at), 0.0), interval)

    def reads(self, now: int) -> None:
        """Record the time of a read of the store, in nanoseconds since the epoch."""
        if now < self._read:
            LOGGER.warning(
                "the clock was set back by %.0f s: until it reaches its earlier time, new series"
                " are sent with the time of the push as their start", (self._read - now) / 1e9,
            )  # fmt: skip
        self._before, self._read = self._read, now

    def mark(self, key: str, values: Numbers) -> Mark:
        """Return the start of a series with its present values."""
        mark = self._marks.get(key)
        if mark is None or _was_reset(mark.values, values):
            mark = self._unsaved[key] = Mark(self._before, (0.0,) * len(values))
            self._marks[key] = mark
        if not self.delta:
            self._marks[key] = Mark(mark.start, values)
        return mark

    def sent(self, values: Mapping[str, Numbers]) -> None:
        """Record values that have arrived.

        Raises:
            OSError: the state cannot be written, and the next exporter would send them again.
        """
        if self.delta:
            marks = {key: Mark(self._read, each) for key, each in values.items()}
            self._marks |= marks
            self._unsaved |= marks
            self._append()

    def save(self) -> None:
        """Write the state at the end of a push, for the next exporter.

        Raises:
            OSError: the state cannot be written.
        """
        self._append()
        if self._size > MAX_GROWTH + 4 * self._size_after_rewrite:
            self._rewrite()
        try:
            os.utime(self._path, follow_symlinks=False)
        except FileNotFoundError:  # the directory was removed and made again
            self._rewrite()

    def _read_line(self, line: bytes) -> None:
        """Read a line, unless it is incomplete because its writer was killed."""
        with suppress(
            ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError
        ):
            state = json.loads(line)
            marks = {
                str(key): Mark(int(start), tuple(map(float, values)))
                for key, (start, *values) in state["series"].items()
            }
            self._read = int(state["read"])
            self._marks |= marks

    def _lines(self, marks: Mapping[str, Mark]) -> Iterator[bytes]:
        items = iter(marks.items())
        while some := list(islice(items, MAX_LINE_SERIES)):
            series = {key: [mark.start, *mark.values] for key, mark in some}
            yield json.dumps({"read": self._read, "series": series}).encode() + b"\n"

    def _append(self) -> None:
        if self._unsaved:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            with open(open_own(self._path, flags), "ab", buffering=0) as file:
                for line in self._lines(self._unsaved):
                    self._size += file.write(line)
            self._unsaved = {}

    def _rewrite(self) -> None:
        """Replace the file atomically."""
        draft = self._path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(open_own(draft, flags), "wb") as file:
            file.writelines(self._lines(self._marks))
            self._size = self._size_after_rewrite = file.tell()
        os.replace(draft, self._path)


def _was_reset(before: Numbers, now: Numbers) -> bool:
    """Return whether a series was reset; the sum of a histogram, its last number, may decrease."""
    counts = max(1, len(now) - 1)
    return len(before) != len(now) or any(map(lt, now[:counts], before[:counts]))
