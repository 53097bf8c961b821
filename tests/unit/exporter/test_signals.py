"""The sending of one signal: each batch until every client has accepted or refused it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from avatar_telemetry import Settings
from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter import signals as signals_module
from avatar_telemetry.exporter.clients import Client, Outcome, make_clients
from avatar_telemetry.exporter.failures import FailureLog
from avatar_telemetry.exporter.last_error import ErrorFile
from avatar_telemetry.exporter.ring import SPANS
from avatar_telemetry.exporter.rings import Rings
from avatar_telemetry.exporter.signals import MAX_BACKOFF, SignalExporter
from tests.support.clock import PauseClock
from tests.support.otlp_faults import Fault
from tests.support.otlp_fixtures import sink
from tests.support.otlp_sink import OtlpSink
from tests.support.rings import Worker, spans_of
from tests.support.waiting import DEADLINE, eventually

__all__ = ["sink"]
ACCEPTED = Outcome(True)
BUSY = Outcome(False, retry=True, error="busy")
REFUSED = Outcome(False, error="refused")
HOUR = 3600.0


class Collector:
    """A client that returns prepared outcomes, then accepts."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.outcomes = list(outcomes)
        self.requests: list[list[str]] = []
        self.timeouts: list[float] = []
        self.traced: list[bool] = []
        self.closed = 0
        self.before: Callable[[], object] = lambda: None

    def send(self, request: bytes, timeout: float) -> Outcome:
        self.requests.append([name for _, _, name in spans_of(request)])
        self.timeouts.append(timeout)
        self.traced.append(is_instrumentation_enabled())
        self.before()
        return self.outcomes.pop(0) if self.outcomes else ACCEPTED

    def close(self) -> None:
        self.closed += 1


class Host:
    """A worker and the exporters of its spans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker = Worker(folder)
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        self.count: Callable[[str, int], None] = self._count
        self._made: list[SignalExporter] = []

    def _count(self, result: str, amount: int) -> None:
        self.counts[result] += amount

    def exporter(
        self,
        clients: Sequence[Client],
        *,
        batch_size: int = 512,
        delay: float = 0.01,
        timeout: float = DEADLINE,
    ) -> SignalExporter:
        guard = Guard(self.failures.append)
        rings = Rings(self.folder, "spans", lambda: guard.failed("ring"))
        exporter = SignalExporter(
            "spans", rings, clients, batch_size=batch_size, delay=delay, timeout=timeout,
            count=self.count, guard=guard,
            log=FailureLog("spans", "here", [], ErrorFile(self.folder, "traces")),
        )  # fmt: skip
        self._made.append(exporter)
        return exporter

    def close(self) -> None:
        for exporter in self._made:
            if exporter.is_alive():
                end(exporter, 0.0)
        self.worker.ring.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    host = Host(tmp_path)
    yield host
    host.close()


def end(exporter: SignalExporter, seconds: float = DEADLINE) -> None:
    exporter.stop(time.monotonic() + seconds)
    exporter.join(DEADLINE)
    assert not exporter.is_alive()


def test_spans_are_sent_and_counted(host: Host) -> None:
    """Spans leave the ring once a collector has accepted them; the end closes the client."""
    collector = Collector()
    exporter = host.exporter([collector])
    host.worker.write("a", "b")
    exporter.start()
    eventually(lambda: host.counts, "the first batch")
    host.worker.write("c")
    eventually(lambda: host.counts == {"exported": 3}, "the second batch")
    end(exporter)  # a batch leaves the ring after it was counted
    assert host.worker.ring.waiting == 0
    assert collector.requests == [["a", "b"], ["c"]]
    assert collector.timeouts == [DEADLINE] * 2
    assert collector.closed == 1
    assert host.failures == []


def test_batches_have_their_size(host: Host) -> None:
    """All that is there is sent when the exporter is woken, and again at its end, in batches of the
    size that is set."""
    collector = Collector()
    for number in range(5):
        host.worker.write(str(number))
    exporter = host.exporter([collector], batch_size=2, delay=HOUR)
    exporter.start()
    exporter.wake()
    eventually(lambda: host.counts == {"exported": 5}, "the batches")
    for number in range(5, 8):
        host.worker.write(str(number))
    end(exporter)
    assert collector.requests == [["0", "1"], ["2", "3"], ["4"], ["5", "6"], ["7"]]
    assert host.counts == {"exported": 8}


def test_a_batch_is_sent_until_it_is_accepted(host: Host) -> None:
    """An outage loses nothing: the same batch is sent again, with bounded pauses."""
    clock = PauseClock(0.0)
    collector = Collector(*[BUSY] * 8, Outcome(False, retry=True, wait=90.0, error="busy"))
    host.worker.write("a")
    exporter = host.exporter([collector], delay=HOUR)
    exporter._stopped = clock.event()
    exporter._drain()
    assert collector.requests == [["a"]] * 10
    expected = [1, 2, 4, 5, 5, 5, 5, 5]
    assert [round(pause / 1.2, 3) <= each <= pause * 1.25 + 0.001
            for pause, each in zip(clock.pauses, expected, strict=False)] == [True] * 8  # fmt: skip
    assert max(clock.pauses[:8]) <= MAX_BACKOFF * 1.2
    assert clock.pauses[8] == 90.0
    assert host.counts == {"exported": 1}
    exporter._rings.close()


def test_new_spans_wait_while_a_batch_is_retried(host: Host) -> None:
    """What comes during an outage stays in the ring, in its order."""
    collector = Collector(Outcome(False, retry=True, wait=0.0, error="busy"))
    collector.before = lambda: host.worker.write(f"later{len(collector.requests)}")
    exporter = host.exporter([collector], batch_size=1)
    host.worker.write("first")
    exporter.start()
    eventually(lambda: len(collector.requests) >= 4, "the next batches")
    collector.before = lambda: None
    end(exporter)
    assert collector.requests[:4] == [["first"], ["first"], ["later1"], ["later2"]]


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [
        pytest.param(REFUSED, {"failed": 3}, id="refused"),
        pytest.param(Outcome(True, 1, error="no"), {"exported": 2, "failed": 1}, id="partial"),
        pytest.param(Outcome(True, 1 << 40), {"failed": 3}, id="more than were sent"),
    ],
)
def test_what_is_refused_is_counted(host: Host, outcome: Outcome, counts: dict[str, int]) -> None:
    """A refusal is final: the batch leaves the ring, its items are counted as failed."""
    exporter = host.exporter([Collector(outcome)])
    host.worker.write("a", "b", "c")
    exporter.start()
    end(exporter)
    assert host.counts == counts
    assert host.worker.ring.waiting == 0


class SmallCollector(Collector):
    """A client of a collector that accepts few spans in a request."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def send(self, request: bytes, timeout: float) -> Outcome:
        super().send(request, timeout)
        if len(self.requests[-1]) > self._most:
            return Outcome(False, error="HTTP status 413", too_large=True)
        return ACCEPTED


def test_batch_that_is_too_large(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """It is sent in halves; only a frame that is too large alone is lost, and the log says so."""
    collector = SmallCollector(2)
    for number in range(5):
        host.worker.write(str(number))
    host.worker.write("x", "y", "z")
    exporter = host.exporter([collector], delay=HOUR)
    exporter.start()
    end(exporter)
    assert host.counts == {"exported": 5, "failed": 3}
    accepted = [each for each in collector.requests if len(each) <= 2]
    assert accepted == [["0"], ["1", "2"], ["3"], ["4"]]
    assert host.worker.ring.waiting == 0
    assert caplog.messages == ["3 spans lost: HTTP status 413 (sent to here)"]


def test_end_amidst_halves(host: Host) -> None:
    """A batch of which one half was not sent stays in the ring, for the next exporter."""
    collector = SmallCollector(1)
    exporter = host.exporter([collector], delay=HOUR)
    host.worker.write("a")
    host.worker.write("b")
    collector.before = lambda: exporter.stop(0.0) if collector.requests[-1] == ["a"] else None
    exporter.start()
    exporter.wake()
    exporter.join(DEADLINE)
    assert collector.requests == [["a", "b"], ["a"]]
    assert host.counts == {}
    assert host.worker.ring.waiting == 2


@pytest.mark.parametrize("refused_first", [True, False])
def test_each_client_gets_each_batch(host: Host, refused_first: bool) -> None:
    """With two exporters the one that refuses more is counted; none of them gets a batch twice
    because of the other."""
    one, other = Collector(Outcome(True, 1)), Collector(BUSY, REFUSED)
    exporter = host.exporter([other, one] if refused_first else [one, other])
    host.worker.write("a", "b")
    exporter.start()
    eventually(lambda: sum(host.counts.values()) == 2, "the counts")
    assert host.counts == {"failed": 2}
    assert (len(one.requests), len(other.requests)) == (1, 2)


def test_frames_that_are_no_spans(host: Host) -> None:
    """They are counted as failed, and nothing is sent where nothing is left."""
    collector = Collector()
    host.worker.ring.put(SPANS, 2, b"\xff" * 9)
    exporter = host.exporter([collector])
    exporter.start()
    eventually(lambda: host.counts == {"failed": 2}, "the counts")
    assert collector.requests == []


def test_counter_without_space(host: Host) -> None:
    """What was accepted is not sent again where it cannot be counted."""

    def fail(result: str, amount: int) -> None:
        raise OSError("no space")

    host.count = fail
    collector = Collector()
    host.worker.write("a")
    exporter = host.exporter([collector])
    exporter.start()
    eventually(lambda: host.failures, "the failure")
    end(exporter)
    assert host.failures == ["store"]
    assert collector.requests == [["a"]]


def test_client_that_raises(host: Host) -> None:
    """A fault of ours is counted, and ends neither the thread nor the batch."""
    collector = Collector()

    def fail_once() -> None:
        if len(collector.requests) == 1:
            raise RuntimeError("a fault")

    collector.before = fail_once
    host.worker.write("a")
    exporter = host.exporter([collector])
    exporter.start()
    eventually(lambda: host.counts == {"exported": 1}, "the second attempt")
    assert host.failures == ["export"]


def test_folder_that_is_gone(host: Host) -> None:
    """Without its folder the thread goes on, and ends."""
    exporter = host.exporter([Collector()])
    host.folder = host.folder / "gone"
    gone = host.exporter([Collector()])
    gone.start()
    eventually(lambda: host.failures, "the failure")
    end(gone)
    assert set(host.failures) == {"export"}
    exporter.start()
    end(exporter)


def test_one_attempt_at_the_end(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that is down at the end gets the first batch once, and a line says what is
    left; it stays in the ring."""
    collector = Collector(*[BUSY] * 9)
    exporter = host.exporter([collector], batch_size=1, delay=HOUR)
    host.worker.write("a")
    host.worker.write("b")
    exporter.start()
    end(exporter)
    assert collector.requests == [["a"]]
    assert host.counts == {}
    assert host.worker.ring.waiting == 2
    assert caplog.messages == [
        "cannot export spans: busy; 2 spans not sent, kept for the next exporter (sent to here)"
    ]


def test_end_during_a_pause(host: Host) -> None:
    """An exporter that waits for its next attempt makes the last one at once."""
    collector = Collector(Outcome(False, retry=True, wait=HOUR, error="busy"))
    exporter = host.exporter([collector])
    pauses: list[float | None] = []

    class Pause(Event):
        def wait(self, timeout: float | None = None) -> bool:
            pauses.append(timeout)
            return super().wait(timeout)

    exporter._stopped = Pause()
    host.worker.write("a")
    exporter.start()
    eventually(lambda: pauses, "the pause")
    end(exporter)
    assert pauses == [HOUR]
    assert host.counts == {"exported": 1}
    assert len(collector.requests) == 2


def test_nothing_is_sent_after_the_deadline(host: Host) -> None:
    """An exporter that is replaced sends nothing any more; its successor does."""
    collector = Collector()
    exporter = host.exporter([collector], delay=HOUR)
    exporter.start()
    host.worker.write("a")
    end(exporter, 0.0)
    assert collector.requests == []
    successor = host.exporter([collector])
    successor.start()
    eventually(lambda: host.counts == {"exported": 1}, "the successor's batch")


def test_attempts_at_the_end_have_what_is_left(host: Host) -> None:
    """The timeout of an attempt is no longer than the time until the deadline."""
    collector = Collector()
    exporter = host.exporter([collector], delay=HOUR, timeout=HOUR)
    exporter.start()
    host.worker.write("a")
    end(exporter)
    assert 0 < collector.timeouts[0] <= DEADLINE


def test_requests_are_not_traced(host: Host) -> None:
    """An instrumentation of the application's records no span of an export in its process."""
    collector = Collector()
    exporter = host.exporter([collector])
    host.worker.write("a")
    exporter.start()
    eventually(lambda: collector.traced, "the request")
    assert collector.traced == [False]
    assert is_instrumentation_enabled()


def test_outage_of_a_real_collector(
    host: Host, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for all nothing is lost while the collector is down, refuses for a while, or
    breaks connections."""
    monkeypatch.setattr(signals_module, "MIN_BACKOFF", 0.02)
    settings = Settings.from_env({"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url})
    exporter = host.exporter(make_clients(settings, "traces"), batch_size=3)
    exporter.start()
    names = []
    for fault in (Fault.REFUSED, Fault.NONE, Fault.STATUS, Fault.GARBAGE, Fault.RESET, Fault.NONE):
        sink.behave(fault)
        seen = len(sink.exchanges())
        for number in range(5):
            names.append(f"{fault.value}{number}{len(names)}")
            host.worker.write(names[-1])
        if fault is not Fault.REFUSED:
            eventually(
                lambda fault=fault, seen=seen: (
                    fault.value in [each.fault for each in sink.exchanges()[seen:]]
                ),
                "an attempt",
            )
    eventually(lambda: host.counts == {"exported": len(names)}, "all of them")
    assert sorted({span.name for span in sink.spans()}) == sorted(names)
