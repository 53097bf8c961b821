"""Start the exporter of a host, see that it lives, and wait for its end.

Nobody is its parent: it is started by the process that notices that there is none, which is the one
that gets the lock of ``exporter.lock``. The exporter inherits the descriptor, and with it the lock,
so that there is no moment in which a second one could start.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from prometheus_client.registry import Collector as ClientCollector

from avatar_telemetry.config.destinations import exports, sends
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter import bootstrap
from avatar_telemetry.exporter.record import Record, end_by, read_record, write_record
from avatar_telemetry.exporter.wake import wake
from avatar_telemetry.guard import Guard
from avatar_telemetry.log import LOGGER
from avatar_telemetry.store.files import lock_own
from avatar_telemetry.store.folder import read_since
from avatar_telemetry.store.slots import EXPORTER_LOCK

POLL = 0.01
NO_PROCESS = (
    "the exporter cannot run as a process of its own (%s): it runs in a thread of this worker"
    " (AVATAR_TELEMETRY_EXPORTER=thread says so without trying)"
)


def command(folder: str, lock: int, uid: int, gid: int, *options: str) -> list[str]:
    """Return the command line of the exporter; ``ps`` shows it.

    Args:
        folder: the runtime folder.
        lock: descriptor of the lock that it inherits.
        uid: user that it becomes.
        gid: group that it becomes.
        options: ``detach`` where it is not detached yet.
    """
    ids = (str(lock), str(uid), str(gid))
    program = [sys.executable, "-I", "-S", bootstrap.__file__]
    return [*program, "avatar-telemetry", "exporter", folder, *ids, *options]


def spawn(folder: Path, lock: int, environ: dict[str, str], uid: int, gid: int) -> None:
    """Start the exporter's process, which takes the lock over; the caller closes its descriptor.

    Args:
        folder: the runtime folder.
        lock: descriptor of the lock.
        environ: the environment of the process.
        uid: the workers' user.
        gid: their group.

    Raises:
        OSError: no process can be started.
    """
    if not is_python(sys.executable):
        raise OSError(f"sys.executable is no Python: {sys.executable!r}")
    os.set_inheritable(lock, True)
    arguments = command(str(folder), lock, uid, gid, bootstrap.DETACH)
    pid = _original("posix_spawn")(sys.executable, arguments, environ)
    # It forks and ends: no zombie is left, and gunicorn's master has no child that it does not know.
    _, status = _original("waitpid")(pid, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise OSError(f"{sys.executable} ended with status {os.waitstatus_to_exitcode(status)}")


def is_python(executable: str | None) -> bool:
    """Return whether ``sys.executable`` can be started as Python: not in uWSGI or mod_wsgi."""
    name = os.path.basename(executable or "")
    return name.startswith(("python", "pypy")) and os.access(executable or "", os.X_OK)


class Supervisor:
    """Keeps an exporter running, from a process that records.

    Args:
        folder: the runtime folder.
        settings: say how it runs and what it does.
        record: what it is given.
        user: the workers' user and group.
        guard: counts failures of ours.
        registry: metrics of this process alone, for an exporter in a thread.
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

    def start(self) -> None:
        """Leave the record of this process, and start an exporter if there is none. Never raises."""
        with self._guard.at("exporter"):
            write_record(self._folder, self._record)
            self.check()

    def check(self) -> None:
        """Start an exporter if there is none: three system calls where there is one.

        Raises:
            OSError: the folder is gone, or nothing can be started.
        """
        if self._hosted is not None and self._hosted.is_alive():
            return
        lock = lock_own(self._folder / EXPORTER_LOCK)
        if lock is None:
            return
        try:
            self._start(lock)
        finally:
            if self._hosted is None or self._hosted.lock != lock:
                os.close(lock)

    def stop(self, deadline: float, *, last: bool) -> None:
        """In a process that ends: stop an exporter that it hosts.

        Args:
            deadline: seconds of the monotonic clock.
            last: whether no other process goes on, so that what is left is sent now.
        """
        if self._hosted is not None:
            self._hosted.stop(deadline if last else 0.0)

    def forget(self) -> None:
        """In a forked child: the thread is the parent's, and so is the lock."""
        if self._hosted is not None:
            with suppress(OSError):
                os.close(self._hosted.lock)
            self._hosted = None

    def _start(self, lock: int) -> None:
        if read_record(self._folder) is None:
            write_record(self._folder, self._record)
        if not self._in_thread:
            try:
                spawn(self._folder, lock, dict(self._record.environ), *self._user)
                return
            except OSError as error:
                if self._settings.exporter == "process":
                    raise
                LOGGER.warning(NO_PROCESS, error)
                self._in_thread = True
        record = read_record(self._folder)
        if record is not None and record.program != self._record.program:
            return  # a worker of the settings of now does it
        self._hosted = _Hosted(self._folder, lock, self._settings, self._record, self._registry)
        self._hosted.start()


class _Hosted(threading.Thread):
    """The exporter in a thread of this process."""

    def __init__(
        self,
        folder: Path,
        lock: int,
        settings: Settings,
        record: Record,
        registry: ClientCollector | None,
    ) -> None:
        from avatar_telemetry.exporter.service import Exporter

        super().__init__(name="avatar-telemetry-exporter", daemon=True)
        self.lock = lock
        self._exporter = Exporter(folder, lock, settings, record, begun(folder), registry)

    def run(self) -> None:
        try:
            self._exporter.run()
        finally:
            os.close(self.lock)

    def stop(self, deadline: float) -> None:
        self._exporter.end(deadline)
        self.join(max(deadline - time.monotonic(), 0.0))


def wait_for_end(folder: Path, deadline: float) -> bool:
    """At the end of the server: let the exporter send what is left, and wait for its end.

    Args:
        folder: the runtime folder.
        deadline: seconds of the monotonic clock.

    Returns:
        Whether it has ended.

    Raises:
        OSError: the folder is gone.
    """
    end_by(folder, deadline)
    wake(folder)
    while time.monotonic() < deadline:
        lock = lock_own(folder / EXPORTER_LOCK)
        if lock is not None:
            os.close(lock)
            return True
        time.sleep(POLL)
    return False


def _original(name: str) -> Callable[..., Any]:
    """Return a function of ``os`` as it was before gevent patched it, which would need its loop."""
    monkey = sys.modules.get("gevent.monkey")
    function: Callable[..., Any] = (
        monkey.get_original("os", name) if monkey is not None else getattr(os, name)
    )
    return function
