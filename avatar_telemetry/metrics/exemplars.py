"""The records of exemplars: the trace, or other labels, of a recent measurement, in a mapped file.

A slot has a file of traces, which this package names, and one of labels, which the application
passes to prometheus_client. The keys of the entries are those of the metric files. A record has a
checksum: its writer may be killed within a store, and other processes read it meanwhile.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Literal
from zlib import crc32

from avatar_telemetry.metrics.family import Exemplar, make_exemplar

Kind = Literal["traces", "labels"]
SIZES: dict[Kind, int] = {"traces": 48, "labels": 1024}
"""Bytes of a record."""
MAX_FILE_BYTES = 1 << 20
"""The maximum size of a file; series for which it has no space have no exemplars."""
SUFFIX = ".exemplars"

Place = tuple[Any, slice]
"""The memory of a record and its position."""
NO_PLACE: Place = (bytearray(SIZES["labels"]), slice(0, SIZES["labels"]))
"""The place of a record that no file has space for. A trace may shorten it."""

# The checksum of the rest, the time, the value; then the ids, or the length and the labels.
_head = struct.Struct("QqdQ")
_checksum = struct.Struct("Q").pack
_traced = struct.Struct("qd16s8s").pack
_labelled = struct.Struct("qdQ").pack
IDS = slice(24, 48)
head_of = _head.unpack_from
"""The checksum, the time and the value of a record, and the length of its labels."""


def pack_trace(trace_id: bytes, span_id: bytes, value: float, time: int) -> bytes:
    """Return the record of a trace.

    Args:
        trace_id: the trace id, 16 bytes.
        span_id: the span id, 8 bytes.
        value: the measured value.
        time: the time in nanoseconds since the epoch.
    """
    body = _traced(time, value, trace_id, span_id)
    return _checksum(crc32(body)) + body


def pack_labels(exemplar: Exemplar) -> bytes | None:
    """Return the record of an exemplar of the application; ``None`` if it is too long."""
    text = json.dumps(dict(exemplar.labels), ensure_ascii=False).encode()
    if len(text) > SIZES["labels"] - _head.size:
        return None
    time = int((exemplar.time or 0.0) * 1e9)
    body = _labelled(time, exemplar.value, len(text)) + text
    return (_checksum(crc32(body)) + body).ljust(SIZES["labels"], b"\0")


def intact_record(kind: Kind, data: bytes | bytearray, position: int) -> bytes | None:
    """Return a record without padding; ``None`` if it is empty, or incomplete because its writer
    was killed or writes it now.

    Args:
        kind: the kind of the file.
        data: the contents of the file.
        position: the position of the record.
    """
    checksum, _, _, length = head_of(data, position)
    size = SIZES[kind] if kind == "traces" else _head.size + length
    if size > SIZES[kind]:
        return None
    record = bytes(data[position : position + size])
    return record if crc32(record[8:]) == checksum else None


def unpack(kind: Kind, record: bytes) -> Exemplar | None:
    """Return the exemplar of an intact record.

    Args:
        kind: the kind of the file.
        record: the record without padding.
    """
    _, time, value, _ = head_of(record)
    if kind == "traces":
        ids = record[IDS].hex()
        return Exemplar((("span_id", ids[32:]), ("trace_id", ids[:32])), value, time / 1e9)
    return make_exemplar(json.loads(record[_head.size :]), value, time / 1e9)
