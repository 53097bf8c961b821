"""The exporter: all threads that send and serve for a host, and the loop that controls them.

It runs in a process of its own (:mod:`avatar_telemetry.exporter.process`) or, where none can be
started, in a thread of one worker. The process that holds the lock of ``exporter.lock`` runs it.
"""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from avatar_telemetry._base.files import is_at_path
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.config.destinations import pushes_metrics, ring_signals, sends, settled
from avatar_telemetry.config.otlp import Signal
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.counts import Counts
from avatar_telemetry.exporter.page import PageServer
from avatar_telemetry.exporter.record import (
    Record,
    abandon_record,
    read_record,
    record_end,
    record_start,
)
from avatar_telemetry.exporter.wake import Wakeup, wake
from avatar_telemetry.metrics.collector import Collector, Server
from avatar_telemetry.metrics.exposition import Access, MetricsPage, load_parser
from avatar_telemetry.metrics.folder import counting_since, living_masters
from avatar_telemetry.metrics.instruments import LOG_RECORDS, METRIC_PUSHES, SPANS, Instrument
from avatar_telemetry.metrics.slots import EXPORTER_LOCK, holders

if TYPE_CHECKING:
    from prometheus_client.registry import Collector as ClientCollector

    from avatar_telemetry.exporter.port import Port
    from avatar_telemetry.exporter.pusher import Pusher
    from avatar_telemetry.exporter.signals import SignalExporter

POLL_INTERVAL = 0.5
"""Seconds between two checks of the runtime directory."""
MAX_IDLE = 3.0
"""Seconds without a worker or gunicorn's master until the exporter ends: another server may replace
all workers at once."""
DRAIN_SHARE = 0.7
"""The share of the time at the end for spans and log records; the rest is for the last push."""
MAX_REQUEST_WAIT = 0.2
"""Seconds to wait at the end of a worker for a request to the collector in progress."""
MAX_END_WAIT = 1.0
"""Seconds in which an interpreter that starts no thread any more requests the end."""
MAX_PORT_WAIT = 2.0
"""Seconds to wait for the close of the separate port before the next exporter binds it."""
DEFAULT_BATCH_SIZE = 512
"""Spans of a batch (OpenTelemetry specification, ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE``)."""

LATE_IMPORTS = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "netrc",
    "google.rpc.error_details_pb2",
)
"""The modules that libraries import with their first connection or request."""

ENDED, REPLACED, CHANGED = "ended", "replaced", "changed"


class _Source(NamedTuple):
    """The rings of a signal.

    Args:
        ring: the name of the rings: ``spans`` or ``logs``.
        counter: the counter of their items by result.
        batch_size: the number of items of a batch.
        delay: the milliseconds that items may wait for a full batch.
    """

    ring: str
    counter: Instrument
    batch_size: int
    delay: int


class Exporter:
    """The exporter of a host.

    Args:
        folder: the runtime directory.
        lock: the descriptor of the lock on ``exporter.lock``, which the caller closes.
        settings: the settings of the exporters and of the separate port.
        record: the record in the runtime directory.
        registry: the metrics of this process alone, for the page.
        end_requested: an event that is set to end the exporter as soon as no worker runs.
        apply: the function to call with the record at the start and after each change.
    """

    def __init__(
        self,
        folder: Path,
        lock: int,
        settings: Settings,
        record: Record,
        registry: ClientCollector | None = None,
        end_requested: threading.Event | None = None,
        apply: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._folder = folder
        self._lock = lock
        self._settings = settings
        self._record = record
        self._ends_at = 0.0
        self._guard = Guard()
        self._counts = Counts(folder, self._guard)
        self._guard.count = self._counts.internal_error
        self._collector = Collector(folder, settings, _server(record), registry)
        self._page = MetricsPage(self._collector.collect, self._guard)
        self._signals: list[SignalExporter] = []
        self._pusher: Pusher | None = None
        self._port: Port | None = None
        self._page_server: PageServer | None = None
        self._end_requested = end_requested or threading.Event()
        self._apply = apply
        apply(record)
        self._seen_at = time.monotonic()

    def end_by(self, deadline: float) -> None:
        """End now, even where workers run.

        Args:
            deadline: the time of the monotonic clock, in seconds, until which remaining data is
                sent.
        """
        self._ends_at = deadline
        wake(self._folder)

    def forget(self) -> None:
        """Close the parent's port, in a forked child of the process that hosts the exporter."""
        if self._port is not None:
            self._port.forget()

    def run(self) -> str:
        """Send and serve until the server has ended.

        Returns:
            The reason: ``ended``, ``replaced`` (another process has the lock) or ``changed`` (the
            settings have changed; all threads have stopped, and no data is lost).

        Raises:
            RuntimeError: no thread can be started.
        """
        reason = ""
        wakeup = Wakeup(self._folder)
        try:
            try:
                self._start()
            except RuntimeError:
                # Python 3.12 starts no thread while it ends: this one sends the remaining data.
                if not self._is_ending(wakeup):
                    raise
                reason = ENDED
            with self._guard.at("exporter"):
                record_start(self._lock, 0)  # from here on its end is not early
            while not reason:
                if wakeup.wait(POLL_INTERVAL):
                    for each in self._signals:
                        each.wake()
                reason = self._reason_to_stop()
        finally:
            self._stop(reason)
            wakeup.close()
            if reason == ENDED:
                with self._guard.at("exporter"):
                    record_end(self._lock)
        return reason

    def _start(self) -> None:
        with self._guard.at("export"):
            self._make_signals()
        with self._guard.at("export"):
            self._make_pusher()
        # Not guarded: where no thread can be started, another exporter is needed.
        for each in filter(None, (*self._signals, self._pusher)):
            each.start()
        with self._guard.at("scrape"):
            self._page_server = PageServer(self._folder, self._page, self._guard)
            self._page_server.start()
        if self._settings.prometheus_endpoint:
            self._start_port(self._settings.prometheus_endpoint)

    def _is_ending(self, wakeup: Wakeup) -> bool:
        """Return whether the end has been requested, or is within a moment."""
        if not self._ends_at:
            wakeup.wait(MAX_END_WAIT)
        return bool(self._ends_at)

    def _start_port(self, address: tuple[str, int]) -> None:
        from avatar_telemetry.exporter.port import OpenPage, Port  # only needed for the port

        access = Access(self._settings.metrics_allow, self._settings.metrics_token)
        page = OpenPage(self._page, access, token=bool(self._settings.metrics_token))
        self._port = Port(address, page, self._guard, self._settings.port_variable)
        self._port.start()

    def _make_signals(self) -> None:
        settings = self._settings
        exported = ring_signals(settings)
        if not exported:
            return
        # Not at the top: without export these modules are not imported.
        from avatar_telemetry.exporter.clients import make_clients
        from avatar_telemetry.exporter.failures import failure_log
        from avatar_telemetry.exporter.rings import Rings
        from avatar_telemetry.exporter.signals import SignalExporter

        batch_size = settings.batch_size or DEFAULT_BATCH_SIZE
        sources: dict[Signal, _Source] = {
            "traces": _Source("spans", SPANS, batch_size, settings.schedule_delay),
            "logs": _Source(
                "logs", LOG_RECORDS, settings.log_batch_size, settings.log_schedule_delay
            ),
        }  # fmt: skip
        for signal in exported:
            source = sources[signal]
            thread = SignalExporter(
                source.ring,
                Rings(self._folder, source.ring, partial(self._guard.failed, "ring")),
                make_clients(settings, signal),
                batch_size=source.batch_size,
                delay=source.delay / 1000,
                timeout=settled(settings, signal).timeout,
                count=partial(self._counts.add, source.counter),
                log=failure_log(settings, signal, self._folder),
                guard=self._guard,
            )  # fmt: skip
            self._signals.append(thread)

    def _make_pusher(self) -> None:
        if not pushes_metrics(self._settings):
            return
        from avatar_telemetry.exporter.clients import make_clients
        from avatar_telemetry.exporter.continuity import Continuity
        from avatar_telemetry.exporter.failures import failure_log
        from avatar_telemetry.exporter.pusher import Pusher

        settings = self._settings
        continuity = Continuity(
            self._folder,
            int(counting_since(self._folder) * 1e9),
            delta=settings.temporality != "cumulative",
        )
        self._pusher = Pusher(
            settings, make_clients(settings, "metrics"), self._collector.collect, continuity,
            count=lambda result: self._counts.add(METRIC_PUSHES, result, 1),
            log=failure_log(settings, "metrics", self._folder), guard=self._guard,
        )  # fmt: skip

    def _reason_to_stop(self) -> str:
        if not is_at_path(self._lock, self._folder / EXPORTER_LOCK):
            return REPLACED
        now = time.monotonic()
        record = read_record(self._folder)
        if record is not None and record != self._record:
            if record.program != self._record.program:
                self._ends_at = record.ends_at
                return CHANGED
            self._record = record
            self._apply(record)
            self._collector.server = _server(record)
        self._ends_at = self._ends_at or self._record.ends_at
        if self._ends_at:
            return ENDED
        masters = living_masters(self._folder)
        with self._guard.at("exporter"):
            if _is_abandoned(self._record, masters):
                abandon_record(self._folder, self._record)
        with self._guard.at("store"):
            self._counts.check()
        is_ending = self._end_requested.is_set()
        try:
            if holders(self._folder) or (masters and not is_ending):
                self._seen_at = now
        except OSError:
            return REPLACED  # the directory was removed
        return ENDED if now - self._seen_at > (0.0 if is_ending else MAX_IDLE) else ""

    def _stop(self, reason: str) -> None:
        """Stop all threads, at the end of the server after they have sent the remaining data."""
        now = time.monotonic()
        deadline = self._ends_at or now + self._settings.flush_timeout
        if reason == CHANGED and self._ends_at:
            deadline = now + (deadline - now) / 2  # the next exporter has the same deadline
        drained_by = now + (deadline - now) * (DRAIN_SHARE if self._pusher else 1.0)
        if self._port is not None:
            self._port.stop()
        lost = reason == ENDED and self._is_last()
        for each in self._signals:
            each.stop(now if reason == REPLACED else drained_by, lost=lost)
            if reason == ENDED and each.ident is None:  # not started
                each.run()
        # A request in progress is not aborted: it would be sent twice.
        _join(self._signals, max(drained_by, now + MAX_REQUEST_WAIT))
        if self._pusher is not None:
            self._pusher.stop(deadline if reason == ENDED else now)
            if reason == ENDED and self._pusher.ident is None:
                self._pusher.run()
            _join([self._pusher], deadline)
        if self._page_server is not None:
            self._page_server.stop()
        if self._port is not None and reason == CHANGED:
            self._port.join(MAX_PORT_WAIT)
        self.close()

    def _is_last(self) -> bool:
        """Return whether the server has ended, and with it the rings."""
        others = set(living_masters(self._folder)) - {os.getpid()}
        return bool(self._record.ends_at) or not others

    def close(self) -> None:
        """Close the files, also of an exporter that has not started."""
        self._counts.close()


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for each in filter(threading.Thread.is_alive, threads):
        each.join(max(0.0, deadline - time.monotonic()))


def _is_abandoned(record: Record, masters: list[int]) -> bool:
    """Return whether the master of a record has ended while another one runs."""
    return bool(record.master and record.since and masters) and record.master not in masters


def _server(record: Record) -> Server | None:
    return Server(record.master, record.listeners) if record.master else None


def load(settings: Settings, *, everything: bool = False) -> None:
    """Import the modules that the settings need.

    Args:
        settings: the settings of the exporters.
        everything: true to import all modules, because the workers' user, which this process
            changes to, cannot read the installation after a reload.
    """
    if everything or settings.prometheus_endpoint:
        load_parser()
        from avatar_telemetry.exporter import port  # noqa: F401
    if everything or ring_signals(settings):
        from avatar_telemetry.exporter import clients, failures, rings, session, signals  # noqa: F401
    if everything or pushes_metrics(settings):
        from avatar_telemetry.exporter import pusher  # noqa: F401
    for name in LATE_IMPORTS if everything or sends(settings) else LATE_IMPORTS[:2]:
        importlib.import_module(name)
