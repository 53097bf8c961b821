"""The merged store as it is pushed: what arrives, what is sent again, and what is counted."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from avatar_telemetry import Settings
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter import pusher as pusher_module
from avatar_telemetry.exporter.clients import Outcome
from avatar_telemetry.exporter.continuity import FILE_NAME, Continuity
from avatar_telemetry.exporter.failures import FailureLog
from avatar_telemetry.exporter.last_error import ErrorFile
from avatar_telemetry.exporter.pusher import Pusher
from avatar_telemetry.metrics.family import Family, family
from tests.support.clock import PauseClock
from tests.support.otlp_records import plain
from tests.support.waiting import DEADLINE, eventually

BUSY = Outcome(False, retry=True, error="busy")
SINCE = 1_000
"""Start of the run, in nanoseconds since the epoch."""
PUSH_TIMEOUT = 3600.0
"""Seconds of a push."""


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


class Collector:
    """A client that keeps what it is given."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.accepts = True
        self.timeouts: list[float] = []
        self.batches: list[list[Any]] = []
        self.traced: list[bool] = []
        self.resource: dict[str, Any] = {}
        self.closed = 0
        self.before: Callable[[], object] = lambda: None

    def send(self, request: bytes, timeout: float) -> Outcome:
        self.before()
        self.traced.append(is_instrumentation_enabled())
        self.timeouts.append(timeout)
        (received,) = ExportMetricsServiceRequest.FromString(request).resource_metrics
        self.resource = plain(received.resource.attributes)
        (metric,) = received.scope_metrics[0].metrics
        self.batches.append(list(metric.sum.data_points))
        if self.outcomes:
            return self.outcomes.pop(0)
        return Outcome(self.accepts, error="" if self.accepts else "refused")

    def close(self) -> None:
        self.closed += 1

    def values(self) -> list[float]:
        """The value of the first series in each batch."""
        return [points[0].as_double for points in self.batches]


class Host:
    """A host whose pushers push one store, in turn, with the same clients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store()
        self.collector = Collector()
        self.clients = [self.collector]
        self.results: list[str] = []
        self.failures: list[str] = []

    def pusher(
        self, *, delta: bool = False, interval: int = 3_600_000, timeout: float = 300
    ) -> Pusher:
        """The pusher of the next exporter."""
        environ = {"INTERVAL": str(interval), "TIMEOUT": str(int(PUSH_TIMEOUT * 1000))}
        settings = Settings.from_env(
            {"OTEL_EXPORTER_OTLP_TIMEOUT": str(timeout)}
            | {f"OTEL_METRIC_EXPORT_{name}": value for name, value in environ.items()}
        )
        continuity = Continuity(self.folder, SINCE, delta=delta)
        return Pusher(
            settings, self.clients, self.store.collect, continuity, count=self.results.append,
            log=FailureLog("metrics", "here", [], ErrorFile(self.folder, "metrics")),
            guard=Guard(self.failures.append),
        )  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_whole_store_arrives_and_is_counted_once(host: Host) -> None:
    """All series arrive, however many batches they need, and the push counts once."""
    host.store.series = 1_201
    assert host.pusher().push()
    assert [len(batch) for batch in host.collector.batches] == [500, 500, 201]
    assert host.results == ["exported"]


def test_the_push_names_the_sdk(host: Host) -> None:
    """A push has the attributes of the SDK, as spans have, and those of the host."""
    host.pusher().push()
    assert host.collector.resource["telemetry.sdk.language"] == "python"
    assert host.collector.resource["telemetry.sdk.name"] == "opentelemetry"
    assert host.collector.resource["service.instance.id"]


def test_refused_increments_are_sent_with_the_next(host: Host) -> None:
    """A refused push counts as failed, and nothing of it is lost."""
    pusher = host.pusher(delta=True)
    host.collector.accepts = False
    assert not pusher.push()
    host.collector.accepts = True
    host.store.value = 4.0
    assert pusher.push()
    assert host.collector.values() == [1.0, 4.0]
    assert host.results == ["failed", "exported"]


def test_nothing_is_sent_after_a_refused_batch(host: Host) -> None:
    """After a batch that did not arrive the collector is left alone until the next push."""
    host.store.series = 1_201
    host.collector.accepts = False
    assert not host.pusher().push()
    assert len(host.collector.batches) == 1


def test_series_of_a_failed_push_have_started_before_it(host: Host) -> None:
    """A series starts before the push that first found it, also where its batch was not sent."""
    pusher = host.pusher()
    host.store.series = 501
    host.collector.accepts = False
    pusher.push()
    host.collector.accepts = True
    pusher.push()
    assert {point.start_time_unix_nano for batch in host.collector.batches for point in batch} == {
        SINCE
    }


def test_new_series_starts_at_the_read_before(host: Host) -> None:
    """A series that comes later starts when the store was last read without it."""
    pusher = host.pusher()
    pusher.push()
    host.store.series = 2
    pusher.push()
    (first,), (_, new) = host.collector.batches
    assert new.start_time_unix_nano == first.time_unix_nano


def test_push_has_its_time(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push whose time is over begins no further batch, and counts as failed."""
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0], time_ns=time.time_ns)
    monkeypatch.setattr(pusher_module, "time", clock)
    host.store.series = 1_201
    host.collector.before = lambda: now.append(now.pop() + PUSH_TIMEOUT)
    assert not host.pusher().push()
    assert len(host.collector.batches) == 1
    assert host.results == ["failed"]


def test_a_busy_collector_is_asked_again(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A batch is sent again after a pause, the same one, and costs no line."""
    clock = PauseClock(0.0)
    host.collector.outcomes = [BUSY, BUSY]
    pusher = host.pusher()
    pusher._stopped = clock.event()
    assert pusher.push()
    assert len(host.collector.batches) == 3
    for pause, backoff in zip(clock.pauses, (1.0, 2.0), strict=True):
        assert 0.8 * backoff <= pause <= 1.2 * backoff
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        pytest.param(BUSY, "cannot export metrics: busy (sent to here)", id="busy"),
        pytest.param(
            Outcome(False, error="bad"),
            "a push of 1 metric was refused, the next one repeats it: bad (sent to here)",
            id="refused",
        ),
    ],
)
def test_a_push_that_fails_is_logged(
    host: Host, caplog: pytest.LogCaptureFixture, outcome: Outcome, line: str
) -> None:
    """A collector that asks for more time than a batch has is not waited for."""
    host.collector.outcomes = [replace(outcome, wait=600.0)]
    assert not host.pusher().push()
    assert len(host.collector.batches) == 1
    assert caplog.messages == [line]


@pytest.mark.parametrize("shorter", ["_timeout", "_batch_timeout"])
def test_shorter_timeout_holds(host: Host, shorter: str) -> None:
    """An attempt takes no longer than its own timeout, and no longer than its push may take."""
    pusher = host.pusher()
    assert (pusher._timeout, pusher._batch_timeout) == (PUSH_TIMEOUT, 300.0)
    pusher._timeout = pusher._batch_timeout = 2 * PUSH_TIMEOUT
    setattr(pusher, shorter, PUSH_TIMEOUT)
    pusher.push()
    (timeout,) = host.collector.timeouts
    assert PUSH_TIMEOUT - DEADLINE < timeout <= PUSH_TIMEOUT


def test_one_attempt_at_the_end(host: Host) -> None:
    """The last push does not wait for a collector that is busy."""
    host.collector.outcomes = [BUSY]
    pusher = host.pusher()
    pusher.stop(time.monotonic() + DEADLINE)
    assert not pusher.push()
    assert len(host.collector.batches) == 1


def test_push_without_time_is_none(host: Host) -> None:
    """Where nothing can be sent before the end, no push is counted."""
    pusher = host.pusher()
    pusher.stop(time.monotonic())
    assert not pusher.push()
    assert host.results == host.collector.batches == host.failures == []


def test_every_exporter_must_accept(host: Host) -> None:
    """With two exporters a push fails where one of them fails; both are given the data."""
    refusing = Collector()
    refusing.accepts = False
    host.clients = [host.collector, refusing]
    assert not host.pusher().push()
    assert len(host.collector.batches) == len(refusing.batches) == 1


def test_unreadable_store_is_a_failed_push(host: Host) -> None:
    """The error passes to the caller's guard; the push is counted and its time noted."""
    pusher = host.pusher()
    pusher.push()
    os.utime(host.folder / FILE_NAME, (1, 1))
    host.store.broken = True
    with pytest.raises(OSError, match="gone"):
        pusher.push()
    assert host.results == ["exported", "failed"]
    assert (host.folder / FILE_NAME).stat().st_mtime > 1


@pytest.fixture
def started(host: Host) -> Iterator[Callable[[Pusher], Pusher]]:
    """Starts pushers, and ends them with the test."""
    pushers: list[Pusher] = []

    def start(pusher: Pusher) -> Pusher:
        pushers.append(pusher)
        pusher.start()
        return pusher

    yield start
    for pusher in pushers:
        pusher.stop(0.0)
        pusher.join(DEADLINE)
        assert not pusher.is_alive()


def end(pusher: Pusher, deadline: float) -> None:
    pusher.stop(deadline)
    pusher.join(DEADLINE)
    assert not pusher.is_alive()


def test_pushes_every_interval_until_stopped(
    host: Host, started: Callable[[Pusher], Pusher]
) -> None:
    """The first exporter pushes at once, then every interval, and closes its connections."""
    pusher = started(host.pusher(interval=100))
    eventually(lambda: len(host.collector.batches) >= 3, "the third push")
    end(pusher, 0.0)
    assert host.results[:3] == ["exported"] * 3  # the stop leaves a push that just began no time
    assert host.collector.closed == 1
    assert host.failures == []


def test_pushes_are_not_traced(host: Host, started: Callable[[Pusher], Pusher]) -> None:
    """An instrumentation of the application records no span of a push."""
    started(host.pusher())
    eventually(lambda: host.collector.traced, "the push")
    assert host.collector.traced == [False]
    assert is_instrumentation_enabled()


def test_successor_waits_for_the_rest_of_the_interval(
    host: Host, started: Callable[[Pusher], Pusher]
) -> None:
    """A new exporter does not repeat the push that the previous one has just made."""
    host.pusher().push()
    host.collector.batches.clear()
    pusher = host.pusher()
    pusher._prepare()
    assert pusher._continuity.next_due(3600.0) > 60  # however slow the machine is
    end(started(pusher), time.monotonic() - 1)
    assert host.collector.batches == []


def test_last_push_sends_what_was_counted_since(
    host: Host, started: Callable[[Pusher], Pusher]
) -> None:
    """At the end of the server the pusher pushes once more."""
    pusher = started(host.pusher(delta=True))
    eventually(lambda: host.results == ["exported"], "the first push")
    host.store.value = 3.0
    end(pusher, time.monotonic() + DEADLINE)
    assert host.collector.values() == [1.0, 2.0]


def test_increments_under_way_at_the_end_are_noted(
    host: Host, started: Callable[[Pusher], Pusher]
) -> None:
    """Increments that arrive after the stop are not sent again by the next exporter, to which the
    next push is left."""
    begun, released = threading.Event(), threading.Event()
    host.collector.before = lambda: (begun.set(), released.wait(DEADLINE))
    pusher = started(host.pusher(delta=True))
    assert begun.wait(DEADLINE)
    pusher.stop(time.monotonic())
    assert host.results == []
    released.set()
    pusher.join(DEADLINE)
    assert host.results == ["exported"]
    host.store.value = 4.0
    host.pusher(delta=True).push()
    assert host.collector.values() == [1.0, 3.0]


def test_failed_preparation_is_tried_again(
    host: Host, started: Callable[[Pusher], Pusher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that cannot be written yet, say, is counted and costs no later push."""
    monkeypatch.setattr(pusher_module, "RETRY_INTERVAL", 0.01)
    tries: list[int] = []
    load = Continuity.load

    def fail_twice(continuity: Continuity) -> None:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("no space")
        load(continuity)

    monkeypatch.setattr(Continuity, "load", fail_twice)
    started(host.pusher())
    eventually(lambda: host.results, "the push")
    assert host.results == ["exported"]
    assert host.failures == ["push", "push"]


def test_store_that_fails_does_not_end_the_thread(
    host: Host, started: Callable[[Pusher], Pusher], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed push is counted, as a failure of ours as well, and the next one follows."""
    monkeypatch.setattr(pusher_module, "RETRY_INTERVAL", 0.01)
    host.store.broken = True
    started(host.pusher(interval=100))
    eventually(lambda: host.failures, "the failure")
    host.store.broken = False
    eventually(lambda: "exported" in host.results, "the next push")
    assert set(host.failures) == {"push"}
