"""Frames of spans as a ring takes them, and what is in them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

HEAD = struct.Struct("<II")


def sections(payload: bytes) -> list[ScopeSpans]:
    """The sections of a frame, each with its scope and its spans."""
    found, position = [], 0
    while position < len(payload):
        scope, items = HEAD.unpack_from(payload, position)
        position += HEAD.size
        end = position + scope + items
        found.append(ScopeSpans.FromString(payload[position:end]))
        assert end <= len(payload)
        position = end
    return found


@dataclass
class Frames:
    """Takes frames in memory."""

    taken: list[tuple[int, int, bytes]] = field(default_factory=list)

    def put(self, kind: int, items: int, payload: bytes) -> bool:
        self.taken.append((kind, items, payload))
        assert items == sum(len(section.spans) for section in sections(payload))
        return True

    def spans(self) -> list[Span]:
        payloads = [payload for _, _, payload in self.taken]
        return [span for each in payloads for part in sections(each) for span in part.spans]

    def names(self) -> list[list[str]]:
        """The names of the spans of each frame."""
        return [
            [span.name for part in sections(payload) for span in part.spans]
            for _, _, payload in self.taken
        ]
