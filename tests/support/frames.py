"""Frames of spans and log records as a ring takes them, and the messages in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ScopeLogs
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span
from opentelemetry.sdk.trace import ReadableSpan

HEAD = struct.Struct("<II")


def raw_sections(payload: bytes) -> list[tuple[bytes, bytes]]:
    """The sections of a frame, each as its scope part and its items part."""
    found, position = [], 0
    while position < len(payload):
        scope, items = HEAD.unpack_from(payload, position)
        position += HEAD.size
        end = position + scope + items
        assert end <= len(payload)
        found.append((payload[position : position + scope], payload[position + scope : end]))
        position = end
    return found


def log_record(payload: bytes) -> tuple[str, LogRecord]:
    """The scope and the one record of a frame of log records."""
    scope, items = HEAD.unpack_from(payload)
    assert HEAD.size + scope + items == len(payload)
    message = ScopeLogs.FromString(payload[HEAD.size :])
    (record,) = message.log_records
    return message.scope.name, record


def sections(payload: bytes) -> list[ScopeSpans]:
    """The sections of a frame, each with its scope and its spans."""
    return [ScopeSpans.FromString(scope + items) for scope, items in raw_sections(payload)]


def official_sections(spans: Sequence[ReadableSpan]) -> list[tuple[bytes, bytes]]:
    """The same of spans of one resource by the official encoder, without a caller's tracestate."""
    found = []
    for resource in encode_spans(spans).resource_spans:
        for part in resource.scope_spans:
            for span in part.spans:
                span.ClearField("trace_state")
            scope = ScopeSpans(scope=part.scope, schema_url=part.schema_url)
            items = ScopeSpans(spans=part.spans)
            found.append((scope.SerializePartialToString(), items.SerializePartialToString()))
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
