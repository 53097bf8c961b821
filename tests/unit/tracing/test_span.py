"""Our spans do what the API and the SDK promise: each scenario has the same end on both."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
)

from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.tracing.encoder import Block
from tests.support.providers import Ours, Theirs, on_both

REMOTE = SpanContext(0xA1, 0xB2, True, TraceFlags(3), TraceState([("vendor", "x")]))
UNSAMPLED = SpanContext(0xA1, 0xB2, True, TraceFlags(0))
INVALID = SpanContext(0, 0, True)


class Odd:
    """Neither text nor number, but has a text."""

    def __str__(self) -> str:
        return "odd"


class Textless:
    """Has not even a text."""

    __str__ = object.__str__
    __repr__ = object.__repr__


def spanning(act: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
    """A scenario of one span."""

    def scenario(tracer: Any) -> Any:
        span = tracer.start_span("name", **options)
        result = act(span)
        span.end()
        return result

    return scenario


def setting(*pairs: tuple[Any, Any]) -> Callable[[Any], Any]:
    return spanning(lambda span: [span.set_attribute(key, value) for key, value in pairs])


def failing(tracer: Any) -> None:
    with (
        pytest.raises(ValueError, match="mine"),
        tracer.start_as_current_span("name", end_on_exit=True),
    ):
        raise ValueError("mine")


def failing_in_with(tracer: Any) -> None:
    with pytest.raises(KeyError), tracer.start_span("name"):
        raise KeyError("mine")


def failing_unrecorded(tracer: Any) -> None:
    for options in ({"record_exception": False}, {"set_status_on_exception": False}):
        with pytest.raises(KeyError), tracer.start_span("name", **options):
            raise KeyError("mine")


def ending_twice(tracer: Any) -> Any:
    span = tracer.start_span("name")
    before = span.is_recording()
    span.end(7)
    span.end(8)
    return before, span.is_recording(), span.end_time


def using_after_end(tracer: Any) -> Any:
    span = tracer.start_span("name")
    span.end()
    span.set_attribute("late", 1)
    span.set_attributes({"late": 1})
    span.add_event("late")
    span.add_link(REMOTE)
    span.update_name("late")
    span.set_status(StatusCode.ERROR)
    span.record_exception(ValueError("late"))
    return len(span.events), len(span.links), span.name


def nesting(tracer: Any) -> Any:
    with tracer.start_as_current_span("outer") as outer:
        current = trace.get_current_span() is outer
        with tracer.start_as_current_span("inner", end_on_exit=False) as inner:
            same = inner.get_span_context().trace_id == outer.get_span_context().trace_id
            under = inner.parent == outer.get_span_context()
        still = inner.is_recording()
        inner.end()
    return current, same, under, still, trace.get_current_span() is outer


def decorating(tracer: Any) -> Any:
    @tracer.start_as_current_span("decorated", attributes={"a": 1})
    def work(number: int) -> int:
        trace.get_current_span().set_attribute("b", number)
        return number

    return work(1) + work(2)


def under(context: SpanContext) -> Callable[[Any], Any]:
    def scenario(tracer: Any) -> Any:
        parent = trace.set_span_in_context(NonRecordingSpan(context), context_api.Context())
        with tracer.start_as_current_span("child", parent, SpanKind.CLIENT) as span:
            grandchild = tracer.start_span("grandchild")
            grandchild.end()
        found = span.get_span_context()
        flags = found.trace_flags, grandchild.get_span_context().trace_flags
        return span.is_recording(), found.trace_id == context.trace_id, flags, found.trace_state

    return scenario


ODD_VALUES = [
    "text", "", "\ud800", True, 0, -1, 1 << 70, 1.5, float("inf"), None, b"bytes", [1, 2], (True,),
    ["a", None, 1.5], {"a": {"b": [1]}}, {"": 1, 2: "two"}, {1}, Odd(), Textless(), [Odd()],
    bytearray(b"ab"), range(3), SpanKind.CLIENT, StatusCode, "long" * 99,
]  # fmt: skip
ODD_KEYS = ["", None, 0, 5, b"key", Odd(), Textless(), True]
SCENARIOS = [
    pytest.param(spanning(lambda span: span.is_recording()), id="nothing"),
    pytest.param(setting(("a", 1), ("b", 2), ("a", 3)), id="the same key twice"),
    pytest.param(setting(*((f"k{i}", value) for i, value in enumerate(ODD_VALUES))), id="values"),
    pytest.param(setting(*((key, "v") for key in ODD_KEYS)), id="keys"),
    pytest.param(
        spanning(lambda span: [span.set_attributes({key: "v", "x": 1}) for key in ODD_KEYS]),
        id="keys of set_attributes",
    ),
    pytest.param(spanning(lambda span: None, attributes={"a": 1, "b": [Odd()]}), id="at the start"),
    pytest.param(spanning(lambda span: None, kind=SpanKind.PRODUCER), id="kind"),
    pytest.param(
        spanning(lambda span: span.start_time, start_time=0), id="start at the epoch"
    ),
    pytest.param(
        spanning(
            lambda span: None,
            links=[Link(REMOTE, {"a": 1}), Link(INVALID), None, Link(INVALID, {"b": 2})],
        ),
        id="links at the start",
    ),
    pytest.param(spanning(lambda span: None, links=None), id="no links"),
    pytest.param(
        spanning(lambda span: [span.add_link(REMOTE, {"a": [1]}), span.add_link(INVALID),
                               span.add_link(None)]),
        id="add_link",
    ),
    pytest.param(
        spanning(
            lambda span: [span.add_event("one"), span.add_event("two", {"": 1, "a": Odd()}, 5)]
        ),
        id="events",
    ),
    pytest.param(spanning(lambda span: span.update_name("other")), id="update_name"),
    pytest.param(failing, id="exception in start_as_current_span"),
    pytest.param(failing_in_with, id="exception in with"),
    pytest.param(failing_unrecorded, id="exception not recorded"),
    pytest.param(
        spanning(
            lambda span: span.record_exception(ValueError("mine"), {"exception.type": "x"}, 5)
        ),
        id="record_exception",
    ),
    pytest.param(ending_twice, id="end twice"),
    pytest.param(using_after_end, id="use after the end"),
    pytest.param(nesting, id="nesting"),
    pytest.param(decorating, id="decorator"),
    pytest.param(under(REMOTE), id="remote parent"),
    pytest.param(under(UNSAMPLED), id="unsampled parent"),
    pytest.param(under(INVALID), id="invalid parent"),
]  # fmt: skip


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_as_the_sdk(scenario: Callable[[Any], Any]) -> None:
    """The results and the export of a span are those of the SDK's span."""
    ours, theirs = on_both(scenario)
    assert ours == theirs


OK, ERROR, UNSET = StatusCode.OK, StatusCode.ERROR, StatusCode.UNSET


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([(OK,), (ERROR, "no")], id="OK is final"),
        pytest.param([(ERROR, "why"), (UNSET,)], id="UNSET is ignored"),
        pytest.param([(ERROR, "why"), (OK,)], id="OK after ERROR"),
        pytest.param([(ERROR, "why"), (ERROR,)], id="ERROR again"),
        pytest.param([(OK, "why")], id="OK has no description"),
        pytest.param([(Status(ERROR, "why"),)], id="Status"),
        pytest.param([(Status(ERROR, "why"), "ignored")], id="Status and description"),
        pytest.param([(Status(OK), None), (Status(ERROR),)], id="Status OK is final"),
        pytest.param([(Status(UNSET),)], id="Status UNSET"),
        pytest.param([("ERROR",), (None,)], id="no status at all"),
    ],
)
def test_set_status(calls: list[tuple[Any, ...]]) -> None:
    """The rules of the trace API specification, Set Status."""
    ours, theirs = on_both(spanning(lambda span: [span.set_status(*each) for each in calls]))
    assert ours == theirs


def crowd(tracer: Any) -> None:
    """More of everything than most limits let pass."""
    many = {f"key{number}": "value" * number for number in range(6)}
    links = [Link(REMOTE, many), Link(REMOTE), Link(REMOTE)]
    with tracer.start_as_current_span("name", attributes=many, links=links) as span:
        span.set_attribute("key0", "again, and long")
        span.set_attributes({"last": ["a list", "of texts"], "": 1, "nested": {"a": "long" * 5}})
        for number in range(4):
            span.add_event(f"event{number}", many)
        span.add_link(REMOTE, many)


@pytest.mark.parametrize("count", [0, 1, 3, 100, SpanLimits.UNSET])
@pytest.mark.parametrize("length", [0, 1, 7, SpanLimits.UNSET])
def test_limits(count: int, length: int) -> None:
    """Over a limit the oldest goes and is counted; texts are cut; all as in the SDK."""
    limits = SpanLimits(
        max_span_attributes=count, max_event_attributes=count, max_link_attributes=count,
        max_events=count, max_links=count, max_attribute_length=length,
        max_span_attribute_length=length,
    )  # fmt: skip
    ours, theirs = on_both(crowd, limits=limits)
    assert ours == theirs


@pytest.mark.parametrize("most", [3, 70, 128])
def test_known_attributes_are_within_the_limit_too(most: int) -> None:
    """Attributes that a layer sets together keep their order among those set by hand."""
    side = Ours(limits=SpanLimits(max_span_attributes=most))
    span = side.tracer.start_span("name")
    span.set_attributes({f"by hand {number}": number for number in range(most)})
    span.set_known(Block(("first", "absent"), (1, None)), Block(("second",), (2,)))
    span.end()
    assert len(span.attributes) == most
    assert (span.attributes["first"], span.attributes["second"]) == (1, 2)
    assert "absent" not in span.attributes
    assert span.dropped_attributes == 2


def test_known_attributes_stand_behind_those_set_by_hand() -> None:
    """An attribute of the layer that is set by hand keeps that value."""
    span = Ours().tracer.start_span("name")
    span.set_attribute("a", "by hand")
    span.set_known(Block(("a", "b"), ("known", "known")))
    assert dict(span.attributes) == {"a": "by hand", "b": "known"}


KEYS = st.one_of(st.text(max_size=3), st.integers(0, 2), st.none())
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8), st.integers(0, 4), st.integers(0, 4))
def test_any_attributes(pairs: list[tuple[Any, Any]], count: int, length: int) -> None:
    """Whatever is set, in whatever order, under whatever limit, the same is kept."""
    limits = SpanLimits(max_span_attributes=count, max_span_attribute_length=length)
    logging.disable()
    try:
        ours, theirs = on_both(setting(*pairs), limits=limits)
    finally:
        logging.disable(logging.NOTSET)
    assert repr(ours) == repr(theirs)  # not-a-number is not equal to itself


@pytest.mark.parametrize(
    ("mode", "description"),
    [
        pytest.param("off", "ValueError: 'secret' of a@b.test", id="off"),
        pytest.param("balanced", "ValueError: REDACTED of REDACTED", id="balanced"),
        pytest.param("strict", None, id="strict"),
    ],
)
def test_exceptions_are_scrubbed(mode: Any, description: str | None) -> None:
    """Anybody's span tells of an exception what the privacy mode lets out."""
    side = Ours(privacy=Privacy(mode, b"key"))
    with pytest.raises(ValueError, match="secret"), side.tracer.start_as_current_span("name"):
        raise ValueError("'secret' of a@b.test")
    (span,) = side.ended
    assert span.status.description == description
    (event,) = span.events
    assert event.attributes["exception.type"] == "ValueError"
    text = json.dumps(dict(event.attributes))
    assert ("secret" in text) == (mode == "off")
    assert ("test_span.py" in text) == (mode != "strict")


class UnspeakableError(Exception):
    """An exception without a text."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_a_text_passes_as_it_is() -> None:
    """An exception that cannot be described is raised as it is."""
    side = Ours()
    with pytest.raises(UnspeakableError), side.tracer.start_span("name"):
        raise UnspeakableError
    (span,) = side.ended
    assert span.status.description == "UnspeakableError"


def test_to_json_and_console() -> None:
    """The SDK's own exporters and formats read our spans."""

    def shown(side: Any) -> Any:
        text = io.StringIO()
        exporter = ConsoleSpanExporter(out=text)
        with side.tracer.start_as_current_span("name", attributes={"a": (1, 2)}) as span:
            span.add_event("event", {"b": True}, 1)
            span.add_link(REMOTE)
            span.set_status(StatusCode.ERROR, "why")
        exporter.export(side.ended)
        found = json.loads(text.getvalue())
        assert found == json.loads(side.ended[0].to_json())
        for varying in ("context", "start_time", "end_time"):
            assert found.pop(varying)
        return found

    assert shown(Ours()) == shown(Theirs())


def test_repr_names_the_span() -> None:
    """A log record of a span tells which it is."""
    span = Ours().tracer.start_span("a name")
    assert "a name" in repr(span)


def test_deprecated_instrumentation_info() -> None:
    """Exporters of old read the scope by its old name."""
    span = Ours().tracer.start_span("name")
    assert (span.instrumentation_info.name, span.instrumentation_info.version) == ("scope", "1.0")


def in_threads(work: Callable[[int], None], number: int = 8) -> None:
    start = threading.Barrier(number)

    def run(index: int) -> None:
        start.wait()
        work(index)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads come between one another wherever they can
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def test_many_threads_tell_one_span() -> None:
    """Nothing that threads set at the same time is lost, or counted wrongly."""
    side = Ours(limits=SpanLimits(max_span_attributes=100, max_events=50, max_links=50))
    span = side.tracer.start_span("name")

    def tell(index: int) -> None:
        for number in range(40):
            span.set_attribute(f"{index}.{number}", number)
            span.add_event("event")
            span.add_link(REMOTE)

    in_threads(tell)
    span.end()
    assert len(span.attributes) + span.dropped_attributes == 8 * 40
    assert len(span.events) + span.dropped_events == 8 * 40
    assert len(span.links) + span.dropped_links == 8 * 40


def test_a_span_ends_once_whoever_ends_it() -> None:
    """Threads that end a span at the same time export it once."""
    side = Ours()
    spans = [side.tracer.start_span("name") for _ in range(50)]
    in_threads(lambda index: [span.end() for span in spans])
    assert len(side.ended) == len(set(map(id, side.ended))) == 50


def test_unsampled_spans_take_everything() -> None:
    """A span that is not recorded can be used like any other, and keeps nothing."""
    context = trace.set_span_in_context(NonRecordingSpan(UNSAMPLED), context_api.Context())
    side = Ours()
    span = side.tracer.start_span("name", context)
    assert not isinstance(span, ReadableSpan)
    span.set_attribute("a", 1)
    span.set_attributes({"a": 1})
    span.add_event("event")
    span.add_link(REMOTE)
    span.update_name("other")
    span.set_status(StatusCode.ERROR)
    span.record_exception(ValueError())
    with trace.use_span(span, end_on_exit=True):
        assert trace.get_current_span() is span
    assert not span.is_recording()
    assert side.ended == []


@pytest.mark.parametrize(
    "act",
    [
        pytest.param(lambda span: span.end(), id="end"),
        pytest.param(lambda span: span.set_attribute("a", 1), id="attribute"),
        pytest.param(lambda span: span.add_event("event"), id="event"),
        pytest.param(lambda span: span.add_link(REMOTE), id="link"),
    ],
)
def test_no_span_waits_for_a_log_handler(act: Callable[[Any], Any]) -> None:
    """While it is told that a span has ended already, other threads go on with theirs."""
    side = Ours()
    free: list[bool] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=lambda: free.append(side.provider.lock.acquire(False)))
            other.start()
            other.join()

    span = side.tracer.start_span("name")
    span.end()
    handler = Handler()
    logger = logging.getLogger("avatar_telemetry")
    logger.addHandler(handler)
    try:
        act(span)
    finally:
        logger.removeHandler(handler)
    assert free == [True]
