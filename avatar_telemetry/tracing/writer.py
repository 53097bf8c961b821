"""Write spans that ended: those of a request together, encoded at its end.

    writer = SpanWriter(ring)
    writer.write(root.take())                    # the request of this root span ended

A frame consists of sections: the length of the scope part and of the items part, each 32 bits and
little-endian, then both parts. The scope part is a ``ScopeSpans`` without its spans, the items part
its spans.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from avatar_telemetry._base.log import debug
from avatar_telemetry._base.memo import Memo
from avatar_telemetry.tracing.encoder import encode_item_head, encode_scope, encode_span
from avatar_telemetry.tracing.span import Origin, RecordedSpan

SPANS = 2
"""The kind of a frame of spans."""
MAX_PART_BYTES = 1 << 14
"""Bytes of encoded spans after which a frame is written although the request has more."""
MAX_SCOPES = 256
"""Scopes whose encoding is cached; an application chooses their names."""

Put = Callable[[int, int, bytes], bool]
"""``(kind, items, payload) -> written``; never blocks or raises, and counts dropped items."""

ITEM_HEADS: Memo[int, bytes] = Memo(encode_item_head, 4096)
"""Length of a span -> the bytes before it: its key, its length, and the key of its trace id."""
Joined = tuple[Origin, int, bytes]
"""Encoded spans: their origin, their number and their bytes."""

pack_section = struct.Struct("<II").pack


class FrameTarget(Protocol):
    """A target of frames, such as a ring."""

    @property
    def put(self) -> Put:
        """The function that writes a frame; it may be replaced at any time."""


class SpanWriter:
    """A sink that encodes spans and writes them as frames.

    Args:
        target: the target of the frames.
    """

    def __init__(self, target: FrameTarget) -> None:
        self.process = object()
        self.target = target
        self._scopes: dict[Origin, bytes] = {}

    def write(self, spans: Sequence[RecordedSpan], joined: Joined | None = None) -> bool:
        """Encode spans and write them, as one frame unless they are large.

        Args:
            spans: the spans to encode.
            joined: the spans that are already encoded.

        Returns:
            True where the frame with the joined spans was written, else the last frame.
        """
        written: list[bool] = []
        frame: dict[Origin, list[bytes]] = {}
        items = size = 0
        if joined is not None:
            origin, items, encoded = joined
            frame[origin], size = [encoded], len(encoded)
        for span in spans:
            try:
                encoded = encode_span(span)
            except Exception:  # noqa: BLE001 - the other spans of the request must be written
                debug("a span cannot be encoded")
                continue
            if items and len(encoded) >= MAX_PART_BYTES:  # dropped without the others if too large
                written.append(self.target.put(SPANS, items, self._payload(frame.items())))
                frame, items, size = {}, 0, 0
            frame.setdefault(span.origin, []).append(encoded)
            items += 1
            size += len(encoded)
            if size >= MAX_PART_BYTES:
                written.append(self.target.put(SPANS, items, self._payload(frame.items())))
                frame, items, size = {}, 0, 0
        if items:
            written.append(self.target.put(SPANS, items, self._payload(frame.items())))
        return bool(written) and written[-1 if joined is None else 0]

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
    """A sink that keeps spans in memory, in the order of their ends."""

    def __init__(self) -> None:
        self.spans: list[RecordedSpan] = []
        self.process = object()

    def write(self, spans: Sequence[RecordedSpan]) -> bool:
        """Keep spans that ended."""
        self.spans += spans
        return True
