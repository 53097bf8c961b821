"""Ended spans on their way to the exporter: the spans of a request together, encoded at its end.

    writer = SpanWriter(ring.put)                # encodes; one frame for each request
    kept = KeptSpans()                           # for tests: the spans stay objects
    group = SpanGroup(writer)
    group.add(span)                              # a span of the request ended, in any thread
    group.close()                                # the request ended

A frame consists of sections: the length of the scope part and of the items part, each 32 bits and
little-endian, then both parts. The scope part is a ``ScopeSpans`` without its spans, the items part
its spans.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from avatar_telemetry.log import debug
from avatar_telemetry.tracing.encoder import encode_scope, encode_span
from avatar_telemetry.tracing.span import Origin, RecordedSpan

SPANS = 2
"""The kind of a frame of spans."""
MAX_WAITING = 128
"""Ended spans that a request may keep; then they are written as a part of it."""
MAX_PART_BYTES = 1 << 16
"""Encoded spans after which a frame is written, though the request has more."""
MAX_SCOPES = 256
"""Scopes whose encoding is kept; an application may name them as it likes."""

Put = Callable[[int, int, bytes], bool]
"""``(kind, items, payload) -> written``; never blocks or raises, and counts what it drops."""

pack_section = struct.Struct("<II").pack


class SpanSink(Protocol):
    """Takes the spans of a provider that have ended."""

    put: Put | None
    """Takes frames of spans that are encoded already; ``None`` where spans stay objects."""
    process: object
    """Stands for the process: another object in a forked child."""

    def write(self, spans: Sequence[RecordedSpan], /) -> None:
        """Take ended spans. Never blocks, never raises."""


class SpanWriter:
    """Encodes spans into frames.

    Args:
        put: takes the frames.
    """

    def __init__(self, put: Put) -> None:
        self.put: Put | None = put
        self.process = object()
        self._put = put
        self._scopes: dict[Origin, bytes] = {}

    def write(self, spans: Sequence[RecordedSpan]) -> None:
        """Encode spans and write them, as one frame unless they are large."""
        frame: dict[Origin, list[bytes]] = {}
        items = size = 0
        for span in spans:
            try:
                encoded = encode_span(span)
            except Exception:  # noqa: BLE001 - a span of the application must not cost the others
                debug("a span cannot be encoded")
                continue
            frame.setdefault(span.origin, []).append(encoded)
            items += 1
            size += len(encoded)
            if size >= MAX_PART_BYTES:
                self._put(SPANS, items, self._payload(frame.items()))
                frame, items, size = {}, 0, 0
        if items:
            self._put(SPANS, items, self._payload(frame.items()))

    def renew(self, put: Put) -> None:
        """In a forked child: write elsewhere, and nothing that ended in the parent.

        Args:
            put: takes the frames of the child.
        """
        self.put = self._put = put
        self.process = object()

    def scope(self, origin: Origin) -> bytes:
        """Return the scope part of the sections of a tracer's spans."""
        encoded = self._scopes.get(origin)
        if encoded is None:
            if len(self._scopes) >= MAX_SCOPES:
                self._scopes.clear()
            encoded = self._scopes[origin] = encode_scope(origin.scope)
        return encoded

    def _payload(self, sections: Iterable[tuple[Origin, list[bytes]]]) -> bytes:
        parts: list[bytes] = []
        for origin, spans in sections:
            scope = self.scope(origin)
            parts += (pack_section(len(scope), sum(map(len, spans))), scope, *spans)
        return b"".join(parts)


class KeptSpans:
    """Keeps spans in memory, in the order of their ends."""

    put: Put | None = None

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self.process = object()

    def write(self, spans: Sequence[RecordedSpan]) -> None:
        """Keep ended spans."""
        self.spans += spans


class SpanGroup:
    """The ended spans of one request, until it ends.

    Spans may end in any thread and after the request: ``append`` and ``pop`` of a list are atomic,
    so each span is taken once, by the end of the request or by the span that was late. In a forked
    child the request does not end: there each span is written when it ends.

    Args:
        sink: takes the spans.
    """

    __slots__ = ("_closed", "_process", "_sink", "_spans")

    def __init__(self, sink: SpanSink) -> None:
        self._sink = sink
        self._process = sink.process
        self._spans: list[RecordedSpan] = []
        self._closed = False

    def add(self, span: RecordedSpan) -> None:
        """Take a span that ended. After the request it is written at once."""
        if self._process is not self._sink.process:
            self._leave_parent()
        self._spans.append(span)
        if self._closed or len(self._spans) >= MAX_WAITING:
            self._write()

    def close(self) -> None:
        """Write what is there: the request ended."""
        if self._process is not self._sink.process:
            self._leave_parent()
        self._closed = True
        if self._spans:
            self._write()

    def _leave_parent(self) -> None:
        self._process = self._sink.process
        self._spans = []
        self._closed = True

    def _write(self) -> None:
        taken: list[RecordedSpan] = []
        spans = self._spans
        while spans:
            try:
                taken.append(spans.pop())
            except IndexError:
                break  # another thread took the last one
        if taken:
            taken.reverse()
            self._sink.write(taken)
