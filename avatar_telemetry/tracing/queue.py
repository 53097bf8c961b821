"""What is finished, on its way out: a bounded queue, and the thread that empties it.

Nothing here waits for a collector but that thread. What does not get out is counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from avatar_telemetry.guard import Guard
from avatar_telemetry.log import debug
from avatar_telemetry.tracing.span import RecordedSpan

Count = Callable[[str, int], None]
"""``(result, how many)``; results are exported, dropped and failed."""
Item = TypeVar("Item")
Sent = TypeVar("Sent", contravariant=True)

FLUSH_POLL = 0.005
"""Seconds between two looks whether a flush is done."""


class Sender(Protocol[Sent]):
    """Something that spans, or log records, are sent with."""

    def send(self, items: Sequence[Sent], /) -> int:
        """Send a batch; how many of it arrived."""

    def hurry(self) -> None:
        """From now on, do not wait to try again."""

    def renew(self) -> None:
        """In a forked child: the connections are the parent's."""

    def close(self) -> None:
        """Give the connections back."""


class ExportQueue(Generic[Item]):
    """Takes what is finished, and sends it in batches from a thread of its own.

    The thread starts with the first of it. It is a daemon: a process never waits for it but in
    :meth:`stop`.

    Args:
        senders: each gets every batch.
        batch_size: sent at once.
        queue_size: kept at most; what comes beyond that is dropped.
        delay: seconds that it may wait for its batch to fill.
        count: told what became of it.
        guard: told of failures of ours.
    """

    thread_name = "avatar-telemetry-export"

    def __init__(
        self,
        senders: Sequence[Sender[Item]],
        *,
        batch_size: int,
        queue_size: int,
        delay: float,
        count: Count,
        guard: Guard,
    ) -> None:
        self._senders = senders
        self._batch_size = min(batch_size, queue_size)
        self._queue_size = queue_size
        self._delay = delay
        self._count = count
        self._guard = guard
        self._begin()

    def renew(self) -> None:
        """In a forked child: the spans, the thread and the connections are the parent's."""
        self._begin()
        for sender in self._senders:
            with self._guard.at("export"):
                sender.renew()

    def _begin(self) -> None:
        # Names of threading are looked up here, in the worker: gevent may have patched it by now.
        self._spans: deque[Item] = deque()
        self._wake = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._called = False
        self._stopping = False
        self._abandoned = False
        self._in_flight = 0

    def put(self, span: Item) -> None:
        """Take what has ended. Never waits, never raises."""
        spans = self._spans
        waiting = len(spans)
        if waiting >= self._queue_size or self._abandoned:
            self._count("dropped", 1)
            self._log("dropped", 1)
            return
        spans.append(span)
        if self._thread is None:
            self._start()
        elif waiting + 1 >= self._batch_size and not self._called:
            self._called = True
            self._wake.set()

    def flush(self, deadline: float) -> bool:
        """Send what is there now, without stopping.

        Args:
            deadline: of ``time.monotonic()``.

        Returns:
            Whether all of it was sent (or given up) by then.
        """
        while self._busy():
            if time.monotonic() >= deadline:
                return False
            self._wake.set()
            time.sleep(FLUSH_POLL)
        return True

    def begin_stop(self) -> None:
        """Let the thread send what is there and end; does not wait, :meth:`stop` does."""
        self._stopping = True
        self._hurry()  # a process that ends has no time to wait for a better moment
        self._wake.set()

    def stop(self, deadline: float) -> None:
        """Send what is there, as long as there is time.

        Args:
            deadline: of ``time.monotonic()``; by then this returns, whatever the collector does,
                and what has not arrived is counted as dropped.
        """
        self.begin_stop()
        thread = self._thread
        if thread is not None:
            thread.join(max(deadline - time.monotonic(), 0.0))
        with self._lock:
            self._abandoned = True
            lost = len(self._spans) + self._in_flight
            self._spans.clear()
            self._in_flight = 0
        if lost:
            self._count("dropped", lost)
            self._log("dropped", lost)
        if thread is None or not thread.is_alive():
            self._close()

    def _busy(self) -> bool:
        with self._lock:
            return bool(self._spans or self._in_flight)

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name=self.thread_name, daemon=True)
                # A process that has no thread left, or ends, refuses; the next span tries again.
                with self._guard.at("export"):
                    thread.start()
                    self._thread = thread

    def _run(self) -> None:
        # Not at the top: it imports what reads OTEL_PROPAGATORS, and raises where we would tell.
        from opentelemetry.instrumentation.utils import suppress_instrumentation

        with suppress_instrumentation():
            while not self._abandoned:
                self._wake.wait(0.0 if self._stopping else self._delay)
                self._wake.clear()
                self._called = False
                # What was there when the wait ended goes; what comes meanwhile may wait its turn.
                due = len(self._spans)
                while due > 0 and not self._abandoned:
                    due -= self._send_batch()
                    due = max(due, len(self._spans) - self._batch_size + 1)
                if self._stopping and not self._spans:
                    return

    def _send_batch(self) -> int:
        batch = self._take()
        if not batch:
            return 1  # another thread has emptied the queue
        arrived = len(batch)
        for sender in self._senders:
            accepted = 0
            with self._guard.at("export"):
                accepted = sender.send(batch)
            arrived = min(arrived, accepted)
        self._settle({"exported": arrived, "failed": len(batch) - arrived})
        return len(batch)

    def _settle(self, results: Mapping[str, int]) -> None:
        with self._lock:
            if self._abandoned:
                return  # they count as dropped
            with self._guard.at("export"):
                for result, number in results.items():
                    if number:
                        self._count(result, number)
            self._in_flight = 0
        # Not with the lock held: a handler may take its time, and stop() must not wait for it.
        for result, number in results.items():
            if number:
                self._log(result, number)

    def _log(self, result: str, number: int) -> None:
        """At level DEBUG. Not of log records: a log would go on telling of itself."""

    def _take(self) -> list[Item]:
        with self._lock:
            spans = self._spans
            batch = [spans.popleft() for _ in range(min(self._batch_size, len(spans)))]
            self._in_flight = len(batch)
        return batch

    def _hurry(self) -> None:
        for sender in self._senders:
            with self._guard.at("export"):
                sender.hurry()

    def _close(self) -> None:
        for sender in self._senders:
            with self._guard.at("export"):
                sender.close()


class SpanQueue(ExportQueue[RecordedSpan]):
    """The queue of spans that have ended."""

    thread_name = "avatar-telemetry-spans"

    def _log(self, result: str, number: int) -> None:
        debug("%d spans %s", number, result)


class QueueSink:
    """Puts ended spans into the queue; until they are written to the ring.

    Args:
        put: of the queue.
    """

    def __init__(self, put: Callable[[RecordedSpan], None]) -> None:
        self.process = object()
        self._put_span = put

    def write(self, spans: Sequence[RecordedSpan]) -> None:
        """Put each span."""
        for span in spans:
            self._put_span(span)
