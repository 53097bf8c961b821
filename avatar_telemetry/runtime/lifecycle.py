"""The life of a process: checks in the master, the start and the end of a worker, forks.

A process has one :class:`Runtime`, :data:`RUNTIME`. gunicorn's hooks call it; without hooks it
starts at the first request, for this process alone or for those that share a directory.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import values

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.files import open_own
from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import LOGGER, debugging
from avatar_telemetry.config.destinations import (
    check_exporters,
    exports,
    log_configured,
    sends,
)
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings, sdk_disabled, service_name
from avatar_telemetry.exporter.launch import Supervisor, has_threads
from avatar_telemetry.exporter.page import RelayedPage
from avatar_telemetry.exporter.record import Record, make_record, read_record, write_record
from avatar_telemetry.exporter.wake import make_pipe
from avatar_telemetry.logs.correlation import install_correlation
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.exposition import MetricsPage, load_parser
from avatar_telemetry.metrics.family import Family
from avatar_telemetry.metrics.folder import (
    ONCE,
    RuntimeDir,
    is_private_name,
    living_masters,
    open_runtime_dir,
)
from avatar_telemetry.metrics.mapped import Book, value_class
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.metrics.registered import warn_of_absent
from avatar_telemetry.metrics.slots import (
    Slot,
    claim_again,
    claim_slot,
    clear_dead_gauges,
    make_exporter_lock,
    remove_live_gauges,
)
from avatar_telemetry.probes import POLICY, install_probes
from avatar_telemetry.probes.patching import when_imported
from avatar_telemetry.profiles.generic import PROFILE as GENERIC
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import (
    acting_as,
    check_endpoint,
    check_folder,
    check_profile,
    check_space,
    check_writable,
    correct_environment,
    faults_of,
    load_profile,
    log_started,
    warn_of_ignored,
    warn_of_interpreter,
    warn_of_typos,
)
from avatar_telemetry.wsgi.greenlets import SERVING
from avatar_telemetry.wsgi.middleware import Layer, build_layer
from avatar_telemetry.wsgi.slow_requests import SlowRequests, record_abort
from avatar_telemetry.wsgi.telemetry import Telemetry
from avatar_telemetry.wsgi.worker import WORKER

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from _typeshed.wsgi import WSGIApplication

    from avatar_telemetry.metrics.api_meters import StoredMeterProvider
    from avatar_telemetry.runtime.recording import Recording

API_METRICS = "opentelemetry.metrics"
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
RENEW_TIMES_INTERVAL = 3600.0
"""Seconds between two renewals of the modification times, which cleaners look at."""
DIRECTORY_REMOVED = (
    "the runtime directory %s was removed while the server runs; it is restored with the counts of"
    " the running workers. Exclude it from cleaners (systemd: RemoveIPC=no for the user)"
)
MASTER_IDENTIFIER = "master"
WAS_OFF = "nothing is recorded: OTEL_SDK_DISABLED was true when the server started; restart it"
NOT_PREPARED = (
    "nothing is recorded: the hook on_starting did not run; import it in gunicorn's configuration,"
    " or call it from a hook of your own"
)
NO_HOOKS = (
    "no gunicorn hooks in this process: the metrics are those of this process; set"
    " PROMETHEUS_MULTIPROC_DIR to a directory that the processes of the server share"
)
NOT_WRAPPED = (
    "requests are not recorded: the hooks run, but the application is not wrapped; write"
    " application = instrument(application) in its WSGI module, or serve"
    " avatar_telemetry.wsgi_app:application"
)
OTHER_MIDDLEWARE = "opentelemetry.instrumentation.wsgi"
"""Imported by OpenTelemetry's own instrumentations of WSGI, Django, Flask, Falcon and Pyramid."""
NOT_ALL_SENT = (
    "the exporter did not send everything within %g s (AVATAR_TELEMETRY_FLUSH_TIMEOUT); the rest is"
    " lost"
)
NO_THREADS = (
    "nothing can be exported: uWSGI runs without threads; start it with --enable-threads, or set"
    " OTEL_EXPORT_ENABLED=false"
)
NO_STACKS = (
    "no stacks of slow requests (AVATAR_TELEMETRY_SLOW_STACK): uWSGI runs without threads; start it"
    " with --enable-threads"
)


@lru_cache(maxsize=1)
def default_settings() -> Settings:
    """Return the settings of an empty environment, for a process whose own cannot be used."""
    return Settings.from_env({})


class Runtime:
    """The telemetry of one process, over its forks.

    Args:
        environ: the environment with the settings.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self.guard = Guard()
        self.book = Book(lambda: self.guard.failed("store"))
        self.managed = False
        self.off = False
        """Nothing can be recorded in this worker: ``instrument()`` returns the application."""
        self._was_off = False
        self._wrapped = False
        self._environ = environ
        self._settings: Settings | None = None
        self._folder: RuntimeDir | None = None
        self._folder_owner = 0
        self._slot: Slot | None = None
        self._user = (os.geteuid(), os.getegid())
        self._forked = False
        self._sees_forks = False
        self._renew_times_at = 0.0
        self._server: Server | None = None
        self._shares_page = False
        self._usable_environ: Mapping[str, str] = environ
        self._started_at = 0.0
        self._metrics: Metrics | None = None
        self._page: WSGIApplication | None = None
        self._recording: Recording | None = None
        self._supervisor: Supervisor | None = None
        self._meters: StoredMeterProvider | None = None
        self._slow_requests: SlowRequests | None = None
        self._layers: list[Layer] = []
        self._early: Telemetry | None = None
        self._declared: list[Profile] = []
        self._locks: dict[int, AbstractContextManager[object]] = {}

    # In the master

    def manage(self) -> None:
        """Prepare a process that gunicorn's hooks control.

        The application's own prometheus_client metrics, which may be created before any worker
        (``preload_app``), are stored in our book. prometheus_client chooses the class of its values
        when a metric is created, so this has to run before the application is imported.
        """
        self.managed = True
        if "GUNICORN_PID" in self._environ and is_private_name(self._environ.get(FOLDER, "")):
            # After a reload (HUP) an upgrade (USR2) inherits the variable that the old master has
            # set for itself. It is no setting: the folder is found by its record.
            del self._environ[FOLDER]
            values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]
        # Even with the SDK disabled: a format that names the fields is gunicorn's configuration,
        # and must not fail for a switch, nor in the master.
        install_correlation(service_name(self._environ))
        if not sdk_disabled(self._environ):
            values.ValueClass = value_class(self.book)

    def prepare(self, upgrades: int, uid: int, gid: int) -> None:
        """Check everything that can be checked before a worker starts; open a runtime directory.

        Args:
            upgrades: the pid of the master that this one replaces (USR2), else 0.
            uid: the user id of the workers.
            gid: the group id of the workers.

        Raises:
            SettingsError: the server must not start.
        """
        if sdk_disabled(self._environ):
            self._was_off = True
            LOGGER.info("avatar_telemetry: off (OTEL_SDK_DISABLED=true)")
            return
        settings, faults = Settings.read(self._environ)
        faults += faults_of(
            lambda: check_profile(settings.profile),
            lambda: check_exporters(settings),
            lambda: None if upgrades else check_endpoint(settings),
        )
        self._warn(settings)
        if faults:
            with acting_as(uid, gid):
                faults += faults_of(lambda: check_folder(settings.multiproc_dir, upgrades))
            raise SettingsError(*faults)
        self._prepare_folder(settings, upgrades, uid, gid)
        self._settings = settings
        # A reload to settings that cannot be used goes on with these.
        self._usable_environ = dict(self._environ)
        log_started(settings)
        # Its workers share what they would import one by one.
        load_parser()
        _load_recording(settings)
        _load_meters()

    def _prepare_folder(self, settings: Settings, upgrades: int, uid: int, gid: int) -> None:
        folder = self._take_folder(settings.multiproc_dir, upgrades, uid, gid)
        with acting_as(uid, gid):
            check_writable(folder.path)
            check_space(folder.path, settings)
            warn_of_interpreter(settings)
            make_exporter_lock(folder.path)
            make_pipe(folder.path)
        # Functions of prometheus_client need it, in the user's own hooks, too.
        self._environ[FOLDER] = str(folder.path)
        self.book.open(folder.path, MASTER_IDENTIFIER)
        self._user = (uid, gid)
        self._see_forks()

    def child_exited(self, pid: int) -> None:
        """Remove the live gauges of a worker that has ended."""
        if self._folder is not None:
            with self.guard.at("child_exit"), acting_as(*self._user):
                self._check_master_files(self._folder)
                clear_dead_gauges(self._folder.path, pid)

    def finish(self) -> None:
        """Wait until the exporter has sent everything, at the end of the server, for at most
        ``AVATAR_TELEMETRY_FLUSH_TIMEOUT``."""
        folder = self._folder
        if folder is None or os.getpid() != self._folder_owner:
            return
        with self.guard.at("exporter"):
            with acting_as(*self._user):
                self._check_master_files(folder)
            if living_masters(folder.path) != [os.getpid()]:
                return  # an upgrade in place: the exporter goes on for the other server
            settings = self._renewed_settings()  # a reload may have named another collector
            deadline = time.monotonic() + settings.flush_timeout
            record = make_record(self._usable_environ, os.getpid())
            supervisor = Supervisor(folder.path, settings, record, self._user, self.guard)
            if not supervisor.finish(deadline):
                LOGGER.warning(NOT_ALL_SENT, settings.flush_timeout)

    def release(self) -> None:
        """Leave the runtime directory, which the last server that uses it removes."""
        folder, self._folder = self._folder, None
        if folder is not None and os.getpid() == self._folder_owner:
            with suppress(OSError):
                folder.release()

    # In a worker

    def start_worker(self, server: Server, uid: int, gid: int, *, workers: int = 1) -> None:
        """Start a worker after the fork: slot, probes, exporter if none runs. Never raises.

        Args:
            server: the gunicorn that this process is a worker of.
            uid: the user that it will run as.
            gid: its group.
            workers: how many there are: with several, the exporter merges the metrics page.
        """
        self._forked = False
        self._started_at = time.monotonic()
        self.book.renew_lock()  # the slot is taken here, not when something is first recorded
        if sdk_disabled(self._environ):
            self.book.detach()  # the master's, of a start with the telemetry on
            if self._folder is not None:
                with self.guard.at("exporter"), acting_as(uid, gid):
                    write_record(self._folder.path, make_record(self._environ))
            return
        if self.managed and self._folder is None:
            self.off = True
            LOGGER.warning(WAS_OFF if self._was_off else NOT_PREPARED)
            return
        settings = self._renewed_settings()
        self._server = server
        self._shares_page = workers > 1
        with self.guard.at("start"):
            _load_recording(settings)  # while it can be read
            _load_meters()
        with self.guard.at("start"), acting_as(uid, gid):
            self._start(settings)

    def warn_of_unwrapped(self) -> None:
        """Log, once for all workers, that a worker that ends has served no wrapped application.

        Its start would be too early: an application may be wrapped with its first request.
        """
        is_recording = self._metrics is not None and OTHER_MIDDLEWARE not in sys.modules
        if is_recording and not self._wrapped and self.is_first("not-wrapped"):
            LOGGER.warning(NOT_WRAPPED)

    def stop_worker(self) -> None:
        """Stop a worker before its exit. Waits for nothing but span processors of the application
        and an exporter in this process that no other process takes over."""
        now = time.monotonic()
        deadline = now + (self._settings or default_settings()).flush_timeout
        if self._recording is not None:
            with self.guard.at("stop"):
                self._recording.stop(deadline)
        if self._slow_requests is not None:
            self._slow_requests.stop()
        if self._supervisor is not None:
            is_last = self._server is None or os.getppid() != self._server.master
            with self.guard.at("stop"):
                self._supervisor.stop(deadline if is_last else now)

    def worker_aborted(self, interrupted: FrameType | None) -> None:
        """Record the requests in progress in a worker that gunicorn aborts. Never raises.

        Args:
            interrupted: the frame that the signal interrupted.
        """
        record_abort(interrupted, self.guard)

    # In any process that serves

    def check(self) -> None:
        """Check the settings when the application is wrapped, unless a hook has checked them.

        Raises:
            SettingsError: they cannot be used.
        """
        if not self.managed:
            settings, faults = Settings.read(self._environ)
            faults += faults_of(
                lambda: load_profile(settings.profile), lambda: check_exporters(settings)
            )
            self._warn(settings)
            if faults:
                raise SettingsError(*faults)
            if sends(settings) and not has_threads():
                LOGGER.warning(NO_THREADS)
            _load_recording(settings)  # not with the first request, which would wait for it

    def is_first(self, name: str) -> bool:
        """Return whether this is the first call for a name in all processes of the server.

        Args:
            name: of what is to be done once.
        """
        if self._folder is not None and self.managed:
            with suppress(OSError):
                path = self._folder.path / f"{name}{ONCE}"
                try:
                    os.close(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return False
        return True

    def declare(self, profile: Profile | None) -> None:
        """Register a wrapped application, and its profile, whose probes the worker installs."""
        self._wrapped = True
        if profile is not None:
            self._declared.append(profile)
            if self._metrics is not None:
                with self.guard.at("profile"):
                    install_probes(profile, (self._settings or default_settings()).probes_off)

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        """Return the state of the middleware in this process. Never raises.

        Args:
            settings: instead of those of the environment, for the metrics page and the labels.
            profile: instead of the one that the settings name.
        """
        with self._start_lock():
            if self._metrics is None:
                with self.guard.at("start"):
                    self._start_here(settings)
            with self.guard.at("logs"):
                self._attach_to_logging()
            settings = settings or self._settings or default_settings()
            layer = self._make_layer(settings, profile)
            self._layers.append(layer)
            if settings.slow_stack and self._slow_requests is None:
                with self.guard.at("stacks"):
                    self._watch_slow_requests(settings.slow_stack)
            return layer

    def _attach_to_logging(self) -> None:
        """Attach to the logging that the loaded application has configured."""
        settings = self._settings or default_settings()
        install_correlation(resource_attributes(settings)["service.name"])
        if debugging():
            log_configured(settings)
            if self._supervisor is not None:
                self._supervisor.log_debug()
        if self._recording is not None:
            self._recording.take_logs()
        if self.managed and self.is_first("absent-metrics"):
            warn_of_absent()

    def _watch_slow_requests(self, threshold: float) -> None:
        if not has_threads():
            LOGGER.warning(NO_STACKS)
            return
        self._slow_requests = SlowRequests(threshold, self.guard)
        self._slow_requests.start()

    def _start_lock(self) -> AbstractContextManager[object]:
        # Each process makes its own with its first request: by then gevent has patched threading.
        # A lock from before stops all greenlets where its holder waits, say for an import.
        return self._locks.setdefault(os.getpid(), threading.Lock())

    def _find_telemetry(self) -> Telemetry | None:
        """Return the telemetry for code of the application outside of a request."""
        if self._metrics is None:
            return None
        if self._layers:
            return self._layers[0].telemetry
        if self._early is None:
            profile = self._declared[0] if self._declared else None
            self._early = self._make_layer(self._settings or default_settings(), profile).telemetry
        return self._early

    def _make_layer(self, settings: Settings, profile: Profile | None) -> Layer:
        if profile is None:
            try:
                profile = load_profile(settings.profile)
            except SettingsError:
                self.guard.failed("profile")
                profile = GENERIC
        metrics = self._metrics or Metrics(self.book, settings.max_series)
        tracing = self._recording.tracing(profile) if self._recording is not None else None
        page = self._page or MetricsPage(_nothing_to_show, self.guard)
        return build_layer(settings, profile, metrics, self.guard, page, tracing)

    def _start_here(self, settings: Settings | None) -> None:
        """Start a process that no hook has started: a child of a worker, or a lone process."""
        settings = settings or self._settings or Settings.from_env(self._environ)
        if self._folder is None:
            named = settings.multiproc_dir
            if not named:
                # Under gunicorn it is a mistake, under another server it is how things are.
                level = logging.WARNING if "gunicorn.arbiter" in sys.modules else logging.INFO
                LOGGER.log(level, NO_HOOKS)
            self._take_folder(named, 0, os.geteuid(), os.getegid(), shared=bool(named))
            atexit.register(self.stop_worker)
        self._start(settings)

    def _start(self, settings: Settings) -> None:
        self._settings = settings
        correct_environment(self._environ, settings)
        with self.guard.at("logs"):
            install_correlation(resource_attributes(settings)["service.name"])
        self._take_slot()
        metrics = self._metrics = Metrics(self.book, settings.max_series, self._check_files)
        self.guard.count = metrics.internal_error
        WORKER.find = self._find_telemetry
        self._see_forks()
        POLICY.set(settings.privacy, settings.propagate_to, settings.semconv, self.guard)
        with self.guard.at("profile"):  # it may have been edited since the start
            for profile in (load_profile(settings.profile), *self._declared):
                install_probes(profile, settings.probes_off)
        if self._folder is not None:
            self._record_api_metrics(settings, self._folder)
            self._open_page(settings, self._folder)
            if exports(settings) and self._recording is None:  # else a forked child has it
                from avatar_telemetry.runtime.recording import Recording

                self._recording = Recording(
                    settings, self._folder, self._slot_number, lambda: self._metrics, self.guard
                )
            self._supervise(settings, self._folder)

    def _record_api_metrics(self, settings: Settings, folder: RuntimeDir) -> None:
        """Record the metrics of the OpenTelemetry API, as soon as the API is imported."""

        def start(_: object) -> None:
            with self.guard.at("meters"):
                from avatar_telemetry.metrics.api_meters import start_meters

                self._meters = start_meters(self.book, self.guard, settings, folder.path)

        when_imported(API_METRICS, start)

    def _open_page(self, settings: Settings, folder: RuntimeDir) -> None:
        registry = None if self.managed else prometheus_client.REGISTRY
        collectors: list[Collector] = []

        def collect() -> list[Family]:
            self._check_files()
            if not collectors:  # what is merged is kept, so nothing is before it is asked for
                collectors.append(Collector(folder.path, settings, self._server, registry))
            return collectors[0].collect()

        self._page = RelayedPage(folder.path, collect, self.guard)

    def _supervise(self, settings: Settings, folder: RuntimeDir) -> None:
        wanted = sends(settings) or self._shares_page
        if settings.exporter == "none" or not wanted or not (self.managed or has_threads()):
            if read_record(folder.path) is not None:
                # An exporter of before a reload has to know that it is no longer wanted.
                with self.guard.at("exporter"):
                    write_record(folder.path, replace(self._record(), wanted=False))
            return
        registry = None if self.managed else prometheus_client.REGISTRY
        supervisor = self._supervisor = Supervisor(
            folder.path, settings, self._record(), self._user, self.guard, registry
        )
        supervisor.start()

    def _record(self) -> Record:
        server = self._server
        master, listeners = (server.master, server.listeners) if server else (0, ())
        return make_record(self._usable_environ, master, listeners, self._started_at)

    def _slot_number(self) -> int:
        """Return the number of the slot of this process, which takes one if it has none.

        Raises:
            OSError: none can be taken.
        """
        with self.book.lock:
            if self._slot is None:
                self._take_slot()
                if self._metrics is not None:
                    self._metrics.renew()
        if self._slot is None:
            raise OSError("this process has no slot")
        return self._slot.number

    def _take_folder(
        self, named: str, upgrades: int, uid: int, gid: int, *, shared: bool = False
    ) -> RuntimeDir:
        folder = self._folder = open_runtime_dir(named, upgrades, uid, gid, shared=shared)
        self._folder_owner = os.getpid()
        atexit.register(self.release)  # on_exit does not come where the start itself fails
        return folder

    def _take_slot(self) -> None:
        with self.guard.holding(self.book.lock):
            if self._slot is None:  # taking the lock for the first time in a child may have done it
                self._try_to_take_slot()

    def _try_to_take_slot(self) -> None:
        try:
            if self._folder is None:
                raise FileNotFoundError("no runtime folder")
            path = self._folder.path
            with acting_as(*self._user):
                self._renew_folder(self._folder)
                slot = self._slot = self._claim(path)
                self.book.open(path, slot.identifier)
        except OSError:
            if self.book.is_open:
                self.book.detach()
            self.guard.failed("slot")

    def _claim(self, path: Path) -> Slot:
        """Take a slot, without the live gauges of its last holder."""
        slot = claim_slot(path, worker=self._is_worker())
        try:
            remove_live_gauges(path, slot.number)
        except OSError:
            slot.close()
            raise
        return slot

    def _is_worker(self) -> bool:
        return not (self.managed and self._forked)

    def _renew_folder(self, folder: RuntimeDir) -> None:
        if folder.renew():
            self.guard.warn(DIRECTORY_REMOVED, folder.path)

    def _check_master_files(self, folder: RuntimeDir) -> None:
        """Check that the master still writes into files that are read."""
        self._renew_folder(folder)
        if not self.book.is_intact:
            self.book.move(folder.path, MASTER_IDENTIFIER)

    def _check_files(self) -> None:
        """Check that this process still writes into files that are read. Never raises."""
        metrics, folder = self._metrics, self._folder
        if metrics is None or folder is None:
            return
        with self.guard.at("slot"), self.guard.holding(self.book.lock):
            if self._slot is None:
                self._take_slot()
                metrics.renew()
            elif not (folder.is_locked and self._slot.is_safe(folder.path) and self.book.is_intact):
                self._restore_files(folder, self._slot)
                metrics.renew()
            elif self.book.short and self.book.recover():
                metrics.renew()
            now = time.monotonic()
            if now >= self._renew_times_at:
                self._renew_times_at = now + RENEW_TIMES_INTERVAL
                folder.renew_times()
        with self.guard.at("ring"):
            if self._recording is not None:
                self._recording.check()
        with self.guard.at("exporter"):
            if self._supervisor is not None:
                self._supervisor.check()

    def _restore_files(self, folder: RuntimeDir, slot: Slot) -> None:
        """Restore a directory, or files in it, that were removed, with the previous values."""
        with acting_as(*self._user):
            self._renew_folder(folder)
            if slot.has_data(folder.path):
                if not slot.is_safe(folder.path):
                    self._slot = claim_again(folder.path, slot, worker=self._is_worker()) or slot
                if not self.book.is_intact:
                    self.book.move(folder.path, slot.identifier)
                return
            self._slot = self._claim(folder.path)
            self.book.move(folder.path, self._slot.identifier)
        slot.close()

    def _warn(self, settings: Settings) -> None:
        """Log each variable that is ignored or probably misspelt."""
        warn_of_ignored(settings)
        warn_of_typos(self._environ)
        correct_environment(self._environ, settings)

    def _renewed_settings(self) -> Settings:
        """Return the settings with ``raw_env`` of a reloaded configuration, if they are valid."""
        try:
            settings = Settings.from_env(self._environ)
            self._usable_environ = dict(self._environ)
            return settings
        except SettingsError as error:
            LOGGER.error("%s\n  going on with the settings of the start", error)
            return self._settings or default_settings()

    def _see_forks(self) -> None:
        if not self._sees_forks:
            self._sees_forks = True
            os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        """Detach a forked child from the slot of its parent, or from the files of the master.

        The parent's request is not counted by the child. Its own counts go into a slot of its own,
        claimed at the first of them: most children are about to execute a program.
        """
        self._forked = True
        self.guard.count = lambda where: None
        self.book.renew_lock()
        self.book.detach()
        if self._metrics is not None:
            self._metrics.renew()
        if self._recording is not None:
            self._recording.forget()
        if self._supervisor is not None:
            self._supervisor.forget()
        if self._meters is not None:
            self._meters.forget()
        for layer in self._layers:
            layer.stale = True
        self._slow_requests = None
        SERVING.clear()
        self._layers, self._metrics, self._page, self._supervisor = [], None, None, None
        self._early = None
        if self._slot is not None:
            self._slot.close()
            self._slot = None
        self.book.on_next_use(self._take_slot)


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


def _nothing_to_show() -> list[Family]:
    raise FileNotFoundError("this process could not start its telemetry; its log says why")


RUNTIME = Runtime(os.environ)
