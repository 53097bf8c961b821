"""The exporter of a server under test: its process, and spans of numbered requests at a sink."""

from __future__ import annotations

import http.client
from collections import Counter
from threading import Lock
from typing import Protocol

from avatar_telemetry.exporter.ring import RingReader, rings
from tests.support.gunicorn_server import Answer, GunicornServer, eventually
from tests.support.otlp_records import Received, ReceivedSpan

SPANS_EACH = 2
"""Spans of a request for an avatar of ``answers:application``."""


def sending(url: str, **more: str | None) -> dict[str, str | None]:
    """The environment of a server that sends all its spans, with the paths in them, and no metrics.

    Args:
        url: of the sink.
        more: variables beside these.
    """
    return {
        "OTEL_EXPORT_ENABLED": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "AVATAR_TELEMETRY_PRIVACY": "off",
        # Room for all that clients send while the exporter is stopped, or not there.
        "OTEL_BSP_MAX_QUEUE_SIZE": "500000",
        "AVATAR_TELEMETRY_RING_SIZE": str(1 << 23),
        **more,
    }


class Asked(Protocol):
    """The process that responds."""

    def get(self, path: str, /) -> Answer: ...


class Requests:
    """Numbered requests: which were answered, and what of them is at a sink.

    Args:
        server: is asked.
    """

    def __init__(self, server: Asked) -> None:
        self._server = server
        self._lock = Lock()
        self._next = 0
        self.answered: set[int] = set()

    def __call__(self) -> Answer:
        """Send one; raises as the client of the server does."""
        with self._lock:
            self._next += 1
            number = self._next
        answer = self._server.get(f"/avatar/n{number}")
        if answer.status == 200:
            with self._lock:
                self.answered.add(number)
        return answer

    def send(self, number: int) -> None:
        """Send so many, one after the other; each that fails is sent no second time."""
        for _ in range(number):
            try:
                self()
            except (OSError, http.client.HTTPException):
                continue

    def send_until_exported(self, sink: Received) -> None:
        """Send until a span of a request that was sent from now on is at a sink.

        Without requests nobody notices that an exporter has ended.
        """
        first = self._next + 1

        def came() -> bool:
            self.send(1)
            return any(number_of(span) >= first for span in sink.spans())

        eventually(came, what="a span of a new request")

    def await_all(self, *sinks: Received) -> None:
        """Wait until all spans of each answered request have come to one of the sinks."""
        eventually(lambda: not self.missing(*sinks), what="the spans of answered requests")

    def missing(self, *sinks: Received) -> set[int]:
        """The answered requests of which not all spans are at the sinks."""
        found: dict[str, set[str]] = {}
        numbers: dict[str, int] = {}
        for span in arrived(*sinks):
            found.setdefault(span.trace_id, set()).add(span.span_id)
            if number := number_of(span):
                numbers[span.trace_id] = number
        whole = {numbers.get(each) for each, ids in found.items() if len(ids) == SPANS_EACH}
        return self.answered - whole


def number_of(span: ReceivedSpan) -> int:
    """The number of the request of a server span, else 0."""
    if span.kind != "SERVER":
        return 0
    return int(span.attributes["http.url"].rpartition("/avatar/n")[2] or 0)


def arrived(*sinks: Received) -> list[ReceivedSpan]:
    """Every span at the sinks."""
    return [span for sink in sinks for span in sink.spans()]


def times(*sinks: Received) -> Counter[str]:
    """Span id -> how often it came."""
    return Counter(span.span_id for span in arrived(*sinks))


def settled(server: GunicornServer) -> bool:
    """Return whether the exporter has removed all spans from the rings: none is sent again."""
    readers = [RingReader(path) for path in rings(server.runtime_folder).values()]
    try:
        return not any(each.waiting for each in readers)
    finally:
        for each in readers:
            each.close()


def counted(server: GunicornServer) -> dict[str, float]:
    """``avatar_telemetry_spans_total`` by result."""
    return {
        dict(labels)["result"]: value
        for (name, labels), value in server.metrics().items()
        if name == "avatar_telemetry_spans_total" and value
    }
