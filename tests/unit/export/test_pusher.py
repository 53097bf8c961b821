"""The merged store as it is pushed: what arrives, what is sent again, and what is counted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData

from avatar_telemetry import Settings
from avatar_telemetry.export import pusher as pusher_module
from avatar_telemetry.export.continuity import FILE_NAME, Continuity
from avatar_telemetry.export.pusher import Pusher, push_last_by
from avatar_telemetry.guard import Guard
from avatar_telemetry.store.family import Family, family
from tests.support.waiting import DEADLINE, eventually

SINCE = 1_000
"""Start of the run, in nanoseconds since the epoch."""


class Store:
    """A merged store of one counter, all of whose series have the same value."""

    def __init__(self) -> None:
        self.series = 1
        self.value = 1.0
        self.broken = False

    def collect(self) -> list[Family]:
        if self.broken:
            raise OSError("the folder is gone")
        samples = [((("path", str(each)),), self.value) for each in range(self.series)]
        return [family("requests", "counter", "", samples)]


class Exporter:
    """An exporter that keeps what it is given."""

    def __init__(self) -> None:
        self.accepts = True
        self.batches: list[list[Any]] = []
        self.traced: list[bool] = []
        self.resource: dict[str, Any] = {}
        self.before: Callable[[], object] = lambda: None

    def export(self, data: MetricsData) -> MetricExportResult:
        self.before()
        self.traced.append(is_instrumentation_enabled())
        self.resource = dict(data.resource_metrics[0].resource.attributes)
        (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
        self.batches.append(list(metric.data.data_points))
        return MetricExportResult.SUCCESS if self.accepts else MetricExportResult.FAILURE

    def values(self) -> list[float]:
        """The value of the first series in each batch."""
        return [points[0].value for points in self.batches]


class Host:
    """A host whose leaders push one store with the same exporters."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store()
        self.exporter = Exporter()
        self.exporters = [self.exporter]
        self.results: list[str] = []

    def leader(
        self, *, delta: bool = False, interval: int = 3_600_000, timeout: float | None = None
    ) -> Pusher:
        """The next process that pushes."""
        settings = Settings.from_env({"OTEL_METRIC_EXPORT_INTERVAL": str(interval)})
        continuity = Continuity(self.folder, SINCE, delta=delta)
        return Pusher(settings, self.store, continuity, self.results.append, timeout)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(pusher_module, "metric_exporters", lambda *args: host.exporters)
    return host


def test_whole_store_arrives_and_is_counted_once(host: Host) -> None:
    """All series arrive, however many batches they need, and the push counts once."""
    host.store.series = 1_201
    assert host.leader().push()
    assert [len(batch) for batch in host.exporter.batches] == [500, 500, 201]
    assert host.results == ["exported"]


def test_the_push_names_the_sdk(host: Host) -> None:
    """A push has the attributes of the SDK, as spans have, and those of the host."""
    host.leader().push()
    assert host.exporter.resource["telemetry.sdk.language"] == "python"
    assert host.exporter.resource["telemetry.sdk.name"] == "opentelemetry"
    assert host.exporter.resource["service.instance.id"]


def test_arrived_increments_are_not_sent_again(host: Host) -> None:
    """A new leader sends only what was counted since the last push that arrived."""
    host.leader(delta=True).push()
    host.store.value = 4.0
    host.leader(delta=True).push()
    assert host.exporter.values() == [1.0, 3.0]


def test_refused_increments_are_sent_with_the_next(host: Host) -> None:
    """A refused push counts as failed, and nothing of it is lost."""
    pusher = host.leader(delta=True)
    host.exporter.accepts = False
    assert not pusher.push()
    host.exporter.accepts = True
    host.store.value = 4.0
    assert pusher.push()
    assert host.exporter.values() == [1.0, 4.0]
    assert host.results == ["failed", "exported"]


def test_nothing_is_sent_after_a_refused_batch(host: Host) -> None:
    """After a batch that did not arrive the collector is left alone until the next push."""
    host.store.series = 1_201
    host.exporter.accepts = False
    assert not host.leader().push()
    assert len(host.exporter.batches) == 1


def test_series_of_a_failed_push_have_started_before_it(host: Host) -> None:
    """A series starts before the push that first found it, also where its batch was not sent."""
    pusher = host.leader()
    host.store.series = 501
    host.exporter.accepts = False
    pusher.push()
    host.exporter.accepts = True
    pusher.push()
    assert {point.start_time_unix_nano for batch in host.exporter.batches for point in batch} == {
        SINCE
    }


def test_new_series_starts_at_the_read_before(host: Host) -> None:
    """A series that comes later starts when the store was last read without it."""
    pusher = host.leader()
    pusher.push()
    host.store.series = 2
    pusher.push()
    (first,), (_, new) = host.exporter.batches
    assert new.start_time_unix_nano == first.time_unix_nano


def test_push_has_its_time(host: Host) -> None:
    """A push whose time is over begins no further batch, and counts as failed."""
    assert not host.leader(timeout=0.0).push()
    assert host.exporter.batches == []
    assert host.results == ["failed"]


def test_every_exporter_must_accept(host: Host) -> None:
    """With two exporters a push fails where one of them fails; both are given the data."""
    refusing = Exporter()
    refusing.accepts = False
    host.exporters = [host.exporter, refusing]
    assert not host.leader().push()
    assert len(host.exporter.batches) == len(refusing.batches) == 1


def test_unreadable_store_is_a_failed_push(host: Host) -> None:
    """The error passes to the caller's guard; the push is counted and its time noted."""
    pusher = host.leader()
    pusher.push()
    os.utime(host.folder / FILE_NAME, (1, 1))
    host.store.broken = True
    with pytest.raises(OSError, match="gone"):
        pusher.push()
    assert host.results == ["exported", "failed"]
    assert (host.folder / FILE_NAME).stat().st_mtime > 1


def test_pushes_are_not_traced(host: Host) -> None:
    """An instrumentation of the application's makes no span of a push."""
    host.leader().push()
    assert host.exporter.traced == [False]
    assert is_instrumentation_enabled()


def test_work_pushes_until_stopped(host: Host) -> None:
    """The first leader pushes at once, then every interval; stopping it ends its work."""
    stopped = threading.Event()
    thread = threading.Thread(target=host.leader(interval=100).work, args=(stopped,))
    thread.start()
    try:
        eventually(lambda: len(host.exporter.batches) >= 3, "the third push")
    finally:
        stopped.set()
        thread.join(DEADLINE)
    assert not thread.is_alive()


def test_successor_waits_for_the_rest_of_the_interval(host: Host) -> None:
    """A new leader does not repeat the push that the leader before has just made."""

    class Stopped(threading.Event):
        """Notes what is waited for, and is set at once."""

        def wait(self, timeout: float | None = None) -> bool:
            waits.append(timeout or 0.0)
            return True

    waits: list[float] = []
    host.leader().push()
    host.leader().work(Stopped())
    assert len(host.exporter.batches) == 1
    assert waits[0] > 60  # of an hour, however slow the machine is


def test_last_push_sends_what_was_counted_since(host: Host) -> None:
    """A process with no successor pushes once more."""
    pusher = host.leader(delta=True)
    pusher.push()
    host.store.value = 3.0
    pusher.finish()
    assert host.exporter.values() == [1.0, 2.0]


def test_end_waits_for_increments_on_the_way(host: Host) -> None:
    """A process that ends waits until increments that are being sent are noted."""
    begun, answered = threading.Event(), threading.Event()
    host.exporter.before = lambda: (begun.set(), answered.wait(DEADLINE))
    pusher = host.leader(delta=True)
    thread = threading.Thread(target=pusher.push)
    thread.start()
    assert begun.wait(DEADLINE)
    pusher.settle(time.monotonic())  # no longer than until its deadline
    assert host.results == []
    answer = threading.Timer(0.05, answered.set)
    answer.start()
    pusher.settle(time.monotonic() + DEADLINE)
    assert host.results == ["exported"]
    thread.join(DEADLINE)
    answer.join()


def test_last_push_reports_its_failure(host: Host) -> None:
    """The last push of an ending process fails into the guard, not into the exit."""
    failures: list[str] = []
    host.store.broken = True
    push_last_by(time.monotonic() + DEADLINE, host.leader(), Guard(failures.append))
    assert failures == ["leader"]


def test_last_push_ends_at_its_deadline(host: Host) -> None:
    """With a collector that does not answer the exit is not held up."""
    answered = threading.Event()
    host.exporter.before = lambda: answered.wait(DEADLINE)
    push_last_by(time.monotonic(), host.leader(), Guard())
    assert host.results == []
    answered.set()
    eventually(lambda: host.results == ["exported"], "the end of the push")
