"""Encode a log record as OTLP/protobuf, with the same bytes as the official encoder.

The message is ``LogRecord`` of opentelemetry-proto (``logs.proto``); see
:mod:`avatar_telemetry.tracing.encoder` for the encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

from opentelemetry.trace import SpanContext

from avatar_telemetry.tracing.encoder import (
    _any_value,
    _field,
    _key_value,
    _text,
)

ITEMS = 0x12
"""Key of ``log_records`` in ``ScopeLogs``."""
_time = struct.Struct("<BQ")
_flags = struct.Struct("<BI")


def encode_record(
    *,
    time: int,
    observed: int,
    severity: int,
    severity_text: str,
    body: str | None,
    attributes: Mapping[str, Any],
    context: SpanContext,
) -> bytes:
    """Encode a record with its key in ``ScopeLogs``.

    Args:
        time: the time of the record, in nanoseconds since the epoch.
        observed: the time of its observation, likewise.
        severity: the number of the severity (OpenTelemetry logs data model).
        severity_text: the name of the severity.
        body: the message.
        attributes: the attributes of the record.
        context: the identity of the span in which it was logged.
    """
    parts = [
        _time.pack(0x09, time),
        bytes((0x10, severity)),
        _text(0x1A, severity_text),
        _field(0x2A, _any_value(body)),
        *(_key_value(0x32, key, value) for key, value in attributes.items()),
    ]
    if context.trace_flags:
        parts.append(_flags.pack(0x45, int(context.trace_flags)))
    if context.trace_id:
        parts.append(b"\x4a\x10" + context.trace_id.to_bytes(16, "big"))
    if context.span_id:
        parts.append(b"\x52\x08" + context.span_id.to_bytes(8, "big"))
    parts.append(_time.pack(0x59, observed))
    return _field(ITEMS, b"".join(parts))
