"""The record of a server for its exporter: settings, import path, and the server's processes.

It is a file in the runtime directory: every process, including a worker from before a reload,
starts an exporter with the newest record. An exporter restarts when the record has changed.
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
"""Bytes of the number of early ends in the lock file."""
ENDED = "ended"
"""The content of the lock file after the complete end of an exporter, in place of a number."""
# The environment of the application has secrets that the exporter does not need.
PREFIXES = ("OTEL_", "AVATAR_TELEMETRY_", "GRPC_", "LC_")
NAMES = frozenset({
    "IVATAR_VERSION", "HOSTNAME", "PROMETHEUS_MULTIPROC_DIR",
    "PATH", "HOME", "LANG", "TZ", "TMPDIR", "NETRC",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
})  # fmt: skip


@dataclass(frozen=True)
class Record:
    """The fields of the record, each of a JSON type.

    Args:
        environ: the variables that the exporter reads.
        path: the ``sys.path`` of the server.
        package: the directory of this package.
        master: the pid of gunicorn's master, 0 without one.
        listeners: the inodes of the listening TCP sockets.
        since: the start of the writing process by the monotonic clock, in seconds; 0.0 where its
            server has ended, so that any other record replaces it.
        ends_at: the deadline for the end of the exporter by the monotonic clock, in seconds; 0.0
            while the server runs.
        debug: true where a worker logs at level DEBUG.
        wanted: true where an exporter has anything to do.
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
        """The paths that modules are imported from."""
        return self.path, self.package

    @property
    def program(self) -> tuple[object, ...]:
        """The fields whose change requires a restart of the exporter."""
        return dict(self.environ), self.path, self.package, self.wanted


def make_record(
    environ: Mapping[str, str], master: int = 0, listeners: Iterable[int] = (), since: float = 0.0
) -> Record:
    """Make the record of this process.

    Args:
        environ: the environment, such as ``os.environ``.
        master: the pid of the master; see :class:`Record`.
        listeners: the inodes of the sockets; see :class:`Record`.
        since: the start; see :class:`Record`; 0.0 for now.
    """
    taken = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIXES) or name.upper() in NAMES
    }
    path = tuple(os.path.abspath(each) for each in sys.path if isinstance(each, str))
    return Record(taken, path, PACKAGE, master, tuple(listeners), since or time.monotonic())


def read_record(folder: Path) -> Record | None:
    """Return the record of a runtime directory, ``None`` where it is missing or unreadable."""
    try:
        with open(open_own(folder / FILE_NAME, os.O_RDONLY), "rb") as file:
            values = json.loads(file.read(MAX_LENGTH))
        values |= {name: tuple(values[name]) for name in ("path", "listeners")}
        record = Record(**values)
        return record if _is_valid(record) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Write a record, unless a process that started later has written one.

    Raises:
        OSError: the record cannot be written.
    """
    found = read_record(folder)
    if found is not None and not found.ends_at:
        same = replace(record, since=found.since)
        if found.since > record.since or found == same:
            return
    _write(folder, record)


def abandon_record(folder: Path, record: Record) -> None:
    """Mark a record as abandoned, so that another server of the directory replaces it: the server
    of the record, an upgrade that was given up, has ended.

    Raises:
        OSError: the record cannot be written.
    """
    _write(folder, replace(record, since=0.0))


def _write(folder: Path, record: Record) -> None:
    draft = folder / f"exporter-{os.getpid()}.new"
    draft.unlink(missing_ok=True)
    try:
        with open(open_own(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            give_to_owner(file.fileno(), folder)
            file.write(json.dumps(asdict(record)).encode())
        os.replace(draft, folder / FILE_NAME)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise


def early_ends(lock: int) -> tuple[int, float]:
    """Return the number of consecutive exporters that have ended early, and the seconds since the
    last start.

    Args:
        lock: the descriptor of the lock file, whose content is that number.
    """
    text = os.pread(lock, COUNT_WIDTH, 0).strip()
    age = time.time() - os.fstat(lock).st_mtime
    # A clock that was set back must not delay the next start.
    return min(int(text) if text.isdigit() else 0, MAX_EARLY_ENDS), abs(age)


def record_start(lock: int, starts: int) -> None:
    """Record a start, or with 0 the success of the last one.

    The length of the file is constant: this needs no space in the file system.
    """
    os.pwrite(lock, str(starts).ljust(COUNT_WIDTH).encode(), 0)


def record_end(lock: int) -> None:
    """Record that an exporter has sent what it could: it was not killed."""
    os.pwrite(lock, ENDED.ljust(COUNT_WIDTH).encode(), 0)


def has_ended(lock_file: Path) -> bool:
    """Return whether the last exporter ended completely; see :func:`record_end`.

    Raises:
        OSError: the lock file is gone.
    """
    with open(open_own(lock_file, os.O_RDONLY), encoding="ascii", errors="replace") as file:
        return file.read(COUNT_WIDTH).strip() == ENDED


def _is_valid(record: Record) -> bool:
    """Return whether all values have their types, and the record is not from the future: no other
    record would replace it."""
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
