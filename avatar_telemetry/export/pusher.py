"""Pushes the merged store over OTLP: the leader's duty, every interval and once at the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Protocol

from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult
from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.resource import resource_attributes, sdk_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export.bridge import Batch, Bridge
from avatar_telemetry.export.continuity import Continuity
from avatar_telemetry.export.exporters import metric_exporters
from avatar_telemetry.guard import Guard
from avatar_telemetry.log import debug
from avatar_telemetry.scrape.collector import VERSION
from avatar_telemetry.store.family import Family

PAUSE = 0.001
"""Seconds between two batches in which requests have the interpreter for themselves."""


class Source(Protocol):
    """Gives the families that are pushed."""

    def collect(self) -> list[Family]: ...


class Pusher:
    """Reads the merged store and exports it. Used by one thread at a time.

    Args:
        settings: of the exporters.
        source: what is pushed.
        continuity: what the leader before has left.
        count: told ``exported`` or ``failed`` after each push.
        timeout: seconds that a push may take in all.
    """

    def __init__(
        self,
        settings: Settings,
        source: Source,
        continuity: Continuity,
        count: Callable[[str], None] = lambda result: None,
        timeout: float | None = None,
    ) -> None:
        self._settings = settings
        self._source = source
        self._continuity = continuity
        self._count = count
        self._interval = settings.metric_interval / 1000
        self._timeout = settings.metric_timeout / 1000 if timeout is None else timeout
        self._exporters: list[MetricExporter] = []
        self._bridge: Bridge | None = None
        self._pushing = threading.Lock()

    def work(self, stopped: Event) -> None:
        """Push every interval, counted from the last push of the leader before."""
        self._prepare()
        due = time.monotonic() + self._continuity.next_due(self._interval)
        while not stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._interval, time.monotonic())
            self.push()

    def finish(self) -> None:
        """The last push."""
        self.push()

    def settle(self, deadline: float) -> None:
        """Increments that arrived must be noted, or the next leader sends them again."""
        if self._continuity.delta:
            self._pushing.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def forget(self) -> None:
        """In a forked child: nothing is held but connections, which it never uses."""

    def push(self) -> bool:
        """Export everything once.

        Returns:
            Whether all of it arrived.
        """
        with self._pushing:
            bridge = self._prepare()
            deadline = time.monotonic() + self._timeout
            arrived = False
            try:
                arrived = self._export_all(bridge, deadline)
            finally:
                self._count("exported" if arrived else "failed")
                self._continuity.save()
        return arrived

    def _prepare(self) -> Bridge:
        if self._bridge is None:
            self._exporters = metric_exporters(self._settings, self._timeout)
            self._continuity.load()
            # Not Resource.create(): what detectors find out does not belong to the host as a whole.
            resource = Resource({**sdk_attributes(), **resource_attributes(self._settings)})
            self._bridge = Bridge(resource, VERSION, self._continuity)
        return self._bridge

    def _export_all(self, bridge: Bridge, deadline: float) -> bool:
        now = time.time_ns()
        families = self._source.collect()
        self._continuity.reads(now)
        arrived, number = True, 0
        # To the end even where one does not arrive: all that is there now has begun before.
        for batch in bridge.batches(families, now):
            arrived = arrived and time.monotonic() < deadline and self._export(batch)
            if arrived:
                self._continuity.sent(batch.values)
                number += len(batch.values)
            time.sleep(PAUSE)
        debug("%d series pushed%s", number, "" if arrived else ", then it failed")
        return arrived

    def _export(self, batch: Batch) -> bool:
        # Not at the top: it imports what reads OTEL_PROPAGATORS, and raises where we would tell.
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            results = [exporter.export(batch.data) for exporter in self._exporters]
        return all(result is MetricExportResult.SUCCESS for result in results)


def push_last_by(deadline: float, pusher: Pusher, guard: Guard) -> None:
    """Push once more, from a process that ends; returns at the deadline whatever happens.

    Args:
        deadline: of the monotonic clock.
        pusher: that no other thread uses.
        guard: told of failures.
    """

    def push() -> None:
        with guard.at("leader"):
            pusher.push()

    thread = Thread(target=push, name="avatar-telemetry-last-push", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
