"""Our encoding is the official one without the tracestate, byte for byte."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans as official
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from avatar_telemetry.tracing import encoder
from avatar_telemetry.tracing.encoder import Block, encode_spans
from avatar_telemetry.tracing.span import SAMPLED_RANDOM, RecordedSpan
from tests.support.providers import Ours

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.just("long" * 200)
SIMPLE = st.one_of(st.none(), st.booleans(), INT64, st.floats(), TEXTS, st.binary(max_size=5))
# What OTLP has no number for is left out by both; so is what is inside of the same attribute.
HUGE = st.integers(1 << 63, 1 << 90)
VALUES = st.recursive(
    SIMPLE | HUGE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
ATTRIBUTES = st.dictionaries(TEXTS, VALUES, max_size=5)
TRACE_IDS, SPAN_IDS = st.integers(0, (1 << 128) - 1), st.integers(0, (1 << 64) - 1)
TIMES = st.integers(1, (1 << 63) - 1)
STATES = st.dictionaries(
    st.from_regex(r"\A[a-z][a-z0-9]{0,5}\Z"), st.from_regex(r"\A[a-z0-9]{1,5}\Z"), max_size=3
).map(lambda pairs: TraceState(list(pairs.items())))
CONTEXTS = st.builds(
    SpanContext, TRACE_IDS, SPAN_IDS, st.booleans(), st.integers(0, 3).map(TraceFlags), STATES
)
STATUSES = st.builds(Status, st.sampled_from(StatusCode)) | TEXTS.map(
    lambda text: Status(StatusCode.ERROR, text)
)
EVENTS = st.lists(st.tuples(TEXTS, ATTRIBUTES, TIMES), max_size=3)
LINKS = st.lists(st.tuples(CONTEXTS, ATTRIBUTES), max_size=3)
SIDES = [
    Ours(resource=resource, limits=limits)
    for resource in (Resource({}), Resource({"a": 1}), Resource({"a": (1, "b")}, "https://schema"))
    for limits in (SpanLimits(), SpanLimits(max_attributes=2, max_events=1, max_links=1))
]
SCOPES: list[tuple[Any, ...]] = [
    ("a",), ("a", "1"), ("b", "", "https://schema"), ("c", "1", None, {"x": 1}), ("",),
]  # fmt: skip
TRACERS = [side.provider.get_tracer(*scope) for side in SIDES for scope in SCOPES]
BLOCKS = [
    (), (("http.method", "http.status_code", "avatar.size"),), (("http.method",), (), ("x", "y")),
]  # fmt: skip
KNOWN = st.one_of(
    st.none(), st.sampled_from(["GET", "", "long" * 200, "\xe9\u20ac\U0001f600"]), TEXTS
)


@st.composite
def our_spans(draw: Any) -> RecordedSpan:
    tracer = draw(st.sampled_from(TRACERS))
    parent = draw(st.none() | CONTEXTS)
    span = RecordedSpan(
        tracer, draw(TEXTS), draw(TRACE_IDS).to_bytes(16, "big"),
        draw(SPAN_IDS).to_bytes(8, "big"), SAMPLED_RANDOM, parent,
        draw(st.sampled_from(SpanKind)), draw(TIMES),
    )  # fmt: skip
    if draw(st.booleans()):
        span._trace_state = draw(STATES)
    for key, value in draw(ATTRIBUTES).items():
        span.set_attribute(key, value)
    for name, attributes, when in draw(EVENTS):
        span.add_event(name, attributes, when)
    for context, attributes in draw(LINKS):
        span.add_link(context, attributes)
    blocks = draw(st.sampled_from(BLOCKS))
    span.set_known(*(Block(keys, tuple(draw(KNOWN) for _ in keys)) for keys in blocks))
    span._status = draw(STATUSES)
    span._end_time = draw(TIMES)
    return span


@st.composite
def their_spans(draw: Any) -> ReadableSpan:
    scope = draw(st.none() | st.sampled_from(SCOPES).map(lambda each: InstrumentationScope(*each)))
    return ReadableSpan(
        draw(TEXTS), draw(CONTEXTS), draw(st.none() | CONTEXTS),
        draw(st.sampled_from(SIDES)).resource, draw(ATTRIBUTES),
        [Event(*each) for each in draw(EVENTS)], [Link(*each) for each in draw(LINKS)],
        draw(st.sampled_from(SpanKind)), None, draw(STATUSES), draw(TIMES), draw(TIMES), scope,
    )  # fmt: skip


SPANS = st.lists(our_spans() | their_spans(), max_size=5)
FEW_SPANS = st.lists(our_spans() | their_spans(), max_size=2)


def official_bytes(spans: Sequence[ReadableSpan]) -> bytes:
    request = official(spans)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.ClearField("trace_state")  # a caller's, which is not exported
    return request.SerializePartialToString()


def parsed(data: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(data)


@given(SPANS)
@example([])
def test_the_same_bytes(spans: list[ReadableSpan]) -> None:
    """For any spans, ours and the SDK's mixed, the bytes are those of the official encoder."""
    assert encode_spans(spans) == official_bytes(spans)


@given(FEW_SPANS, FEW_SPANS)
def test_two_requests_make_one(first: list[ReadableSpan], second: list[ReadableSpan]) -> None:
    """Two encodings one after the other are one request with the spans of both."""
    both = parsed(encode_spans(first) + encode_spans(second)).resource_spans
    parts = [each for part in (first, second) for each in parsed(encode_spans(part)).resource_spans]
    # Not the messages: NaN is not equal to itself in all releases of protobuf.
    encoded = [[each.SerializePartialToString() for each in found] for found in (both, parts)]
    assert encoded[0] == encoded[1]


def attributes(*pairs: tuple[str, Any], known: Any = ()) -> dict[str, Any]:
    """The exported attributes of a span: the field of the value that is set, and its content."""
    span = Ours().tracer.start_span("name")
    for key, value in pairs:
        span.set_attribute(key, value)
    if known:
        span.set_known(Block(*zip(*known, strict=True)))
    span.end()
    request = parsed(encode_spans([span]))
    found: dict[str, Any] = {}
    for each in request.resource_spans[0].scope_spans[0].spans[0].attributes:
        assert each.key not in found
        field = each.value.WhichOneof("value")
        found[each.key] = (field, getattr(each.value, field) if field else None)
    return found


def test_equal_values_of_different_types() -> None:
    """1, True, 1.0 and "1", 0.0 and -0.0 are not mixed up, whichever came first."""
    for value, field in [
        (1, "int_value"), (True, "bool_value"), (1.0, "double_value"), ("1", "string_value"),
        (0, "int_value"), (False, "bool_value"), (0.0, "double_value"), (1, "int_value"),
        (True, "bool_value"), (False, "bool_value"),
    ]:  # fmt: skip
        assert attributes(("key", value)) == {"key": (field, value)}
    zeros = [attributes(("key", zero))["key"][1] for zero in (0.0, -0.0, 0.0)]
    assert [struct.pack("d", zero) for zero in zeros] == [
        struct.pack("d", zero) for zero in (0.0, -0.0, 0.0)
    ]


def test_absent_and_none() -> None:
    """A known value of None is absent; one that somebody set to None is there, empty."""
    found = attributes(("by hand", None), known=[("known", None), ("other", 1)])
    assert found == {"by hand": (None, None), "other": ("int_value", 1)}


def test_an_attribute_by_hand_stands_before_a_known_one() -> None:
    """No key is sent twice, and the value set by hand counts."""
    found = attributes(("a", "by hand"), known=[("a", "known"), ("b", "known")])
    assert found == {"a": ("string_value", "by hand"), "b": ("string_value", "known")}


@pytest.mark.parametrize("where", ["name", "attribute", "key", "event", "status", "nested"])
def test_surrogates(where: str) -> None:
    """A text that has no UTF-8, such as a file name may be, costs its odd letters alone."""
    odd = "a\ud800b"
    span = Ours().tracer.start_span(odd if where == "name" else "name")
    span.set_attribute(odd if where == "key" else "key", odd if where == "attribute" else "value")
    span.set_attribute("nested", {"a": [odd if where == "nested" else "value"]})
    span.add_event(odd if where == "event" else "event")
    if where == "status":
        span._status = Status(StatusCode.ERROR, odd)
    span.end()
    text = str(parsed(encode_spans([span])))
    assert "a?b" in text
    assert text.count("key: ") >= 3


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda span: span.update_name(5), id="a number for a name"),
        pytest.param(lambda span: span.end(1.5), id="a float for a time"),
        pytest.param(lambda span: span.end(-1), id="a time before the epoch"),
        pytest.param(lambda span: span.add_event("event", None, 1 << 64), id="a time far away"),
        pytest.param(lambda span: span.add_event(object()), id="an object for a name"),
    ],
)
def test_a_span_that_cannot_be_encoded(spoil: Any) -> None:
    """A span that nobody could encode is left out; the others of its batch are sent."""
    side = Ours()
    spans = [side.tracer.start_span(name) for name in ("one", "two", "three")]
    spoil(spans[1])
    for span in spans:
        if span.is_recording():
            span.end()
    sent = parsed(encode_spans(spans)).resource_spans[0].scope_spans[0].spans
    assert [span.name for span in sent] == ["one", "three"]


def test_names_that_never_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not fill the memory, and are encoded all the same."""
    monkeypatch.setattr(encoder, "MAX_CACHED", 3)
    tracer = Ours().tracer
    for number in range(10):
        span = tracer.start_span("name")
        span.set_attribute(f"by hand {number}", number)
        span.end()
        assert encode_spans([span]) == official_bytes([span])
        assert len(encoder._ATTRIBUTE_HEADS) <= encoder.MAX_CACHED


@pytest.mark.parametrize("extra", [0, 1])
def test_a_long_value_takes_no_place(extra: int) -> None:
    """Nothing is kept for an attribute that is long; its encoding is right all the same."""
    encoder._ATTRIBUTE_HEADS.clear()
    for _ in range(2):
        span = Ours().tracer.start_span("name")
        span.set_attribute("by hand, long", "w" * (encoder.MAX_CACHED_LENGTH + extra))
        span.end()
        assert encode_spans([span]) == official_bytes([span])
    assert len(encoder._ATTRIBUTE_HEADS) == 1 - extra


@pytest.mark.parametrize("length", [0x7F, 0x80, 0x3FFF, 0x4000, 0x1F_FFFF, 0x20_0000])
def test_lengths_at_their_boundaries(length: int) -> None:
    """A length takes one byte more at each power of 128."""
    span = Ours().tracer.start_span("name")
    span.set_attribute("key", "v" * length)
    span.end()
    assert encode_spans([span]) == official_bytes([span])
