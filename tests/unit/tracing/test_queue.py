"""The queue: bounded, never waited for, and every span is counted once."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.instrumentation.utils import is_instrumentation_enabled

from avatar_telemetry.guard import Guard
from avatar_telemetry.tracing.queue import SpanQueue
from tests.support.forked import in_child
from tests.support.providers import Ours

NAME = "avatar-telemetry-spans"
LONG = 60.0


class FakeSender:
    """Takes spans, unless it is told to do otherwise with a batch."""

    def __init__(self, act: Callable[[Sequence[Any]], int] = len) -> None:
        self.act = act
        self.batches: list[list[Any]] = []
        self.hurried = self.closed = self.renewed = 0

    def send(self, spans: Sequence[Any]) -> int:
        self.batches.append(list(spans))
        return self.act(spans)

    def hurry(self) -> None:
        self.hurried += 1

    def close(self) -> None:
        self.closed += 1

    def renew(self) -> None:
        self.renewed += 1

    @property
    def sent(self) -> int:
        return sum(map(len, self.batches))


class Bench:
    """A queue with its sender and its counts."""

    def __init__(self, *senders: Any, **options: Any) -> None:
        self.counts: Counter[str] = Counter()
        self.failures: list[str] = []
        options = {"batch_size": 4, "queue_size": 100, "delay": LONG, **options}
        self.queue = SpanQueue(
            senders, count=self._count, guard=Guard(self.failures.append), **options
        )

    def _count(self, result: str, number: int) -> None:
        self.counts[result] += number

    def put(self, number: int) -> None:
        for _ in range(number):
            self.queue.put(SPAN)

    def await_counts(self, **counts: int) -> None:
        end = time.monotonic() + LONG
        while dict(self.counts) != counts:
            assert time.monotonic() < end, self.counts
            time.sleep(0.002)


SPAN: Any = Ours().tracer.start_span("name")


class Gate:
    """Holds a sender inside ``send`` until it is opened."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def __call__(self, spans: Sequence[Any]) -> int:
        self.entered.set()
        self.opened.wait(LONG)
        return len(spans)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


def soon() -> float:
    return time.monotonic() + 0.05


def later() -> float:
    return time.monotonic() + LONG


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == NAME]


def test_the_thread_comes_with_the_first_span() -> None:
    """A worker without spans has no thread; one with spans has one, which no exit waits for."""
    before = len(threads())
    bench = Bench(FakeSender())
    assert len(threads()) == before
    bench.put(2)
    assert len(threads()) == before + 1
    assert all(thread.daemon for thread in threads())
    bench.queue.stop(later())
    assert len(threads()) == before


def test_a_full_batch_goes_at_once() -> None:
    """Batches have their size; what does not fill one waits for its time."""
    sender = FakeSender()
    bench = Bench(sender)
    bench.put(4)
    bench.await_counts(exported=4)
    bench.put(3)
    bench.queue.stop(later())
    assert [len(batch) for batch in sender.batches] == [4, 3]
    assert bench.counts == {"exported": 7}


def test_a_span_waits_no_longer_than_its_time() -> None:
    """Without a full batch, spans go after the delay."""
    sender = FakeSender()
    bench = Bench(sender, delay=0.02)
    bench.put(1)
    bench.await_counts(exported=1)
    bench.queue.stop(later())


def test_nothing_is_lost_when_the_sender_works() -> None:
    """What many threads put in while the queue is emptied arrives, in batches within their size."""
    sender = FakeSender()
    bench = Bench(sender, queue_size=100_000)
    workers = [threading.Thread(target=bench.put, args=(500,)) for _ in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    bench.queue.stop(later())
    assert bench.counts == {"exported": 3000}
    assert sender.sent == 3000
    assert max(map(len, sender.batches)) <= 4
    assert sender.closed == 1


def test_a_full_queue_drops(gate: Gate) -> None:
    """What has no place is dropped, counted, and nobody waits."""
    sender = FakeSender(gate)
    bench = Bench(sender, queue_size=10)
    bench.put(4)
    assert gate.entered.wait(LONG)
    bench.put(15)
    assert bench.counts == {"dropped": 5}
    gate.opened.set()
    bench.queue.stop(later())
    assert bench.counts == {"dropped": 5, "exported": 14}


def test_stop_while_the_sender_hangs(gate: Gate) -> None:
    """At the deadline stop() returns; what did not arrive counts as dropped, once."""
    bench = Bench(FakeSender(gate))
    bench.put(6)
    assert gate.entered.wait(LONG)
    bench.queue.stop(soon())
    assert bench.counts == {"dropped": 6}
    thread = threads()[-1]
    gate.opened.set()
    thread.join(LONG)
    assert bench.counts == {"dropped": 6}
    bench.put(2)
    assert bench.counts == {"dropped": 8}


def test_stop_just_before_the_sender_is_done(gate: Gate) -> None:
    """Whoever comes first, stop() or the sender, counts; never both."""
    for _ in range(50):
        bench = Bench(FakeSender(lambda spans: time.sleep(0.001) or len(spans)), batch_size=1)
        bench.put(3)
        bench.queue.stop(time.monotonic() + 0.002)
        for thread in threads():
            thread.join(LONG)
        assert sum(bench.counts.values()) == 3, bench.counts


def test_spans_that_come_during_the_end() -> None:
    """What ends while the last batches are sent goes with them, without waiting for its time."""
    bench = Bench(FakeSender(), batch_size=10)
    late = iter(range(3))

    def send(spans: Sequence[Any]) -> int:
        if next(late, None) is not None:
            bench.put(1)
        return len(spans)

    bench.queue._senders[0].act = send
    bench.put(2)
    bench.queue.stop(later())
    assert bench.counts == {"exported": 5}


@pytest.mark.parametrize(
    ("act", "counts", "failures"),
    [
        pytest.param(lambda spans: 0, {"failed": 4}, [], id="refuses all"),
        pytest.param(lambda spans: 3, {"failed": 1, "exported": 3}, [], id="refuses one"),
        pytest.param(lambda spans: 1 // 0, {"failed": 4}, ["export"], id="raises"),
    ],
)
def test_what_a_sender_does_not_take(
    act: Callable[[Any], int], counts: dict[str, int], failures: list[str]
) -> None:
    """Spans that a sender refused, or failed at, count as failed; the next batch is sent."""
    sender = FakeSender(act)
    bench = Bench(sender)
    bench.put(4)
    bench.await_counts(**counts)
    assert bench.failures == failures
    sender.act = len
    bench.put(4)
    bench.queue.stop(later())
    assert sender.sent == 8
    assert bench.counts["exported"] == counts.get("exported", 0) + 4


def test_several_senders() -> None:
    """Each sender gets every batch; a span has arrived when it has everywhere."""
    good, bad = FakeSender(), FakeSender(lambda spans: 1)
    bench = Bench(bad, good)
    bench.put(4)
    bench.queue.stop(later())
    assert (good.sent, bad.sent) == (4, 4)
    assert bench.counts == {"exported": 1, "failed": 3}
    assert (good.closed, bad.closed) == (1, 1)


def test_the_end_waits_for_no_better_moment() -> None:
    """At the end each batch gets one try, of a sender that was well as of one that was not."""
    sender = FakeSender()
    bench = Bench(sender)
    bench.put(4)
    bench.await_counts(exported=4)
    assert not sender.hurried
    bench.queue.stop(later())
    assert sender.hurried


def test_a_sender_that_raises_at_the_end() -> None:
    """Neither hurry() nor close() of a sender can stop the end."""

    class Broken(FakeSender):
        def hurry(self) -> None:
            raise RuntimeError("hurry")

        def close(self) -> None:
            raise RuntimeError("close")

    bench = Bench(Broken(lambda spans: 0))
    bench.put(4)
    bench.await_counts(failed=4)
    bench.queue.stop(later())
    assert bench.failures == ["export", "export"]


def test_flush() -> None:
    """flush() returns when everything was sent and counted, and the queue goes on."""
    sender = FakeSender(lambda spans: time.sleep(0.002) or len(spans))
    bench = Bench(sender)
    assert bench.queue.flush(soon())
    for number in range(1, 20):
        bench.put(1)
        assert bench.queue.flush(later())
        assert bench.counts == {"exported": number}
    bench.queue.stop(later())


def test_flush_while_the_sender_hangs(gate: Gate) -> None:
    """flush() gives up at its deadline."""
    bench = Bench(FakeSender(gate))
    bench.put(1)
    assert not bench.queue.flush(soon())
    gate.opened.set()
    assert bench.queue.flush(later())
    bench.queue.stop(later())
    assert bench.counts == {"exported": 1}


def test_stop_without_a_span() -> None:
    """A worker that never ended a span gives its connections back, too."""
    sender = FakeSender()
    bench = Bench(sender)
    bench.queue.stop(later())
    assert (sender.closed, bench.counts) == (1, {})


def test_no_thread_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can start, spans end all the same; a later one tries again."""

    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    bench = Bench(FakeSender())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        bench.put(2)
    assert bench.failures == ["export", "export"]
    bench.put(1)
    bench.queue.stop(later())
    assert bench.counts == {"exported": 3}


def test_a_forked_child_sends_its_own_spans_alone(gate: Gate) -> None:
    """A child starts with an empty queue and a thread of its own; the parent's go on."""
    sender = FakeSender(gate)
    bench = Bench(sender, batch_size=2)
    bench.put(3)
    assert gate.entered.wait(LONG)

    def child() -> str:
        bench.queue.renew()
        bench.counts.clear()
        sender.act, sender.batches = len, []
        bench.put(1)
        bench.queue.stop(later())
        return f"{sender.sent} {dict(bench.counts)} {sender.renewed}"

    assert in_child(child) == "1 {'exported': 1} 1"
    assert sender.renewed == 0
    gate.opened.set()
    bench.queue.stop(later())
    assert bench.counts == {"exported": 3}


@pytest.mark.parametrize("logger", ["avatar_telemetry", "ivatar.opentelemetry"])
def test_debug_output(gate: Gate, caplog: pytest.LogCaptureFixture, logger: str) -> None:
    """At level DEBUG, under either name, the log tells what was sent and what was dropped."""
    with caplog.at_level(logging.DEBUG, logger):
        bench = Bench(FakeSender(lambda spans: 3))
        bench.put(4)
        bench.queue.stop(later())
        bench = Bench(FakeSender(gate))
        bench.put(2)
        bench.queue.stop(soon())
    assert caplog.record_tuples == [
        (logger, logging.DEBUG, "3 spans exported"),
        (logger, logging.DEBUG, "1 spans failed"),
        (logger, logging.DEBUG, "2 spans dropped"),
    ]


def test_all_that_waits_goes_when_a_batch_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left beside full batches does not wait for its time."""

    def refuse(self: Any) -> None:
        raise RuntimeError("can't start new thread")

    sender = FakeSender()
    bench = Bench(sender, batch_size=5, delay=10 * LONG)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        bench.put(6)
    bench.put(2)
    bench.await_counts(exported=8)
    assert [len(batch) for batch in sender.batches] == [5, 3]
    bench.queue.stop(later())


def test_exports_are_not_instrumented() -> None:
    """A library that traces HTTP clients makes no span of an export."""
    enabled = []

    def act(spans: Sequence[Any]) -> int:
        enabled.append(is_instrumentation_enabled())
        return len(spans)

    bench = Bench(FakeSender(act))
    bench.put(1)
    bench.queue.stop(later())
    assert enabled == [False]
    assert is_instrumentation_enabled()
