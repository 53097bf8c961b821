"""What a worker records spans and log records with: its ring, its tracer provider, its log handler.

Nothing here sends: the exporter reads the ring.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.resource import worker_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.ring import LOGS, RingWriter
from avatar_telemetry.exporter.wake import Waker
from avatar_telemetry.guard import Guard
from avatar_telemetry.log_records.pipeline import LogPipeline
from avatar_telemetry.profile import Profile
from avatar_telemetry.store.folder import RuntimeFolder
from avatar_telemetry.store.instruments import LOG_RECORDS, SPANS
from avatar_telemetry.store.metrics import Metrics
from avatar_telemetry.tracing.encoder import encode_resource_entry
from avatar_telemetry.tracing.pipeline import Pipeline
from avatar_telemetry.tracing.writer import SpanWriter
from avatar_telemetry.wsgi.request_spans import RequestTracing

FLUSH_POLL = 0.005
"""Seconds between two looks whether a flush is done."""


class Recording:
    """Makes what the settings ask for. Make it in the worker, after the fork.

    Args:
        settings: of traces and logs.
        folder: the runtime folder.
        claim: returns the slot of this process, which it takes where it has none.
        metrics: count what is dropped.
        guard: counts failures of ours.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RuntimeFolder,
        claim: Callable[[], int],
        metrics: Metrics,
        guard: Guard,
    ) -> None:
        self._settings = settings
        self._folder = folder.path
        self._claim = claim
        self._metrics = metrics
        self._guard = guard
        self._waker = Waker(folder.path)
        self._ring: RingWriter | None = None
        self._opening = threading.RLock()
        with guard.at("ring"):
            self._open_ring()
        self._pipeline: Pipeline | None = None
        self._logs: LogPipeline | None = None
        with guard.at("export"):
            key = settings.hash_key.encode() or folder.key
            sink = SpanWriter(self._put) if settings.traces_exporters != ("none",) else None
            self._pipeline = Pipeline(settings, self._resource, key, guard, sink, self.flush)
            self._pipeline.publish()
        if settings.logs_exporters != ("none",):
            with guard.at("logs"):
                self._logs = LogPipeline(settings, self._put, guard)

    def tracing(self, profile: Profile) -> RequestTracing | None:
        """Return what requests begin their spans with, ``None`` where spans are not recorded."""
        if self._pipeline is not None:
            with self._guard.at("spans"):
                return self._pipeline.tracing(profile)
        return None

    def take_logs(self) -> None:
        """Export log records from now on: the application has configured its logging."""
        if self._logs is not None:
            self._logs.attach()

    def flush(self, deadline: float) -> bool:
        """Wait until the exporter has taken what is in the ring.

        Args:
            deadline: seconds of the monotonic clock.

        Returns:
            Whether it had by then.
        """
        ring = self._ring
        target = ring.written if ring is not None else 0
        while ring is not None and ring.read < target:
            self._waker()
            if time.monotonic() >= deadline:
                return False
            time.sleep(FLUSH_POLL)
        return True

    def check(self) -> None:
        """Open the ring anew where it is no longer in its folder, or was set aside.

        Raises:
            OSError: it cannot be made.
        """
        ring = self._ring
        if ring is not None and not ring.is_in_place():
            self._waker.open(self._folder)
            self._open_ring()
            ring.close()

    def stop(self, deadline: float) -> None:
        """In a process that ends: shut the user's span processors down by the deadline. What is in
        the ring stays there for the exporter."""
        if self._logs is not None:
            self._logs.detach()
        if self._pipeline is not None:
            self._pipeline.stop(deadline)

    def forget(self) -> None:
        """In a forked child: the ring is the parent's. One of its own is made for its first span."""
        self._opening = threading.RLock()
        if self._ring is not None:
            self._ring.detach()
            self._ring = None
        if self._logs is not None:
            self._logs.detach()
        if self._pipeline is not None:
            self._pipeline.renew()

    def _put(self, kind: int, items: int, payload: bytes) -> bool:
        ring = self._ring or self._late_ring()
        stored = ring is not None and ring.put(kind, items, payload)
        if not stored:
            self._metrics.add(LOG_RECORDS if kind == LOGS else SPANS, float(items), "dropped")
        return stored

    def _late_ring(self) -> RingWriter | None:
        with self._guard.at("ring"), self._opening:
            if self._ring is None:
                self._open_ring()
        return self._ring

    def _open_ring(self) -> None:
        settings, slot = self._settings, self._claim()
        resource = Resource.create(
            {"process.pid": os.getpid(), **worker_attributes(settings, slot)}
        )
        self._ring = RingWriter(
            self._folder, slot, settings.ring_size,
            max(settings.queue_size, settings.log_queue_size),
            resource=encode_resource_entry(resource),
            lock=threading.Lock(),
            wake=self._waker,
        )  # fmt: skip
