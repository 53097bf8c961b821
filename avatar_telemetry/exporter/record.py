"""The record of a server for its exporter: settings, import path, processes that it serves.

It is a file in the runtime folder, so that every process starts an exporter with the newest record,
a worker from before a reload included. An exporter that finds a changed record starts again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from math import isfinite
from pathlib import Path

from avatar_telemetry._base.files import give_to_owner, open_own

FILE_NAME = "exporter.json"
PACKAGE = str(Path(__file__).resolve().parent.parent)
MAX_LENGTH = 1 << 20
MAX_EARLY_ENDS = 99
COUNT_WIDTH = 16
"""Bytes of the lock file, for the number of early ends."""
# The environment of the application holds secrets that are none of the exporter's.
PREFIXES = ("OTEL_", "AVATAR_TELEMETRY_", "GRPC_", "LC_")
NAMES = frozenset({
    "IVATAR_VERSION", "HOSTNAME", "PROMETHEUS_MULTIPROC_DIR",
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "NETRC",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
})  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The fields of the record, each of a type of JSON.

    Args:
        environ: the variables that the exporter reads.
        path: ``sys.path`` of the server.
        package: folder of this package.
        master: pid of gunicorn's master, 0 without one.
        listeners: inodes of the listening TCP sockets.
        since: seconds of the monotonic clock at which the process that wrote it started; 0.0 where
            its server has ended, so that any other takes its place.
        ends_at: seconds of the monotonic clock by which the exporter must have ended; 0.0 where
            the server goes on.
        debug: whether a worker logs at level DEBUG.
        wanted: whether there is anything to do for an exporter.
    """

    environ: Mapping[str, str]
    path: tuple[str, ...]
    package: str
    master: int
    listeners: tuple[int, ...]
    since: float
    ends_at: float = 0.0
    debug: bool = False
    wanted: bool = True

    @property
    def code(self) -> tuple[object, ...]:
        """Where the modules are imported from."""
        return self.path, self.package

    @property
    def program(self) -> tuple[object, ...]:
        """The part whose change makes another exporter necessary."""
        return dict(self.environ), self.path, self.package, self.wanted


def make_record(
    environ: Mapping[str, str], master: int = 0, listeners: Iterable[int] = (), since: float = 0.0
) -> Record:
    """Make the record of this process.

    Args:
        environ: such as ``os.environ``.
        master: see :class:`Record`.
        listeners: see :class:`Record`.
        since: see :class:`Record`; now, where it is 0.0.
    """
    taken = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIXES) or name.upper() in NAMES
    }
    path = tuple(os.path.abspath(each) for each in sys.path if isinstance(each, str))
    return Record(taken, path, PACKAGE, master, tuple(listeners), since or time.monotonic())


def read_record(folder: Path) -> Record | None:
    """Return the record of a runtime folder, ``None`` where there is none that can be read."""
    try:
        with open(open_own(folder / FILE_NAME, os.O_RDONLY), "rb") as file:
            values = json.loads(file.read(MAX_LENGTH))
        values |= {name: tuple(values[name]) for name in ("path", "listeners")}
        record = Record(**values)
        return record if _is_valid(record) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Leave a record, unless a process that started later has left one.

    Raises:
        OSError: it cannot be written.
    """
    found = read_record(folder)
    if found is not None and not found.ends_at:
        same = replace(record, since=found.since)
        if found.since > record.since or found == same:
            return
    _write(folder, record)


def give_up_record(folder: Path, record: Record) -> None:
    """Let the processes of another server of the folder leave theirs: the one of this record, an
    upgrade that was taken back, has ended.

    Raises:
        OSError: it cannot be written.
    """
    _write(folder, replace(record, since=0.0))


def _write(folder: Path, record: Record) -> None:
    new = folder / f"exporter-{os.getpid()}.new"
    new.unlink(missing_ok=True)
    try:
        with open(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            give_to_owner(file.fileno(), folder)
            file.write(json.dumps(asdict(record)).encode())
        os.replace(new, folder / FILE_NAME)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def early_ends(lock: int) -> tuple[int, float]:
    """Return how many exporters of a folder have ended early, one after the other, and the seconds
    since the last one was started.

    Args:
        lock: descriptor of the lock file, whose content is that number.
    """
    text = os.pread(lock, COUNT_WIDTH, 0).strip()
    age = time.time() - os.fstat(lock).st_mtime
    # A clock that was set back must not delay the next start by so much.
    return min(int(text) if text.isdigit() else 0, MAX_EARLY_ENDS), abs(age)


def note_start(lock: int, starts: int) -> None:
    """Note a start, or with 0 that the last one was a success.

    Once the file has its length this needs no space in the file system.
    """
    os.pwrite(lock, str(starts).ljust(COUNT_WIDTH).encode(), 0)


def _is_valid(record: Record) -> bool:
    """Return whether all values are of their types, and the record is not from the future: no
    other would take its place."""
    texts = (record.package, *record.path, *record.environ, *record.environ.values())
    numbers = (record.master, *record.listeners)
    times = (record.since, record.ends_at)
    return (
        all(type(each) is str for each in texts)
        and all(type(each) is int for each in numbers)
        and all(type(each) in (int, float) and isfinite(each) for each in times)
        and type(record.debug) is type(record.wanted) is bool
        and record.since <= time.monotonic()
    )
