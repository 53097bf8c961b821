"""Push the merged store over OTLP."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from opentelemetry import context
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.resources import Resource

from avatar_telemetry._base.guard import Guard
from avatar_telemetry._base.log import debug
from avatar_telemetry._base.version import VERSION
from avatar_telemetry.config.destinations import settled
from avatar_telemetry.config.resource import resource_attributes, sdk_attributes
from avatar_telemetry.config.settings import Settings
from avatar_telemetry.exporter.bridge import Batch, Bridge
from avatar_telemetry.exporter.clients import Client
from avatar_telemetry.exporter.continuity import Continuity
from avatar_telemetry.exporter.failures import FailureLog
from avatar_telemetry.exporter.signals import MAX_BACKOFF, MIN_BACKOFF, MIN_TIMEOUT
from avatar_telemetry.metrics.family import Family

RETRY_INTERVAL = 1.0
"""Seconds until a retry after a failed preparation."""


class Pusher(Thread):
    """A thread that reads and exports the merged store, at an interval and once at the end.

    Args:
        settings: the settings of the push.
        clients: the clients, each of which gets every batch.
        collect: a function that returns the families.
        continuity: the state of the previous exporter.
        count: a function that counts a push as ``exported`` or ``failed``.
        log: the log of failures.
        guard: the guard that counts internal errors.
    """

    def __init__(
        self,
        settings: Settings,
        clients: Sequence[Client],
        collect: Callable[[], list[Family]],
        continuity: Continuity,
        *,
        count: Callable[[str], None],
        log: FailureLog,
        guard: Guard,
    ) -> None:
        super().__init__(name="avatar-telemetry-metrics", daemon=True)
        self._settings = settings
        self._clients = clients
        self._collect = collect
        self._continuity = continuity
        self._count = count
        self._log = log
        self._guard = guard
        self._interval = settings.metric_interval / 1000
        self._timeout = settings.metric_timeout / 1000
        self._batch_timeout = settled(settings, "metrics").timeout
        self._bridge: Bridge | None = None
        self._stopped = Event()
        self._deadline = math.inf

    def run(self) -> None:
        # In the application's process, its instrumentation would record these requests.
        context.attach(context.set_value("suppress_instrumentation", True))
        while not self._stopped.is_set():
            with self._guard.at("push"):
                self._push_regularly()
            self._stopped.wait(RETRY_INTERVAL)
        if self._deadline > time.monotonic():
            with self._guard.at("push"):
                self.push()
        for client in self._clients:
            with self._guard.at("push"):
                client.close()

    def stop(self, deadline: float) -> None:
        """Request a last push and the end of the thread, without waiting for it.

        Args:
            deadline: the time of the monotonic clock, in seconds, after which nothing is sent; in
                the past for no last push.
        """
        self._deadline = deadline
        self._stopped.set()

    def _push_regularly(self) -> None:
        self._prepare()
        due = time.monotonic() + self._continuity.next_due(self._interval)
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._interval, time.monotonic())
            self.push()

    def push(self) -> bool:
        """Export all series once.

        Returns:
            True where all of them arrived.
        """
        bridge = self._prepare()
        deadline = min(time.monotonic() + self._timeout, self._deadline)
        if deadline - time.monotonic() <= MIN_TIMEOUT:
            return False  # no failure of a collector: nothing could be sent before the end
        arrived = False
        try:
            arrived = self._export_all(bridge, deadline)
        finally:
            self._count("exported" if arrived else "failed")
            self._continuity.save()
        return arrived

    def _prepare(self) -> Bridge:
        if self._bridge is None:
            self._continuity.load()
            # Not Resource.create(): detectors add attributes of this process, not of the host.
            resource = Resource({**sdk_attributes(), **resource_attributes(self._settings)})
            self._bridge = Bridge(resource, VERSION, self._continuity)
        return self._bridge

    def _export_all(self, bridge: Bridge, deadline: float) -> bool:
        now = time.time_ns()
        families = self._collect()
        self._continuity.reads(now)
        arrived, number = True, 0
        # To the end even after a failure: each series needs its start from this read.
        for batch in bridge.batches(families, now):
            arrived = arrived and self._export(batch, deadline)
            if arrived:
                self._continuity.sent(batch.values)
                number += len(batch.values)
        debug("%d series pushed%s", number, "" if arrived else ", then it failed")
        return arrived

    def _export(self, batch: Batch, deadline: float) -> bool:
        request = encode_metrics(batch.data).SerializeToString()
        deadline = min(deadline, time.monotonic() + self._batch_timeout)
        arrived = [
            self._send(client, request, len(batch.values), deadline) for client in self._clients
        ]
        return all(arrived)

    def _send(self, client: Client, request: bytes, number: int, deadline: float) -> bool:
        """Send a request until the client has accepted or rejected it; at the end, once."""
        backoff = MIN_BACKOFF
        while (left := deadline - time.monotonic()) > MIN_TIMEOUT:
            outcome = client.send(request, left)
            pause = max(outcome.wait, backoff * random.uniform(0.8, 1.2))  # noqa: S311
            is_final = outcome.accepted or not outcome.retry or self._stopped.is_set()
            if is_final or time.monotonic() + pause > deadline:
                self._log.outcome(outcome, number)
                return outcome.accepted
            self._stopped.wait(pause)
            backoff = min(2 * backoff, MAX_BACKOFF)
        return False
