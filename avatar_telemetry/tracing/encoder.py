"""Encode spans as OTLP/protobuf: the same bytes as the official encoder at a tenth of its cost.

Of the tracestate, which is client data, only the probability of a decision is exported
(:mod:`avatar_telemetry.tracing.keep`).

The messages are those of opentelemetry-proto (``trace.proto``, ``common.proto``); a field's key is
``number << 3 | wire type`` (protobuf encoding). Common parts, such as the key and the length of an
attribute, are cached.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status

from avatar_telemetry._base.log import debug
from avatar_telemetry.tracing.span import UNSET, Origin, RecordedSpan

MAX_CACHED = 4096
"""Cached encodings of each kind."""
MAX_CACHED_LENGTH = 256
"""Bytes of a value whose encoding is cached."""
MAX_NUMBER = (1 << 63) - 1
"""The largest number of an ``AnyValue``."""

pack_times = struct.Struct("<BQBQ").pack
TRACE_ID_SIZE = 18
"""Bytes of the field of a trace id."""
_fixed64 = struct.Struct("<Q")
_double = struct.Struct("<d")
KINDS = {
    SpanKind.INTERNAL: b"\x30\x01", SpanKind.SERVER: b"\x30\x02", SpanKind.CLIENT: b"\x30\x03",
    SpanKind.PRODUCER: b"\x30\x04", SpanKind.CONSUMER: b"\x30\x05",
}  # fmt: skip
# SpanFlags: the lower bits are omitted as in the official encoder; 0x100 means that 0x200 ("the
# parent is remote") is known.
FLAGS_LOCAL = struct.pack("<HI", 0x0185, 0x100)
_FLAGS_REMOTE = struct.pack("<HI", 0x0185, 0x300)
_LINK_LOCAL = struct.pack("<BI", 0x35, 0x100)
_LINK_REMOTE = struct.pack("<BI", 0x35, 0x300)
_STATUS_UNSET = b"\x7a\x00"


def encode_spans(spans: Iterable[ReadableSpan]) -> bytes:
    """Return an ``ExportTraceServiceRequest``. Two of them, concatenated, are one with the spans of
    both (protobuf encoding, "Last One Wins": repeated fields are appended).

    Args:
        spans: the spans, which have ended.
    """
    resources: dict[Resource, dict[InstrumentationScope | None, list[bytes]]] = {}
    # Resources are slow to compare, so they are compared once for an origin and not for each span.
    origins: dict[Origin, list[bytes]] = {}
    for span in spans:
        try:
            origin, encoded = _encoded(span)
        except Exception:  # noqa: BLE001 - the other spans must be encoded
            debug("a span cannot be encoded")
            continue
        group = origins.get(origin)
        if group is None:
            scopes = resources.setdefault(origin.resource, {})
            group = origins[origin] = scopes.setdefault(origin.scope, [])
        group.append(_field(0x12, encoded))
    # Joined once: a batch is large, and the allocator would keep the memory of each copy.
    return b"".join(part for each in resources.items() for part in _resource_spans(*each))


def _encoded(span: ReadableSpan) -> tuple[Origin, bytes]:
    if isinstance(span, RecordedSpan):
        return span.origin, _encode_recorded(span)
    return Origin(span.resource, span.instrumentation_scope), _encode_sdk_span(span)


def encode_span(span: RecordedSpan) -> bytes:
    """Return a span as an entry of ``ScopeSpans``, with its key and its length.

    Raises:
        Exception: a value of the application has no encoding.
    """
    return _field(0x12, _encode_recorded(span))


def encode_item_head(length: int) -> bytes:
    """Return the bytes before the trace id of a span in a ``ScopeSpans``.

    Args:
        length: the bytes of the span after its trace id.
    """
    return b"\x12" + _varint(TRACE_ID_SIZE + length) + b"\x0a\x10"


def encode_scope(scope: InstrumentationScope | None) -> bytes:
    """Return a ``ScopeSpans`` without its spans."""
    return b"".join(_scope_spans(scope, []))


def encode_resource(resource: Resource) -> bytes:
    """Return a ``Resource`` without its key."""
    return b"".join(_key_value(0x0A, key, value) for key, value in resource.attributes.items())


def encode_resource_entry(resource: Resource) -> bytes:
    """Return a ``ResourceSpans`` without its scopes; a ``ResourceLogs`` is the same."""
    return _field(0x0A, encode_resource(resource)) + _text(0x1A, resource.schema_url)


def _resource_spans(
    resource: Resource, scopes: Mapping[InstrumentationScope | None, list[bytes]]
) -> list[bytes]:
    parts = [_field(0x0A, encode_resource(resource))]
    for scope, spans in scopes.items():
        parts += _message(0x12, _scope_spans(scope, spans))
    return _message(0x0A, [*parts, _text(0x1A, resource.schema_url)])


def _scope_spans(scope: InstrumentationScope | None, spans: list[bytes]) -> list[bytes]:
    if scope is None:
        return [b"\x0a\x00", *spans]
    return [_field(0x0A, _scope(scope)), *spans, _text(0x1A, scope.schema_url)]


def _scope(scope: InstrumentationScope) -> bytes:
    attributes = [_key_value(0x1A, *pair) for pair in (scope.attributes or {}).items()]
    return _text(0x0A, scope.name) + _text(0x12, scope.version) + b"".join(attributes)


def _encode_recorded(span: RecordedSpan) -> bytes:
    parent = span._parent_span
    flags = FLAGS_LOCAL
    if parent is None:
        above = b""
    elif isinstance(parent, SpanContext):
        above = b"\x22\x08" + parent.span_id.to_bytes(8, "big")
        flags = _FLAGS_REMOTE if parent.is_remote else FLAGS_LOCAL
    else:
        above = b"\x22\x08" + parent._span_id
    root = span._root
    decision = None if root is None else root.decision
    parts = [
        b"\x0a\x10", span._trace_id, b"\x12\x08", span._span_id,
        b"" if decision is None else decision.state, above,
        encode_name(span._name), KINDS[span._kind],
        pack_times(0x39, span._start_time, 0x41, span._end_time or 0),
    ]  # fmt: skip
    extra = span._extra
    if not extra:
        parts += [block.data for block in span._known]
    elif any(key in extra for block in span._known for key in block.keys):
        parts += [_attribute(key, value) for key, value in span.attributes.items()]
    else:
        parts += [block.data for block in span._known]
        parts += [_attribute(key, value) for key, value in extra.items()]
    if span._dropped_attributes:
        parts.append(b"\x50" + _varint(span._dropped_attributes))
    if span._events or span._links or span._dropped_events or span._dropped_links:
        parts += _events_and_links(span)
    parts.append(_STATUS_UNSET if span._status is UNSET else encode_status(span._status))
    parts.append(flags)
    return b"".join(parts)


def _encode_sdk_span(span: ReadableSpan) -> bytes:
    context, parent = span.get_span_context(), span.parent
    if context is None:
        raise ValueError("a span without context")
    parts = [
        b"\x0a\x10", context.trace_id.to_bytes(16, "big"),
        b"\x12\x08", context.span_id.to_bytes(8, "big"),
        b"\x22\x08" + parent.span_id.to_bytes(8, "big") if parent else b"",
        encode_name(span.name), KINDS[span.kind],
        pack_times(0x39, span.start_time or 0, 0x41, span.end_time or 0),
    ]  # fmt: skip
    parts += [_key_value(0x4A, key, value) for key, value in (span.attributes or {}).items()]
    if span.dropped_attributes:
        parts.append(b"\x50" + _varint(span.dropped_attributes))
    parts += _events_and_links(span)
    parts.append(encode_status(span.status))
    parts.append(_FLAGS_REMOTE if parent and parent.is_remote else FLAGS_LOCAL)
    return b"".join(parts)


def _events_and_links(span: ReadableSpan) -> list[bytes]:
    parts = []
    if span._events:
        parts += [_field(0x5A, _event(event)) for event in span.events]
    if span.dropped_events:
        parts.append(b"\x60" + _varint(span.dropped_events))
    if span._links:
        parts += [_field(0x6A, _link(link)) for link in span.links]
    if span.dropped_links:
        parts.append(b"\x70" + _varint(span.dropped_links))
    return parts


def _event(event: Event) -> bytes:
    parts = [b"\x09" + _fixed64.pack(event.timestamp), _text(0x12, event.name)]
    parts += [_key_value(0x1A, key, value) for key, value in (event.attributes or {}).items()]
    if event.dropped_attributes:
        parts.append(b"\x20" + _varint(event.dropped_attributes))
    return b"".join(parts)


def _link(link: Link) -> bytes:
    context = link.context
    parts = [
        b"\x0a\x10", context.trace_id.to_bytes(16, "big"),
        b"\x12\x08", context.span_id.to_bytes(8, "big"),
    ]  # fmt: skip
    parts += [_key_value(0x22, key, value) for key, value in (link.attributes or {}).items()]
    if link.dropped_attributes:
        parts.append(b"\x28" + _varint(link.dropped_attributes))
    parts.append(_LINK_REMOTE if context.is_remote else _LINK_LOCAL)
    return b"".join(parts)


def encode_trace_state(text: str) -> bytes:
    """Return the tracestate of a span as its field."""
    return _text(0x1A, text)


def encode_status(status: Status) -> bytes:
    """Return the status of a span as its field."""
    code = status.status_code.value
    return _field(
        0x7A, _text(0x12, status.description) + (b"\x18" + _varint(code) if code else b"")
    )


@lru_cache(maxsize=MAX_CACHED)
def encode_name(name: str) -> bytes:
    """Return the name of a span as its field."""
    return _text(0x2A, name)


def encode_attributes(keys: Iterable[str], values: Iterable[Any]) -> bytes:
    """Return attributes as entries of a span; a value of ``None`` is absent."""
    data = b""
    for key, value in zip(keys, values):  # noqa: B905 - strict costs as much as an attribute
        if value is not None:
            data += _attribute(key, value)
    return data


class Block:
    """A group of attributes, encoded once for many spans.

    Args:
        keys: the names of the attributes.
        values: the plain values (str, int, bool, float) within the limits; ``None`` is absent.

    Attributes:
        data: the encoded attributes.
    """

    __slots__ = ("data", "keys", "values")

    def __init__(self, keys: tuple[str, ...], values: tuple[Any, ...]) -> None:
        self.keys = keys
        self.values = values
        self.data = encode_attributes(keys, values)


EMPTY = Block((), ())


def _attribute(key: str, value: Any) -> bytes:
    """Return an attribute of a span.

    The bytes before a text or a number depend only on the key and on the length of the value.
    """
    kind = type(value)
    data: bytes
    if kind is str:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            data = _utf8(value)
    elif kind is int and 0 <= value <= MAX_NUMBER:
        data = _varint(value)
    else:
        return _key_value(0x4A, key, value)
    length = len(data)
    try:
        return _ATTRIBUTE_HEADS[key, kind, length] + data
    except KeyError:
        whole = _key_value(0x4A, key, value)
    if whole and length <= MAX_CACHED_LENGTH:
        if len(_ATTRIBUTE_HEADS) >= MAX_CACHED:
            _ATTRIBUTE_HEADS.clear()
        _ATTRIBUTE_HEADS[key, kind, length] = whole[: len(whole) - length]
    return whole


_ATTRIBUTE_HEADS: dict[tuple[str, type, int], bytes] = {}


def _key_value(field: int, key: str, value: Any) -> bytes:
    try:
        return _pair(field, key, value)
    except (TypeError, ValueError, OverflowError, RecursionError, struct.error):
        debug("attribute %s cannot be encoded", key)
        return b""  # as in the official encoder: the attribute is omitted


def _pair(field: int, key: str, value: Any) -> bytes:
    return _field(field, _key(key) + _field(0x12, _any_value(value)))


@lru_cache(maxsize=MAX_CACHED)
def _key(key: str) -> bytes:
    return _text(0x0A, key)


def _any_value(value: Any) -> bytes:
    """Return an ``AnyValue``. Its field is also written for an empty value (it is a ``oneof``)."""
    kind = type(value)
    if kind is str:
        return _field(0x0A, _utf8(value))
    if kind is int and 0 <= value <= MAX_NUMBER:
        return b"\x18" + _varint(value)
    if value is None:
        return b""
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, str):
        return _field(0x0A, _utf8(value))
    if isinstance(value, int):
        return b"\x18" + _varint(struct.unpack("<Q", struct.pack("<q", value))[0])
    if isinstance(value, float):
        return b"\x21" + _double.pack(value)
    if isinstance(value, bytes):
        return _field(0x3A, value)
    if isinstance(value, Mapping):
        pairs = (_pair(0x0A, str(key), each) for key, each in value.items())
        return _field(0x32, b"".join(pairs))
    return _field(0x2A, b"".join(_field(0x0A, _any_value(each)) for each in value))


def _text(field: int, text: str | None) -> bytes:
    """Return a string field; empty for an empty text (proto3)."""
    return _field(field, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    # A lone surrogate, such as in a file name, has no UTF-8 encoding.
    return text.encode("utf-8", "replace")


def _field(field: int, data: bytes) -> bytes:
    try:
        return _HEADS[field, len(data)] + data
    except KeyError:
        return bytes((field,)) + _varint(len(data)) + data


_HEADS = {
    (field, length): bytes((field, length))
    for field in (0x0A, 0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x4A, 0x5A, 0x6A, 0x7A)
    for length in range(0x80)
}
"""Key and length of short fields."""


def _message(field: int, parts: list[bytes]) -> list[bytes]:
    """Return the parts of a message with its key and length."""
    return [bytes((field,)) + _varint(sum(map(len, parts))), *parts]


def _varint(number: int) -> bytes:
    """Return a number in base 128, least significant group first."""
    if number < 0x80:
        return _BYTES[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_BYTES = [bytes((number,)) for number in range(0x80)]
