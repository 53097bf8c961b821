"""The exporter: all threads that send and serve for a host, and the loop that watches over them.

It runs in a process of its own (:mod:`avatar_telemetry.exporter.process`) or, where none can be
had, in a thread of one worker. Whoever holds the lock of ``exporter.lock`` runs it.
"""

from __future__ import annotations

import importlib
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
from avatar_telemetry.exporter.record import Record, give_up_record, note_start, read_record
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
"""Seconds between two looks at the runtime folder."""
IDLE = 3.0
"""Seconds without any worker after which the server has ended: a reload may replace all at once."""
DRAIN_SHARE = 0.7
"""Share of the time at the end that spans and log records have; the last push has the rest."""
UNDER_WAY = 0.2
"""Seconds that a request to the collector may take that is under way at the end of a worker."""
MAX_PORT_WAIT = 2.0
"""Seconds for the separate port to be closed, before the exporter of new settings binds it."""
BATCH = 512
"""Spans of a batch (OpenTelemetry specification, ``OTEL_BSP_MAX_EXPORT_BATCH_SIZE``)."""

LATE = (
    "encodings.ascii",
    "encodings.idna",
    "encodings.latin_1",
    "netrc",
    "google.rpc.error_details_pb2",
)
"""Imported by libraries with their first connection or request."""

ENDED, REPLACED, CHANGED = "ended", "replaced", "changed"


class _Source(NamedTuple):
    """The rings of a signal.

    Args:
        ring: ``spans`` or ``logs``.
        counter: counts their items by result.
        batch_size: items that are sent at once.
        delay: milliseconds that they may wait for a batch to fill.
    """

    ring: str
    counter: Instrument
    batch_size: int
    delay: int


class Exporter:
    """Everything that one process per host does.

    Args:
        folder: the runtime folder.
        lock: descriptor of the lock on ``exporter.lock``; it stays the caller's.
        settings: of the exporters and of the separate port.
        record: whom it serves, as the runtime folder says.
        registry: metrics that live in this process alone, to stand on the page.
        end_requested: set where the exporter is to end as soon as no worker is there.
        apply: called with the record at the start and whenever it changes.
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
        """End now, whether workers are there or not.

        Args:
            deadline: seconds of the monotonic clock, until which what is left is sent.
        """
        self._ends_at = deadline
        wake(self._folder)

    def forget(self) -> None:
        """In a forked child of the process that hosts it: the port is the parent's."""
        if self._port is not None:
            self._port.forget()

    def run(self) -> str:
        """Send and serve until the server has ended.

        Returns:
            Why it ended: ``ended``, ``replaced`` (another process has the lock), ``changed`` (the
            settings did; what was running has stopped, nothing is lost).

        Raises:
            RuntimeError: no thread can be started.
        """
        reason = ""
        wakeup = Wakeup(self._folder)
        try:
            self._start()
            with self._guard.at("exporter"):
                note_start(self._lock, 0)  # that far it is no early end
            while not reason:
                if wakeup.wait(POLL_INTERVAL):
                    for each in self._signals:
                        each.wake()
                reason = self._reason_to_stop()
        finally:
            self._stop(reason)
            wakeup.close()
        return reason

    def _start(self) -> None:
        with self._guard.at("scrape"):
            self._page_server = PageServer(self._folder, self._page, self._guard)
            self._page_server.start()
        if self._settings.prometheus_endpoint:
            self._start_port(self._settings.prometheus_endpoint)
        with self._guard.at("export"):
            self._make_signals()
        with self._guard.at("export"):
            self._make_pusher()
        # Not guarded: another exporter does it where threads can be started.
        for each in filter(None, (*self._signals, self._pusher)):
            each.start()

    def _start_port(self, address: tuple[str, int]) -> None:
        from avatar_telemetry.exporter.port import OpenPage, Port  # with a port alone

        access = Access(self._settings.metrics_allow, self._settings.metrics_token)
        page = OpenPage(self._page, access, token=bool(self._settings.metrics_token))
        self._port = Port(address, page, self._guard)
        self._port.start()

    def _make_signals(self) -> None:
        settings = self._settings
        exported = ring_signals(settings)
        if not exported:
            return
        # Not at the top: with the export off nothing that sends is imported.
        from avatar_telemetry.exporter.clients import make_clients
        from avatar_telemetry.exporter.failures import failure_log
        from avatar_telemetry.exporter.rings import Rings
        from avatar_telemetry.exporter.signals import SignalExporter

        batch_size = settings.batch_size or BATCH
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
                log=failure_log(settings, signal),
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
            log=failure_log(settings, "metrics"), guard=self._guard,
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
        with self._guard.at("exporter"):
            if _is_given_up(self._record, living_masters(self._folder)):
                give_up_record(self._folder, self._record)
        with self._guard.at("store"):
            self._counts.check()
        try:
            if holders(self._folder):
                self._seen_at = now
        except OSError:
            return REPLACED  # the folder was removed
        idle = now - self._seen_at
        return ENDED if idle > (0.0 if self._end_requested.is_set() else IDLE) else ""

    def _stop(self, reason: str) -> None:
        """Stop all threads: at the end of the server after what is left was sent."""
        now = time.monotonic()
        deadline = self._ends_at or now + self._settings.flush_timeout
        if reason == CHANGED and self._ends_at:
            deadline = now + (deadline - now) / 2  # the exporter of the new settings ends by it
        drained_by = now + (deadline - now) * (DRAIN_SHARE if self._pusher else 1.0)
        if self._port is not None:
            self._port.stop()
        for each in self._signals:
            each.stop(now if reason == REPLACED else drained_by)
        # What is under way is not cut off: it would be sent twice.
        _join(self._signals, max(drained_by, now + UNDER_WAY))
        if self._pusher is not None:
            self._pusher.stop(deadline if reason == ENDED else now)
            _join([self._pusher], deadline)
        if self._page_server is not None:
            self._page_server.stop()
        if self._port is not None and reason == CHANGED:
            self._port.join(MAX_PORT_WAIT)
        self.close()

    def close(self) -> None:
        """Close the files, of an exporter that has not started, too."""
        self._counts.close()


def _join(threads: Iterable[threading.Thread], deadline: float) -> None:
    for each in filter(threading.Thread.is_alive, threads):
        each.join(max(0.0, deadline - time.monotonic()))


def _is_given_up(record: Record, masters: list[int]) -> bool:
    """Return whether the master of a record has ended, and another one goes on."""
    return bool(record.master and record.since and masters) and record.master not in masters


def _server(record: Record) -> Server | None:
    return Server(record.master, record.listeners) if record.master else None


def load(settings: Settings, *, everything: bool = False) -> None:
    """Import what the settings need.

    Args:
        settings: of the exporters.
        everything: whether to import what another reload may need, too: the workers' user, whom
            this process becomes, cannot read the installation.
    """
    load_parser()
    if everything or settings.prometheus_endpoint:
        from avatar_telemetry.exporter import port  # noqa: F401
    if everything or ring_signals(settings):
        from avatar_telemetry.exporter import clients, failures, rings, session, signals  # noqa: F401
    if everything or pushes_metrics(settings):
        from avatar_telemetry.exporter import pusher  # noqa: F401
    for name in LATE if everything or sends(settings) else LATE[:2]:
        importlib.import_module(name)
