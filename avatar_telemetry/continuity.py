"""Since when each series counts, and what was sent of it: kept over all leaders of one run.

A collector tells a restart from a count that goes on by the start of a series. It is the last time
at which the series was surely not there yet: the read before the one that found it, or the start of
the run. Leaders come and go, so this is written into the runtime folder: with cumulative sums
only when a series is new, with increments (delta) after each push that arrived.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from avatar_telemetry.folder import started_at

FILE_NAME = "pushed.state"

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a series.

    Args:
        start: nanoseconds since the epoch.
        values: what it had counted by then (delta), or when last seen (cumulative): one number, or
            the buckets and the sum of a histogram.
    """

    start: int
    values: Numbers


@dataclass(slots=True)
class Continuity:
    """The memory of the leaders.

    Args:
        folder: the runtime folder.
        delta: whether increments are sent.
    """

    folder: Path
    delta: bool
    _marks: dict[str, Mark] = field(default_factory=dict)
    _read: int = 0
    _before: int = 0
    _changed: bool = False

    def load(self) -> None:
        """Take over what the leader before has left; without one the run starts here."""
        try:
            state = json.loads((self.folder / FILE_NAME).read_bytes())
            marks = {
                str(key): Mark(int(start), tuple(map(float, values)))
                for key, (start, *values) in state["series"].items()
            }
            self._read, self._marks = int(state["read"]), marks
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self._read, self._marks = started_at(self.folder), {}

    def next_due(self, interval: float) -> float:
        """Seconds until the next push, if the leader before has pushed."""
        try:
            ago = time.time() - (self.folder / FILE_NAME).stat().st_mtime
        except OSError:
            return 0.0
        return min(max(interval - ago, 0.0), interval)

    def reads(self, now: int) -> None:
        """The store is about to be read (nanoseconds since the epoch)."""
        self._before, self._read = self._read, now

    def mark(self, key: str, values: Numbers) -> Mark:
        """Since when a series counts, and from what, now that it stands at these values."""
        mark = self._marks.get(key)
        if mark is None or _went_back(mark.values, values):
            mark = Mark(self._before, (0.0,) * len(values))
            self._changed = True
            self._marks[key] = mark
        if not self.delta:
            self._marks[key] = Mark(mark.start, values)
        return mark

    def sent(self, values: Mapping[str, Numbers]) -> None:
        """These values have arrived.

        Raises:
            OSError: it cannot be written, so that they would be sent again by the next leader.
        """
        if self.delta:
            self._marks.update({key: Mark(self._read, each) for key, each in values.items()})
            self._changed = True
            self.save()

    def save(self) -> None:
        """At the end of a push: leave it to the next leader.

        Raises:
            OSError: it cannot be written.
        """
        if self._changed:
            series = {key: [mark.start, *mark.values] for key, mark in self._marks.items()}
            text = json.dumps({"read": self._read, "series": series})
            _replace(self.folder / FILE_NAME, text.encode())
            self._changed = False
        else:
            with suppress(OSError):
                os.utime(self.folder / FILE_NAME)


def _went_back(before: Numbers, now: Numbers) -> bool:
    """Whether a series began anew. The sum of a histogram, its last number, may go any way."""
    counts = max(1, len(now) - 1)
    return len(before) != len(now) or any(map(float.__lt__, now[:counts], before[:counts]))


def _replace(path: Path, data: bytes) -> None:
    """Write a file at once, so that a reader sees the old one or the new one."""
    new = path.with_suffix(".new")
    owner = path.parent.stat()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # A worker's thread may be early enough to do this as root, and no other worker, nor this
        # one later, could read it.
        if os.geteuid() == 0:
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        with open(descriptor, "wb", closefd=False) as file:
            file.write(data)
    finally:
        os.close(descriptor)
    os.replace(new, path)
