"""The life of a process: its state, and the one place where it changes from one to the next.

A process has one :class:`Runtime`, :data:`RUNTIME`. gunicorn's hooks call it; without hooks it
starts at the first request, for this process alone or for those that share a directory.

===========  =============================================  ======================================
state        process                                        next state
===========  =============================================  ======================================
Unstarted    one in which nothing has started               ``on_starting``: Master or Disabled;
                                                            first request: LoneProcess
Master       gunicorn's master                              fork: Prepared
Prepared     a forked child that records nothing yet        ``post_fork``: Worker or Disabled;
                                                            first request: Worker or LoneProcess
Worker       a worker of gunicorn, or a child of one        fork: Prepared
LoneProcess  one that records without gunicorn's hooks      fork: Prepared
Disabled     one that must record nothing (any more)        none
===========  =============================================  ======================================

``worker_abort`` and ``worker_exit`` leave a process in its state; ``on_exit`` and the end of the
interpreter disable it. A reload changes only the settings of later workers. Where a start fails,
the process remains Prepared, and the next application that is called tries again.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import MutableMapping
from contextlib import AbstractContextManager

from prometheus_client import values

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.files import acting_as
from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER
from avatar_telemetry.config.destinations import check_exporters, exports, sends
from avatar_telemetry.config.settings import Settings, sdk_disabled, service_name
from avatar_telemetry.exporter.launch import has_threads
from avatar_telemetry.exporter.record import make_record, write_record
from avatar_telemetry.exporter.wake import make_pipe
from avatar_telemetry.logs.correlation import install_correlation
from avatar_telemetry.metrics.collector import Server
from avatar_telemetry.metrics.exposition import load_parser
from avatar_telemetry.metrics.folder import RuntimeDir, is_private_name, open_runtime_dir
from avatar_telemetry.metrics.mapped import Book, value_class
from avatar_telemetry.metrics.slot_files import SlotFiles
from avatar_telemetry.metrics.slots import make_exporter_lock
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime import startup
from avatar_telemetry.runtime.states import (
    API_METRICS,
    MASTER_IDENTIFIER,
    Disabled,
    Master,
    Prepared,
    State,
    Unstarted,
    Worker,
)
from avatar_telemetry.wsgi.greenlets import SERVING
from avatar_telemetry.wsgi.middleware import Layer

FOLDER = "PROMETHEUS_MULTIPROC_DIR"
WAS_OFF = "nothing is recorded: OTEL_SDK_DISABLED was true when the server started; restart it"
NOT_PREPARED = (
    "nothing is recorded: the hook on_starting did not run; import it in gunicorn's configuration,"
    " or call it from a hook of your own"
)
NO_THREADS = (
    "nothing can be exported: uWSGI runs without threads; start it with --enable-threads, or set"
    " OTEL_EXPORT_ENABLED=false"
)


class Runtime:
    """The telemetry of one process, in all its states and in its forked children.

    Args:
        environ: the environment with the settings.

    Attributes:
        book: the values of all metrics.
        declared: the profile of each wrapped application, ``None`` for that of the settings.
        layers: the states of the middleware of those that were called.
        state: the present state.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self.environ = environ
        self.guard = Guard()
        self.book = Book(lambda: self.guard.failed("store"))
        self.declared: list[Profile | None] = []
        self.layers: list[Layer] = []
        self.state: State = Unstarted(self, 0)
        self._locks: dict[int, AbstractContextManager[object]] = {}

    def manage(self) -> None:
        """Prepare a process that gunicorn's hooks control.

        The application's own prometheus_client metrics, which may be created before any worker
        (``preload_app``), are stored in our book. prometheus_client chooses the class of its values
        when a metric is created, so this has to run before the application is imported.
        """
        self.become(Unstarted(self, os.getpid()))
        if "GUNICORN_PID" in self.environ and is_private_name(self.environ.get(FOLDER, "")):
            # After a reload (HUP) an upgrade (USR2) inherits the variable that the old master has
            # set for itself. It is no setting: the folder is found by its record.
            del self.environ[FOLDER]
            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        # Even with the SDK disabled: a format that names the fields is gunicorn's configuration,
        # and must not fail for a switch, nor in the master.
        install_correlation(service_name(self.environ))
        if not sdk_disabled(self.environ):
            values.ValueClass = value_class(self.book)

    def prepare(self, upgrades: int, uid: int, gid: int) -> None:
        """Check everything that can be checked before a worker starts, and become the master.

        Args:
            upgrades: the pid of the master that this one replaces (USR2), else 0.
            uid: the user id of the workers.
            gid: the group id of the workers.

        Raises:
            SettingsError: the server must not start.
        """
        if sdk_disabled(self.environ):
            self.become(Disabled(self, os.getpid()))
            LOGGER.info("avatar_telemetry: off (OTEL_SDK_DISABLED=true)")
            return
        settings, faults = Settings.read(self.environ)
        faults += startup.faults_of(
            lambda: startup.check_profile(settings.profile),
            lambda: check_exporters(settings),
            lambda: None if upgrades else startup.check_endpoint(settings),
        )
        startup.warn_of(settings, self.environ)
        if faults:
            with acting_as(uid, gid):
                faults += startup.faults_of(
                    lambda: startup.check_folder(settings.multiproc_dir, upgrades)
                )
            raise SettingsError(*faults)
        folder = self.open_folder(settings.multiproc_dir, upgrades, uid, gid)
        # Functions of prometheus_client need it, in the user's own hooks, too.
        self.environ[FOLDER] = str(folder.path)
        record, files = make_record(self.environ), SlotFiles(folder, self.book, self.guard)
        self.become(Master(self, os.getpid(), folder, settings, record, files))
        with acting_as(uid, gid):
            startup.check_writable(folder.path)
            startup.check_space(folder.path, settings)
            startup.warn_of_interpreter(settings)
            make_exporter_lock(folder.path)
            make_pipe(folder.path)
        self.book.open(folder.path, MASTER_IDENTIFIER)
        startup.log_started(settings)
        # Its workers share what they would import one by one.
        load_parser()
        _load_recording(settings)
        _load_meters()

    def start_worker(self, server: Server, uid: int, gid: int, *, workers: int = 1) -> None:
        """Become a worker after the fork: slot, probes, exporter if none runs. Never raises.

        Args:
            server: the gunicorn that this process is a worker of.
            uid: the user that it will run as.
            gid: its group.
            workers: how many there are: with several, the exporter merges the metrics page.
        """
        started_at, before = time.monotonic(), self.state
        self.book.renew_lock()  # the slot is taken here, not when something is first recorded
        if not isinstance(before, Prepared) or sdk_disabled(self.environ):
            self._disable(before, uid, gid)
            return
        settings, environ = before.read_settings()
        record = make_record(environ, server.master, server.listeners, started_at)
        files = before.files.of_child(worker=True)  # without a slot that another hook has taken
        prepared = Prepared(
            self, before.hooks_pid, before.folder, settings, record, files, workers > 1
        )
        self.become(prepared)
        with self.guard.at("start"):
            _load_recording(settings)  # while it can be read
            _load_meters()
        with self.guard.at("start"), acting_as(uid, gid):
            self.become(prepared.start())

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        """Return the state of the middleware in this process, which starts if nothing has started
        it. Never raises.

        Args:
            settings: instead of those of the environment, for the metrics page and the labels.
            profile: instead of the one that the settings name.
        """
        # Each process makes its own with its first request: by then gevent has patched threading.
        # A lock from before stops all greenlets where its holder waits, say for an import.
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            with self.guard.at("start"):
                self.become(self.state.start(settings))
            layer = self.state.layer(settings, profile)
            self.layers.append(layer)
            return layer

    def release(self) -> None:
        """Leave the runtime directory, which the last server that uses it removes."""
        before = self.state
        self.become(Disabled(self, before.hooks_pid))
        before.release()

    def check(self) -> None:
        """Check the settings when the application is wrapped, unless a hook has checked them.

        Raises:
            SettingsError: they cannot be used.
        """
        if self.state.hooks_pid:
            return
        settings, faults = Settings.read(self.environ)
        faults += startup.faults_of(
            lambda: startup.load_profile(settings.profile), lambda: check_exporters(settings)
        )
        startup.warn_of(settings, self.environ)
        if faults:
            raise SettingsError(*faults)
        if sends(settings) and not has_threads():
            LOGGER.warning(NO_THREADS)
        _load_recording(settings)  # not with the first request, which would wait for it

    def declare(self, profile: Profile | None) -> None:
        """Register a wrapped application, and its profile, whose probes the worker installs."""
        self.declared.append(profile)
        if profile is not None and isinstance(self.state, Worker):
            with self.guard.at("profile"):
                self.state.install(profile)

    def become(self, state: State) -> None:
        """Change to another state, in which the wrapped applications get other layers."""
        if state is not self.state:
            for layer in self.layers:
                layer.stale = True
            self.layers.clear()
            self.state = state

    def open_folder(
        self, named: str, upgrades: int, uid: int, gid: int, *, shared: bool = False
    ) -> RuntimeDir:
        """Open the runtime directory, and prepare for forks and for the end of the process; see
        :func:`~avatar_telemetry.metrics.folder.open_runtime_dir`."""
        folder = open_runtime_dir(named, upgrades, uid, gid, shared=shared)
        atexit.register(self.release)  # on_exit does not come where the start itself fails
        os.register_at_fork(after_in_child=self._after_fork)
        return folder

    def _disable(self, before: State, uid: int, gid: int) -> None:
        """Become a worker that records nothing."""
        self.become(Disabled(self, before.hooks_pid))
        self.book.detach()  # from the files of a master that started with the telemetry on
        if isinstance(before, Prepared):
            with self.guard.at("exporter"), acting_as(uid, gid):
                write_record(before.folder.path, make_record(self.environ))
        elif not sdk_disabled(self.environ):
            LOGGER.warning(WAS_OFF if isinstance(before, Disabled) else NOT_PREPARED)

    def _after_fork(self) -> None:
        """Become a forked child, without the slot of the parent or the files of the master.

        The parent's request is not counted by the child. Its own counts go into a slot of its own,
        claimed at the first of them: most children are about to execute a program.
        """
        self.guard.count = lambda where: None
        self.book.renew_lock()
        self.book.detach()
        SERVING.clear()
        self.become(self.state.fork())


def _load_recording(settings: Settings) -> None:
    """Import what records spans and log records, if they are exported, and find the propagators,
    which reads the metadata of all installed distributions. The environment is corrected before."""
    if exports(settings):
        from opentelemetry import propagate  # noqa: F401

        from avatar_telemetry.runtime import recording  # noqa: F401
        from avatar_telemetry.tracing.incoming import make_propagator

        make_propagator(settings.propagators)


def _load_meters() -> None:
    """Import the module that records metrics of the OpenTelemetry API, if the API is imported."""
    if API_METRICS in sys.modules:
        from avatar_telemetry.metrics import api_meters  # noqa: F401


RUNTIME = Runtime(os.environ)
