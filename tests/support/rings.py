"""Rings of spans in a runtime folder, as a worker writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource

from avatar_telemetry.exporter.ring import RingReader, RingWriter
from avatar_telemetry.exporter.ring_file import (
    DROPPED_LOGS,
    DROPPED_SPANS,
    GENERATION,
    PID,
    STARTED,
)
from avatar_telemetry.tracing.encoder import encode_resource_entry
from avatar_telemetry.tracing.writer import SpanWriter
from tests.support.providers import Ours


class Worker:
    """A process that holds a slot and writes its spans.

    Args:
        folder: the runtime folder.
        slot: its number; the ``worker`` attribute of its resource names it.
        signal: ``spans`` or ``logs``.
        size: of the ring.
        max_items: that may wait.
    """

    def __init__(
        self,
        folder: Path,
        slot: int = 0,
        *,
        signal: str = "spans",
        size: int = 1 << 20,
        max_items: int = 2048,
    ) -> None:
        resource = encode_resource_entry(Resource({"worker": str(slot)}))
        self.ring = RingWriter(folder, slot, size, max_items, resource=resource, signal=signal)
        self._writer = SpanWriter(self.ring)
        self._side = Ours()

    def write(self, *names: str, scope: str = "tests", **attributes: Any) -> None:
        """Write one frame with a span of each name."""
        tracer = self._side.provider.get_tracer(scope)
        for name in names:
            tracer.start_span(name, attributes=attributes).end()
        self._writer.write(self._side.ended)
        self._side.ended.clear()


class Reader(RingReader):
    """A reader that shows the counts in the header of its ring."""

    @property
    def dropped(self) -> int:
        """Items that were dropped, by all holders of the slot."""
        return self.dropped_spans + self.dropped_logs

    @property
    def dropped_spans(self) -> int:
        """Spans that were dropped."""
        return self._words[DROPPED_SPANS]

    @property
    def dropped_logs(self) -> int:
        """Log records that were dropped."""
        return self._words[DROPPED_LOGS]

    @property
    def generation(self) -> int:
        """The number of processes that have held the ring."""
        return self._words[GENERATION]

    @property
    def writer(self) -> tuple[int, int]:
        """The process that holds the ring or held it last: pid and start in clock ticks."""
        return self._words[PID], self._words[STARTED]


def spans_of(request: bytes) -> list[tuple[str, str, str]]:
    """Return the worker, the scope and the name of each span of a request."""
    return [
        (resource.resource.attributes[0].value.string_value, scope.scope.name, span.name)
        for resource in ExportTraceServiceRequest.FromString(request).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
