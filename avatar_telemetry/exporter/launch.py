"""Start the exporter of a host, check that it runs, and wait for its end.

Any process that finds none running, and so gets the lock of ``exporter.lock``, starts it. The
exporter inherits the descriptor with the lock, so that a second one can never start.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from avatar_telemetry._base.files import lock_own
from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry._base.native import original
from avatar_telemetry.config.destinations import exports
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.record import (
    FILE_NAME,
    Record,
    early_ends,
    has_ended,
    read_record,
    record_start,
    write_record,
)
from avatar_telemetry.exporter.rings import waiting_items
from avatar_telemetry.exporter.wake import wake
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, has_exporter

if TYPE_CHECKING:
    from prometheus_client.registry import Collector as ClientCollector

    from avatar_telemetry.exporter.service import Exporter

BOOTSTRAP = str(Path(__file__).with_name("bootstrap.py"))
DETACH = "detach"
CLOSED = -1
POLL = 0.01
MAX_STARTS = 3
"""Consecutive processes that may end early before a thread is used instead."""
MAX_END_STARTS = 2
"""Exporters that the master starts, one after the other, for the data at the end of the server."""
MAX_PAUSE = 60.0
"""The longest time between two starts of a process that ends early, in seconds."""
MAX_EXIT_WAIT = 0.5
"""Seconds that a worker waits at its exit for its exporter thread, where others continue."""
NO_PROCESS = (
    "the exporter cannot run as a process of its own (%s): it runs in a thread of this worker; set"
    " AVATAR_TELEMETRY_EXPORTER=thread to start it there"
)


def command(folder: str, lock: int, uid: int, gid: int, *options: str) -> list[str]:
    """Return the command line of the exporter, which ``ps`` shows.

    Args:
        folder: the runtime directory.
        lock: the descriptor of the lock that it inherits.
        uid: the user id that it changes to.
        gid: the group id that it changes to.
        options: ``detach`` where it is not detached yet.
    """
    ids = (str(lock), str(uid), str(gid))
    program = [sys.executable, "-I", "-S", BOOTSTRAP]
    return [*program, "avatar-telemetry", "exporter", folder, *ids, *options]


def spawn(folder: Path, lock: int, environ: dict[str, str], uid: int, gid: int) -> None:
    """Start the exporter's process with the lock; the caller closes its descriptor.

    Args:
        folder: the runtime directory.
        lock: the descriptor of the lock.
        environ: the environment of the process.
        uid: the user id of the workers.
        gid: the group id of the workers.

    Raises:
        OSError: no process can be started.
    """
    if not is_python(sys.executable):
        raise OSError(f"sys.executable is not a Python interpreter: {sys.executable!r}")
    os.set_inheritable(lock, True)
    arguments = command(str(folder), lock, uid, gid, DETACH)
    with _as_root():
        pid = original("os", "posix_spawn")(sys.executable, arguments, environ)
    # It forks and ends at once; without this it would be a zombie.
    try:
        _, status = original("os", "waitpid")(pid, 0)
    except ChildProcessError:
        return  # the application ignores SIGCHLD, or reaps all children itself
    if os.waitstatus_to_exitcode(status) != 0:
        raise OSError(f"{sys.executable} ended with status {os.waitstatus_to_exitcode(status)}")


def is_python(executable: str | None) -> bool:
    """Return whether ``sys.executable`` is Python; in uWSGI and mod_wsgi it is not."""
    name = os.path.basename(executable or "")
    return name.startswith(("python", "pypy"))


def has_threads() -> bool:
    """Return whether threads run beside requests; uWSGI needs an option for it."""
    options = getattr(sys.modules.get("uwsgi"), "opt", None)
    if options is None:
        return True
    given = {key.decode() if isinstance(key, bytes) else key: options[key] for key in options}
    chosen = [given[name] for name in ("enable-threads", "threads") if name in given]
    return any(value not in (False, b"false", b"0", "false", "0") for value in chosen)


class Supervisor:
    """The supervisor of the exporter, in a worker or the master.

    Args:
        folder: the runtime directory.
        settings: the settings of the exporter.
        record: the record for a new exporter.
        user: the user id and group id of the workers.
        guard: the guard that counts internal errors.
        registry: the metrics of this process alone, for an exporter in a thread.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        record: Record,
        user: tuple[int, int],
        guard: Guard,
        registry: ClientCollector | None = None,
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._record = record
        self._user = user
        self._guard = guard
        self._registry = registry
        self._in_thread = settings.exporter == "thread" or (
            settings.exporter == "auto" and not record.master
        )
        self._hosted: _Hosted | None = None
        self._record_seen_at = 0

    def start(self) -> None:
        """Write this process's record, and start an exporter if none runs. Never raises."""
        with self._guard.at("exporter"):
            write_record(self._folder, self._record)
            self.check()

    def log_debug(self) -> None:
        """Set the exporter's log level to DEBUG. Never raises."""
        with self._guard.at("exporter"):
            self._record = replace(self._record, debug=True)
            write_record(self._folder, self._record)

    def check(self) -> None:
        """Start an exporter if none runs; four system calls where one does.

        Raises:
            OSError: the directory is gone, or no process can be started.
            RuntimeError: no thread can be started.
        """
        self._replace_abandoned_record()
        if self._hosted is not None and self._hosted.is_alive():
            return
        lock = lock_own(self._folder / EXPORTER_LOCK)
        if lock is None:
            return
        is_hosted = False
        try:
            is_hosted = self._start(lock)
        finally:
            if not is_hosted:
                os.close(lock)

    def stop(self, deadline: float) -> None:
        """Stop the exporter that this process hosts, at its end.

        Args:
            deadline: the time of the monotonic clock, in seconds, until which remaining data is
                sent; in the past where another process starts the next exporter.
        """
        if self._hosted is not None:
            self._hosted.exporter.end_by(deadline)
            self._hosted.join(max(deadline - time.monotonic(), MAX_EXIT_WAIT))

    def finish(self, deadline: float) -> bool:
        """Wait in the master, after the end of all workers, until all data is sent.

        Args:
            deadline: the time of the monotonic clock, in seconds.

        Returns:
            False where the time was too short for everything.

        Raises:
            OSError: the directory is gone, or no exporter can be started.
        """
        is_needed = exports(self._settings)  # a reload may have switched it off
        record = read_record(self._folder) or self._record
        record = replace(record, ends_at=deadline if is_needed else time.monotonic())
        write_record(self._folder, record)
        wake(self._folder)
        lock_file, is_complete = self._folder / EXPORTER_LOCK, not is_needed
        for _ in range(MAX_END_STARTS):
            lock = lock_own(lock_file) if is_needed else None
            if lock is not None:
                self._end_with(lock, record, deadline)
            while has_exporter(self._folder):
                if time.monotonic() >= deadline:
                    return False
                time.sleep(POLL)
            is_complete = not is_needed or has_ended(lock_file)
            if is_complete:
                break  # otherwise it was killed
        # The exporter has the same deadline: after it, its end does not mean that it sent all.
        is_late = is_needed and time.monotonic() >= deadline
        return not ((is_late or not is_complete) and waiting_items(self._folder))

    def forget(self) -> None:
        """Close the parent's lock and port, and forget its thread, in a forked child."""
        if self._hosted is not None:
            with suppress(OSError):
                os.close(self._hosted.lock)
            self._hosted.exporter.forget()
            self._hosted = None

    def _end_with(self, lock: int, record: Record, deadline: float) -> None:
        """Start an exporter for the remaining data: a process, or a thread until the deadline."""
        hosted = None
        try:
            record_start(lock, 0)
            if self._settings.exporter == "process":
                spawn(self._folder, lock, dict(record.environ), *self._user)
            else:
                hosted = self._host(lock, record)
        finally:
            if hosted is None:
                os.close(lock)
        if hosted is not None:
            hosted.join(max(deadline - time.monotonic(), 0.0))

    def _replace_abandoned_record(self) -> None:
        """Write this process's record in place of that of an upgrade that was given up."""
        try:
            changed_at = os.stat(self._folder / FILE_NAME).st_mtime_ns
        except FileNotFoundError:
            return
        if changed_at != self._record_seen_at:
            self._record_seen_at = changed_at
            found = read_record(self._folder)
            if found is not None and not found.since and self._record.master == os.getppid():
                write_record(self._folder, self._record)

    def _start(self, lock: int) -> bool:
        """Start an exporter; return whether a thread of this process now has the lock."""
        if read_record(self._folder) is None:
            write_record(self._folder, self._record)
        starts, age = early_ends(lock)
        if not self._in_thread and age < min(2.0 ** (starts - 1) - 1.0, MAX_PAUSE):
            return False
        if not self._in_thread:
            try:
                if starts >= MAX_STARTS and self._settings.exporter == "auto":
                    raise OSError(f"{starts} processes have ended early; see the log")
                record_start(lock, starts + 1)
                spawn(self._folder, lock, dict(self._record.environ), *self._user)
                return False
            except OSError as error:
                if self._settings.exporter == "process":
                    raise
                LOGGER.warning(NO_PROCESS, error)
                self._in_thread = True
        record = read_record(self._folder)
        if record is not None and record.program != self._record.program:
            return False  # a worker with the new settings starts it
        self._hosted = self._host(lock, self._record)
        return True

    def _host(self, lock: int, record: Record) -> _Hosted:
        from avatar_telemetry.exporter.service import Exporter

        exporter = Exporter(self._folder, lock, self._settings, record, self._registry)
        hosted = _Hosted(exporter, lock)
        try:
            hosted.start()
        except BaseException:  # no thread can be started
            exporter.close()
            raise
        return hosted


class _Hosted(threading.Thread):
    """The exporter in a thread of this process; closes the descriptor of the lock at its end."""

    def __init__(self, exporter: Exporter, lock: int) -> None:
        super().__init__(name="avatar-telemetry-exporter", daemon=True)
        self.exporter = exporter
        self.lock = lock

    def run(self) -> None:
        try:
            self.exporter.run()
        finally:
            # Reset before the close, after which another file may have this number.
            lock, self.lock = self.lock, CLOSED
            os.close(lock)


@contextmanager
def _as_root() -> Iterator[None]:
    """Run a block as root where root's process acts as the workers' user, who may not be allowed
    to read the interpreter. The exporter drops its privileges itself."""
    user = os.geteuid()
    if os.getuid() != 0 or user == 0:
        yield
        return
    os.seteuid(0)
    try:
        yield
    finally:
        os.seteuid(user)
