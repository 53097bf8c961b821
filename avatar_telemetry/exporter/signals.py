"""Send the spans, or the log records, of all rings: each batch until a collector accepts it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from opentelemetry import context

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.exporter.clients import Client, Outcome
from avatar_telemetry.exporter.failures import FailureLog
from avatar_telemetry.exporter.ring import Frame
from avatar_telemetry.exporter.rings import Rings, encode_request

MIN_BACKOFF = 1.0
MAX_BACKOFF = 5.0
"""Seconds between two attempts, unless the collector requests more; short, because the rings fill
during an outage."""
MIN_TIMEOUT = 0.1

Count = Callable[[str, int], None]
"""Counts items by result: exported, failed."""


class SignalExporter(Thread):
    """A thread that sends one signal.

    Args:
        signal: the signal: ``spans`` or ``logs``.
        rings: the rings of the signal.
        clients: the clients, each of which gets every batch.
        batch_size: the number of spans or log records of a batch.
        delay: the seconds that items may wait for a full batch.
        timeout: the seconds of one attempt.
        count: a function that counts items by result.
        log: the log of failures.
        guard: the guard that counts internal errors.
    """

    def __init__(
        self,
        signal: str,
        rings: Rings,
        clients: Sequence[Client],
        *,
        batch_size: int,
        delay: float,
        timeout: float,
        count: Count,
        log: FailureLog,
        guard: Guard,
    ) -> None:
        super().__init__(name=f"avatar-telemetry-{signal}", daemon=True)
        self.signal = signal
        self._rings = rings
        self._clients = clients
        self._batch_size = batch_size
        self._delay = delay
        self._timeout = timeout
        self._count = count
        self._log = log
        self._guard = guard
        self._wake = Event()
        self._stopped = Event()
        self._deadline = 0.0
        self._lost = False

    def run(self) -> None:
        # In the application's process, its instrumentation would record these requests.
        context.attach(context.set_value("suppress_instrumentation", True))
        ended = False
        while not ended:
            self._wake.wait(self._delay)
            self._wake.clear()
            ended = self._stopped.is_set()
            with self._guard.at("export"):
                ended = not self._drain() or ended
        for close in (self._rings.close, *(client.close for client in self._clients)):
            with self._guard.at("export"):
                close()

    def wake(self) -> None:
        """Send all items now."""
        self._wake.set()

    def stop(self, deadline: float, *, lost: bool = False) -> None:
        """Request to send all items, up to the first failure, and to end; does not wait.

        Args:
            deadline: the time of the monotonic clock, in seconds, after which nothing is sent.
            lost: true where no other exporter sends the rest, for the log.
        """
        self._deadline = deadline
        self._lost = lost
        self._stopped.set()
        self._wake.set()

    def _drain(self) -> bool:
        """Send all items; return false after the deadline."""
        self._rings.refresh()
        while frames := self._rings.take(self._batch_size):
            if not self._deliver(frames):
                return False
        return True

    def _deliver(self, frames: Sequence[Frame]) -> bool:
        """Send a batch until each client has accepted or rejected it; return false after the
        deadline."""
        failed = 0
        for client in self._clients:
            refused = self._send(client, frames)
            if refused is None:
                return False
            failed = max(failed, refused)
        # In this order: a batch that is sent again after a kill in between is counted twice.
        exported = sum(frame.items for frame in frames) - failed
        for result, amount in (("exported", exported), ("failed", failed)):
            if amount:
                with self._guard.at("store"):  # or the batch would be sent again
                    self._count(result, amount)
        self._rings.settle()
        return True

    def _send(self, client: Client, frames: Sequence[Frame]) -> int | None:
        """Send frames until the client has accepted or rejected them.

        A request that is too large is sent again in halves, down to a single frame.

        Returns:
            The number of items that were not accepted; ``None`` after the deadline.
        """
        request, number = encode_request(frames)
        malformed = sum(frame.items for frame in frames) - number
        if not number:
            return malformed
        outcome = self._send_request(client, request)
        if outcome is None:
            return None
        if outcome.too_large and len(frames) > 1:
            half = len(frames) // 2
            first = self._send(client, frames[:half])
            rest = None if first is None else self._send(client, frames[half:])
            return None if first is None or rest is None else first + rest
        self._log.outcome(outcome, number)
        return malformed + (min(outcome.rejected, number) if outcome.accepted else number)

    def _send_request(self, client: Client, request: bytes) -> Outcome | None:
        backoff, attempts = MIN_BACKOFF, 0
        while True:
            timeout = self._remaining()
            if timeout is None:
                return None
            outcome = client.send(request, timeout)
            attempts += 1
            if outcome.accepted or not outcome.retry:
                return outcome
            if self._stopped.is_set():
                self._log.abandoned(outcome, self._rings.waiting(), lost=self._lost)
                return None
            self._log.retrying(outcome, attempts, self._rings.waiting())
            self._stopped.wait(max(outcome.wait, backoff * random.uniform(0.8, 1.2)))  # noqa: S311
            backoff = min(2 * backoff, MAX_BACKOFF)

    def _remaining(self) -> float | None:
        """Return the seconds for the next attempt, ``None`` after the deadline."""
        if not self._stopped.is_set():
            return self._timeout
        left = self._deadline - time.monotonic()
        return min(left, self._timeout) if left > MIN_TIMEOUT else None
