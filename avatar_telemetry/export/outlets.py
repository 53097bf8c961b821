"""All that leaves a worker by itself: spans, log records, and what the leader says for the host."""

from __future__ import annotations

import os

from opentelemetry.sdk.resources import Resource

from avatar_telemetry.config.resource import worker_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.export import speaker
from avatar_telemetry.export.leader import Leader
from avatar_telemetry.export.throttle import install_throttle
from avatar_telemetry.guard import Guard
from avatar_telemetry.log_records.pipeline import LogPipeline
from avatar_telemetry.profile import Profile
from avatar_telemetry.scrape.collector import Collector
from avatar_telemetry.scrape.exposition import MetricsPage
from avatar_telemetry.store.folder import RuntimeFolder
from avatar_telemetry.store.instruments import (
    LOG_RECORDS,
    SPANS,
)
from avatar_telemetry.store.metrics import Metrics
from avatar_telemetry.tracing.pipeline import Pipeline
from avatar_telemetry.wsgi.request_spans import RequestTracing


class Outlets:
    """Makes and starts what the settings ask for. Nothing of it raises.

    Args:
        settings: of the exporters and of the separate port.
        folder: the runtime folder.
        slot: of this worker.
        metrics: count what leaves.
        guard: told of failures.
    """

    def __init__(
        self,
        settings: Settings,
        folder: RuntimeFolder,
        slot: int,
        metrics: Metrics,
        guard: Guard,
    ) -> None:
        self._settings = settings
        self._folder = folder
        self._slot = slot
        self._metrics = metrics
        self._guard = guard
        self._leader: Leader | None = None
        self._pipeline: Pipeline | None = None
        self._logs: LogPipeline | None = None
        if settings.export_enabled:
            with guard.at("export"):
                install_throttle(folder.path, settings)
            with guard.at("export"):
                self._start_pipeline()
        if settings.export_enabled and "otlp" in settings.logs_exporters:
            with guard.at("logs"):
                self._logs = LogPipeline(settings, self._resource(), guard, self._count_records)

    def lead(self, collector: Collector, page: MetricsPage) -> None:
        """Wait to be the host's leader.

        Args:
            collector: what is pushed.
            page: what is served on the separate port.
        """
        self._leader = speaker.make_leader(
            self._folder, self._settings, collector, page, self._guard, self._metrics.count
        )
        if self._leader is not None:
            self._leader.start()

    def tracing(self, profile: Profile) -> RequestTracing | None:
        """What requests begin their spans with, ``None`` where spans are not recorded."""
        if self._pipeline is not None:
            with self._guard.at("spans"):
                return self._pipeline.tracing(profile)
        return None

    def take_logs(self) -> None:
        """The application has configured its logging: from now on its records are exported."""
        if self._logs is not None:
            self._logs.attach()

    def stop(self, deadline: float, *, alone: bool) -> None:
        """Send what is there; returns by the deadline.

        Args:
            deadline: of ``time.monotonic()``.
            alone: there is nobody who leads after this process, so that it has the last word.
        """
        if self._leader is not None:
            self._leader.stop(finish=alone)
        if self._logs is not None:
            self._logs.begin_stop()
        if self._pipeline is not None:
            self._pipeline.stop(deadline)
        if self._logs is not None:
            self._logs.stop(deadline)
        if self._leader is not None:
            self._leader.wait(deadline)

    def forget(self) -> None:
        """In a child that the application forked: threads, lock and port are the parent's. Spans
        that the child makes are sent by itself."""
        if self._leader is not None:
            self._leader.forget()
        if self._pipeline is not None:
            self._pipeline.renew()
        if self._logs is not None:
            self._logs.renew()

    def _start_pipeline(self) -> None:
        resource = self._resource()
        key = self._settings.hash_key.encode() or self._folder.key
        self._pipeline = Pipeline(self._settings, resource, key, self._guard, self._count_spans)
        self._pipeline.publish()

    def _resource(self) -> Resource:
        return Resource.create(
            {"process.pid": os.getpid(), **worker_attributes(self._settings, self._slot)}
        )

    def _count_records(self, result: str, number: int) -> None:
        self._metrics.add(LOG_RECORDS, float(number), result)

    def _count_spans(self, result: str, number: int) -> None:
        self._metrics.add(SPANS, float(number), result)
