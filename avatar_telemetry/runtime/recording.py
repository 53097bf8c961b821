"""Record the spans and log records of a worker: its rings, tracer provider and log handler.

Nothing is sent here; the exporter reads the rings.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from opentelemetry.sdk.resources import Resource

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import debug
from avatar_telemetry.config.resource import resource_attributes, worker_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.ring import LOGS, RingWriter
from avatar_telemetry.exporter.wake import Waker
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.logs.export import Encoder, ExportHandler
from avatar_telemetry.metrics.folder import RuntimeDir
from avatar_telemetry.metrics.instruments import LOG_RECORDS, SPANS, Instrument
from avatar_telemetry.profiles.model import Profile
from avatar_telemetry.runtime.tracing import Pipeline
from avatar_telemetry.tracing.budget import Budget
from avatar_telemetry.tracing.encoder import encode_resource_entry
from avatar_telemetry.tracing.writer import FrameTarget, Put, SpanWriter
from avatar_telemetry.wsgi.request import sent_by_client
from avatar_telemetry.wsgi.request_spans import RequestTracing

UNUSED_KEY = b"unused"
"""The key of the hashes in log records, which have none."""
NAMES = {SPANS.name: "spans", LOG_RECORDS.name: "log records"}
OPEN_INTERVAL = 1.0
"""Seconds between two attempts to open a ring, such as in a full file system."""
FLUSH_POLL = 0.005
"""Seconds between two checks whether a flush is done."""


class SlotRing:
    """The ring of one signal, opened on demand, and again if its file is gone.

    Args:
        make: a function that opens the ring of this process.
        dropped: a function that counts items that are not written.
        guard: the guard that reports internal failures.
        clock: a function that returns monotonic seconds.

    Attributes:
        put: a function that writes a frame, or counts its items as dropped. It never waits for a
            reader and never raises, and is replaced when the ring is opened or closed.
    """

    def __init__(
        self,
        make: Callable[[], RingWriter],
        dropped: Callable[[int], None],
        guard: Guard,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make = make
        self._dropped = dropped
        self._guard = guard
        self._ring: RingWriter | None = None
        self._opening = threading.RLock()
        self._clock = clock
        self._open_at = 0.0
        self.put: Put = self._open_and_put

    def _open_and_put(self, kind: int, items: int, payload: bytes) -> bool:
        ring = self._ring
        if ring is None and self._clock() >= self._open_at:
            self._open_at = self._clock() + OPEN_INTERVAL
            ring = self.open()
        if ring is not None:
            return ring.put(kind, items, payload)
        self._dropped(items)
        return False

    def open(self) -> RingWriter | None:
        """Open the ring, if it is not open; return ``None`` if it cannot be opened."""
        with self._guard.at("ring"), self._opening:
            if self._ring is None:
                self._ring = self._make()
                self.put = self._ring.put
        return self._ring

    def check(self) -> None:
        """Open a new ring if the file of this one was removed or set aside."""
        ring = self._ring
        if ring is not None and not ring.is_in_place():
            self._ring, self.put = None, self._open_and_put
            self.open()
            ring.close()

    def is_read(self) -> Callable[[], bool]:
        """Return a function that returns whether the present contents of the ring were read."""
        ring = self._ring
        if ring is None:
            return lambda: True
        target = ring.written
        return lambda: ring.read >= target

    def forget(self) -> None:
        """Detach from the parent's ring and lock, in a forked child."""
        self._opening = threading.RLock()
        self._open_at = 0.0
        ring, self._ring = self._ring, None
        self.put = self._open_and_put
        if ring is not None:
            ring.detach()


class Recording:
    """The rings and pipelines of a worker. Create it in the worker, after the fork.

    Args:
        settings: the settings of traces and logs.
        folder: the runtime directory.
        claim: a function that returns the slot of this process, and claims one if it has none.
        count: a function that counts items by instrument, amount and result.
        guard: the guard that reports internal failures.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RuntimeDir,
        claim: Callable[[], int],
        count: Callable[[Instrument, float, str], None],
        guard: Guard,
    ) -> None:
        self._settings = settings
        self._folder = folder.path
        self._claim = claim
        self._guard = guard
        self._waker = Waker(folder.path)
        self._rings: list[SlotRing] = []
        self._pipeline: Pipeline | None = None
        self._logs: ExportHandler | None = None
        self._budget = Budget(folder.path, lambda: self._claim(), guard)

        def dropped(instrument: Instrument, items: int) -> None:
            debug("%s dropped: %d", NAMES[instrument.name], items)
            with guard.at("ring"):
                count(instrument, float(items), "dropped")

        with guard.at("export"):
            ring: FrameTarget = _Discard()
            if settings.traces_exporters != ("none",):
                ring = self._ring("spans", settings.queue_size, partial(dropped, SPANS))
            sink = SpanWriter(ring)
            key = settings.hash_key.encode() or folder.key
            # Without exported spans, no rule drops the log records of a request.
            rules = settings.keep if settings.traces_exporters != ("none",) else None
            self._pipeline = Pipeline(
                replace(settings, keep=rules),
                self._first_resource(),
                key,
                guard,
                sink,
                self.flush,
                self._budget,
            )
            self._pipeline.publish()
        if settings.logs_exporters != ("none",):
            with guard.at("logs"):
                logs = self._ring("logs", settings.log_queue_size, partial(dropped, LOG_RECORDS))
                encode = Encoder(Privacy(settings.privacy, UNUSED_KEY, sent=sent_by_client)).encode
                self._logs = ExportHandler(encode, lambda data: logs.put(LOGS, 1, data), guard)

    def tracing(self, profile: Profile) -> RequestTracing | None:
        """Return the request tracing of an application; ``None`` if spans are not recorded."""
        if self._pipeline is not None:
            with self._guard.at("spans"):
                return self._pipeline.tracing(profile)
        return None

    def take_logs(self) -> None:
        """Start to export log records, after the application has configured its logging:
        ``basicConfig`` does nothing if the root logger has a handler."""
        if self._logs is not None:
            self._logs.attach()

    def flush(self, deadline: float) -> bool:
        """Wait until the exporter has read the contents of the rings.

        Args:
            deadline: the time of ``time.monotonic()``.

        Returns:
            Whether the contents were read by the deadline.
        """
        read = [ring.is_read() for ring in self._rings]
        while not all(is_read() for is_read in read):
            if time.monotonic() >= deadline:
                return False
            self._waker()
            time.sleep(FLUSH_POLL)
        return True

    def check(self) -> None:
        """Open new files for those that were removed or set aside."""
        self._budget.check()
        for ring in self._rings:
            ring.check()

    def stop(self, deadline: float) -> None:
        """Shut down the user's span processors by a deadline, in a process that ends. The contents
        of the rings remain for the exporter."""
        if self._logs is not None:
            self._logs.detach()
        if self._pipeline is not None:
            self._pipeline.stop(deadline)

    def forget(self, claim: Callable[[], int]) -> None:
        """Detach from the parent's rings in a forked child, which opens its own ones on demand.

        Args:
            claim: the function for the slot of the child.
        """
        self._claim = claim
        for ring in self._rings:
            ring.forget()
        self._budget.forget()
        if self._pipeline is not None:
            self._pipeline.renew()

    def _ring(self, signal: str, max_items: int, dropped: Callable[[int], None]) -> SlotRing:
        def make() -> RingWriter:
            resource = encode_resource_entry(self._resource())
            self._waker.open(self._folder)
            return RingWriter(
                self._folder, self._claim(), self._settings.ring_size, max_items,
                resource=resource, wake=self._waker, dropped=dropped, signal=signal,
                failed=partial(self._guard.failed, "ring"),
            )  # fmt: skip

        ring = SlotRing(make, dropped, self._guard)
        ring.open()
        self._rings.append(ring)
        return ring

    def _first_resource(self) -> Resource:
        """Return the resource for the application; without a slot, such as on a full file system,
        that of the host. The ring has the resource of its slot."""
        try:
            return self._resource()
        except OSError:
            return _of_process(resource_attributes(self._settings))

    def _resource(self) -> Resource:
        return _of_process(worker_attributes(self._settings, self._claim()))


def _of_process(attributes: Mapping[str, str]) -> Resource:
    return Resource.create({"process.pid": os.getpid(), **attributes})


class _Discard:
    """A target that drops frames, for spans without an exporter."""

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        return False
