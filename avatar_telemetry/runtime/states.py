"""The states of a process: what it records in each of them, and how it ends.

:mod:`~avatar_telemetry.runtime.lifecycle` changes a process from one state to the next. An object
of these classes writes no field of another one.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

from prometheus_client import REGISTRY, CollectorRegistry

from avatar_telemetry._base.errors import SettingsError
from avatar_telemetry._base.files import acting_as, open_own
from avatar_telemetry._base.log import LOGGER, debugging
from avatar_telemetry.config.destinations import exports, log_configured, sends
from avatar_telemetry.config.resource import resource_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.launch import Supervisor, has_threads
from avatar_telemetry.exporter.page import RelayedPage
from avatar_telemetry.exporter.record import Record, make_record, read_record, write_record
from avatar_telemetry.logs.correlation import install_correlation
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.exposition import MetricsPage
from avatar_telemetry.metrics.family import Family
from avatar_telemetry.metrics.folder import ONCE, RuntimeDir, living_masters
from avatar_telemetry.metrics.instruments import Instrument
from avatar_telemetry.metrics.metrics import Metrics
from avatar_telemetry.metrics.registered import warn_of_absent
from avatar_telemetry.metrics.slot_files import SlotFiles
from avatar_telemetry.metrics.slots import clear_dead_gauges
from avatar_telemetry.probes import POLICY, install_probes
from avatar_telemetry.probes.patching import when_imported
from avatar_telemetry.profiles.generic import PROFILE as GENERIC
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.startup import correct_environment, load_profile
from avatar_telemetry.wsgi.middleware import Layer, build_layer
from avatar_telemetry.wsgi.slow_requests import SlowRequests
from avatar_telemetry.wsgi.telemetry import Telemetry
from avatar_telemetry.wsgi.worker import WORKER

if TYPE_CHECKING:
    from avatar_telemetry.runtime.lifecycle import Runtime
    from avatar_telemetry.runtime.recording import Recording

API_METRICS = "opentelemetry.metrics"
MASTER_IDENTIFIER = "master"
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
NO_STACKS = (
    "no stacks of slow requests (AVATAR_TELEMETRY_SLOW_STACK): uWSGI runs without threads; start it"
    " with --enable-threads"
)


@dataclass(eq=False)
class State:
    """A process that records nothing: the base of all states.

    Args:
        runtime: the objects of the process that all its states share.
        hooks_pid: the pid of the process that imported gunicorn's hooks, this one or a parent of
            it; 0 without hooks.
    """

    runtime: Runtime
    hooks_pid: int

    def start(self, settings: Settings | None = None) -> State:
        """Return the state of the process from a request on.

        Args:
            settings: instead of those of the environment, for a process without hooks.
        """
        return self

    def fork(self) -> State:
        """Return the state of a forked child, which has none of the files of its parent."""
        return self

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        """Return the state of the middleware of one application. Never raises."""
        settings, guard = settings or Settings.from_env({}), self.runtime.guard
        metrics = Metrics(self.runtime.book, settings.max_series)
        page = MetricsPage(_nothing_to_show, guard)
        return build_layer(settings, profile or GENERIC, metrics, guard, page)

    def telemetry(self) -> Telemetry | None:
        """Return the telemetry for code of the application outside of a request."""
        return None

    def check_files(self) -> None:
        """Check that the process writes into files that are read. Never raises."""

    def count(self, instrument: Instrument, amount: float, result: str) -> None:
        """Count items by result."""

    def is_first(self, name: str) -> bool:
        """Return whether this is the first call for a name in all processes of the server.

        Args:
            name: of what is to be done once.
        """
        return True

    def child_exited(self, pid: int) -> None:
        """Remove the live gauges of a worker that has ended, in its master."""

    def warn_of_unwrapped(self) -> None:
        """Log, once for all workers, that a worker that ends has served no wrapped application.

        Its start would be too early: an application may be wrapped with its first request.
        """

    def stop(self) -> None:
        """Stop a worker before its exit. Waits for nothing but span processors of the application
        and an exporter in this process that no other process takes over."""

    def finish(self) -> None:
        """Wait until the exporter has sent everything, at the end of the server, for at most
        ``AVATAR_TELEMETRY_FLUSH_TIMEOUT``."""

    def release(self) -> None:
        """Leave the runtime directory, which the last server that uses it removes."""


class Unstarted(State):
    """A process in which nothing has started."""

    def start(self, settings: Settings | None = None) -> State:
        runtime = self.runtime
        if self.hooks_pid == os.getpid():
            return self  # a master, whose application calls itself while it is loaded
        settings = settings or Settings.from_env(runtime.environ)
        named = settings.multiproc_dir
        if not named:
            # Under gunicorn it is a mistake, under another server it is how things are.
            level = logging.WARNING if "gunicorn.arbiter" in sys.modules else logging.INFO
            LOGGER.log(level, NO_HOOKS)
        folder = runtime.open_folder(named, 0, os.geteuid(), os.getegid(), shared=bool(named))
        atexit.register(lambda: runtime.state.stop())
        record = make_record(runtime.environ)
        files = SlotFiles(folder, runtime.book, runtime.guard)
        prepared = Prepared(runtime, self.hooks_pid, folder, settings, record, files)
        runtime.become(prepared)
        return prepared.start()


class Disabled(State):
    """A process that must record nothing, or nothing more: its applications respond unchanged."""

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        return super().layer(Settings.from_env({"AVATAR_TELEMETRY_METRICS_PATH": ""}), GENERIC)


@dataclass(eq=False)
class Prepared(State):
    """A process with a runtime directory that does not record yet, such as a forked child.

    Args:
        folder: the runtime directory.
        settings: the settings of the process.
        record: its record for the exporter; without gunicorn's ``post_fork`` it has no master.
        files: its slot; a forked child takes one when it first records something.
        shares_page: true where the exporter merges the metrics page, because of several workers.
        recording: that of its parent, whose tracer provider is the global one, if there is any.
    """

    folder: RuntimeDir
    settings: Settings
    record: Record
    files: SlotFiles
    shares_page: bool = False
    recording: Recording | None = None

    def start(self, settings: Settings | None = None) -> State:
        return (Worker if self.record.master else LoneProcess)(**vars(self))

    def fork(self) -> State:
        files = self.files.of_child(worker=not self.hooks_pid)
        if self.recording is not None:
            self.recording.forget(files.number)
        self.runtime.book.on_next_use(files.take)
        return Prepared(
            self.runtime, self.hooks_pid, self.folder, self.settings, self.record, files,
            self.shares_page, self.recording,
        )  # fmt: skip

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        return super().layer(settings or self.settings, profile)

    def is_first(self, name: str) -> bool:
        if self.hooks_pid:
            with suppress(OSError):
                path = self.folder.path / f"{name}{ONCE}"
                try:
                    os.close(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return False
        return True

    def stop(self) -> None:
        if self.recording is not None:
            with self.runtime.guard.at("stop"):
                self.recording.stop(time.monotonic() + self.settings.flush_timeout)

    def release(self) -> None:
        with suppress(OSError):
            self.folder.release()

    def read_settings(self) -> tuple[Settings, Mapping[str, str]]:
        """Return the settings with ``raw_env`` of a reloaded configuration, or these where they are
        not valid, and the environment that they are from."""
        environ = dict(self.runtime.environ)
        try:
            return Settings.from_env(environ), environ
        except SettingsError as error:
            LOGGER.error("%s\n  going on with the settings of the start", error)
            return self.settings, self.record.environ


class Master(Prepared):
    """gunicorn's master, which takes no slot: its own values are in files named ``master``."""

    def start(self, settings: Settings | None = None) -> State:
        return self  # a request of an application that is loaded before the workers start

    def child_exited(self, pid: int) -> None:
        with self.runtime.guard.at("child_exit"), acting_as(*self.folder.user):
            self._check_own_files()
            clear_dead_gauges(self.folder.path, pid)

    def finish(self) -> None:
        path, user, guard = self.folder.path, self.folder.user, self.runtime.guard
        with guard.at("exporter"):
            with acting_as(*user):
                self._check_own_files()
            if living_masters(path) != [os.getpid()]:
                return  # an upgrade in place: the exporter goes on for the other server
            settings, environ = self.read_settings()  # a reload may have named another collector
            deadline = time.monotonic() + settings.flush_timeout
            supervisor = Supervisor(path, settings, make_record(environ, os.getpid()), user, guard)
            if not supervisor.finish(deadline):
                LOGGER.warning(NOT_ALL_SENT, settings.flush_timeout)

    def _check_own_files(self) -> None:
        self.files.renew_folder()
        if not self.runtime.book.is_intact:
            self.runtime.book.move(self.folder.path, MASTER_IDENTIFIER)


@dataclass(eq=False)
class Worker(Prepared):
    """A process that records: a worker of gunicorn, or a child of one that serves requests."""

    def __post_init__(self) -> None:
        runtime, guard, settings = self.runtime, self.runtime.guard, self.settings
        correct_environment(runtime.environ, settings)
        with guard.at("logs"):
            install_correlation(resource_attributes(settings)["service.name"])
        self.files.take()
        self._metrics = Metrics(
            runtime.book, settings.max_series, lambda: runtime.state.check_files()
        )
        self.files.on_move(self._metrics.renew)
        guard.count = self._metrics.internal_error
        WORKER.find = lambda: runtime.state.telemetry()
        POLICY.set(settings.privacy, settings.propagate_to, settings.semconv, guard)
        with guard.at("profile"):  # it may have been edited since the start
            for profile in (load_profile(settings.profile), *filter(None, runtime.declared)):
                self.install(profile)
        when_imported(API_METRICS, self._record_api_metrics)
        registry = None if self.hooks_pid else REGISTRY  # else it is in the store of all
        self._page = self._make_page(registry)
        if exports(settings) and self.recording is None:  # else a forked child has it
            from avatar_telemetry.runtime.recording import Recording

            self.recording = Recording(
                settings, self.folder, self.files.number,
                lambda *counted: runtime.state.count(*counted), guard,
            )  # fmt: skip
        self._supervisor = self._start_supervisor(registry)
        self._slow_requests: SlowRequests | None = None

    def start(self, settings: Settings | None = None) -> State:
        return self

    def fork(self) -> State:
        self._metrics.renew()  # those of a request of the parent, which the child does not count
        if self._supervisor is not None:
            self._supervisor.forget()
        return super().fork()

    def layer(self, settings: Settings | None, profile: Profile | None) -> Layer:
        settings, guard = settings or self.settings, self.runtime.guard
        with guard.at("logs"):
            self._attach_to_logging()
        if settings.slow_stack and self._slow_requests is None:
            with guard.at("stacks"):
                self._watch_slow_requests(settings.slow_stack)
        return self._make_layer(settings, profile)

    def telemetry(self) -> Telemetry | None:
        return self.runtime.layers[0].telemetry if self.runtime.layers else self._early

    def install(self, profile: Profile) -> None:
        """Install the probes of a profile."""
        install_probes(profile, self.settings.probes_off)

    def check_files(self) -> None:
        self.files.check()
        with self.runtime.guard.at("ring"):
            if self.recording is not None:
                self.recording.check()
        with self.runtime.guard.at("exporter"):
            if self._supervisor is not None:
                self._supervisor.check()

    def count(self, instrument: Instrument, amount: float, result: str) -> None:
        self._metrics.add(instrument, amount, result)

    def warn_of_unwrapped(self) -> None:
        is_wrapped = self.runtime.declared or OTHER_MIDDLEWARE in sys.modules
        if not is_wrapped and self.is_first("not-wrapped"):
            LOGGER.warning(NOT_WRAPPED)

    def stop(self) -> None:
        now = time.monotonic()
        super().stop()
        if self._slow_requests is not None:
            self._slow_requests.stop()
        if self._supervisor is not None:
            deadline = now if self._is_continued() else now + self.settings.flush_timeout
            with self.runtime.guard.at("stop"):
                self._supervisor.stop(deadline)

    @cached_property
    def _early(self) -> Telemetry:
        """The telemetry for code that is called before the first request."""
        profile = next(filter(None, self.runtime.declared), None)
        return self._make_layer(self.settings, profile).telemetry

    def _make_layer(self, settings: Settings, profile: Profile | None) -> Layer:
        guard = self.runtime.guard
        try:
            profile = profile or load_profile(settings.profile)
        except SettingsError:
            guard.failed("profile")
            profile = GENERIC
        tracing = None if self.recording is None else self.recording.tracing(profile)
        return build_layer(settings, profile, self._metrics, guard, self._page, tracing)

    def _is_continued(self) -> bool:
        """Return whether the master goes on: its other workers start the next exporter."""
        return os.getppid() == self.record.master

    def _record_api_metrics(self, _: object) -> None:
        runtime = self.runtime
        with runtime.guard.at("meters"):
            from avatar_telemetry.metrics.api_meters import start_meters

            start_meters(runtime.book, runtime.guard, self.settings, self.folder.path)

    def _make_page(self, registry: CollectorRegistry | None) -> RelayedPage:
        path, settings, record = self.folder.path, self.settings, self.record
        server = Server(record.master, record.listeners) if record.master else None
        # What is merged is kept, so nothing is before it is asked for.
        collector = lru_cache(lambda: Collector(path, settings, server, registry))

        def collect() -> list[Family]:
            self.runtime.state.check_files()
            return collector().collect()

        return RelayedPage(path, collect, self.runtime.guard)

    def _start_supervisor(self, registry: CollectorRegistry | None) -> Supervisor | None:
        path, settings, guard = self.folder.path, self.settings, self.runtime.guard
        wanted = (sends(settings) and has_threads()) or self.shares_page
        if wanted and settings.exporter != "none":
            supervisor = Supervisor(path, settings, self.record, self.folder.user, guard, registry)
            supervisor.start()
            return supervisor
        if read_record(path) is not None:
            # An exporter of before a reload has to know that it is no longer wanted.
            with guard.at("exporter"):
                write_record(path, replace(self.record, wanted=False))
        return None

    def _attach_to_logging(self) -> None:
        """Attach to the logging that the loaded application has configured."""
        install_correlation(resource_attributes(self.settings)["service.name"])
        if debugging():
            log_configured(self.settings)
            if self._supervisor is not None:
                self._supervisor.log_debug()
        if self.recording is not None:
            self.recording.take_logs()
        if self.hooks_pid and self.is_first("absent-metrics"):
            warn_of_absent()

    def _watch_slow_requests(self, threshold: float) -> None:
        if not has_threads():
            LOGGER.warning(NO_STACKS)
            return
        self._slow_requests = SlowRequests(threshold, self.runtime.guard)
        self._slow_requests.start()


class LoneProcess(Worker):
    """A process that records without gunicorn's hooks."""

    def _is_continued(self) -> bool:
        return False


def _nothing_to_show() -> list[Family]:
    raise FileNotFoundError("this process could not start its telemetry; its log has the cause")
