"""Frames of spans: those of a request together, in parts where they are many, each span once."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import SpanKind

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.tracing import writer as module
from avatar_telemetry.tracing.provider import LightTracerProvider
from avatar_telemetry.tracing.sampling import Sampling
from avatar_telemetry.tracing.span import MAX_ENDED, OperationSpan, RecordedSpan, RootSpan
from avatar_telemetry.tracing.writer import SPANS, KeptSpans, SpanWriter
from tests.support.frames import Frames, official_sections, raw_sections, sections
from tests.support.providers import ALWAYS, OFF, RESOURCE, Ours, start_child
from tests.unit.tracing.test_encoder import our_spans


class Side:
    """A provider whose spans are written into frames."""

    def __init__(self, sampling: Sampling = ALWAYS) -> None:
        self.frames = Frames()
        self.writer = SpanWriter(self.frames)
        self.provider = LightTracerProvider(
            sampling, RESOURCE, Ours().limits, self.writer, OFF.describe, OFF.message, guard=Guard()
        )
        self.tracer = self.provider.get_tracer("requests", "1")

    def begin(self) -> RootSpan:
        root = self.tracer.start_root("root", SpanKind.SERVER, 1)
        assert isinstance(root, RootSpan)
        return root

    def fork(self, frames: Frames) -> None:
        """Go on as a forked child, whose frames go elsewhere."""
        self.writer.target = frames
        self.writer.process = object()

    def finish(self, root: RootSpan) -> None:
        self.writer.write(root.take(self.writer))


@given(st.lists(our_spans(), max_size=6))
def test_a_frame_has_the_bytes_of_the_official_encoder(spans: list[RecordedSpan]) -> None:
    """Each section is the official ``ScopeSpans`` of its spans, byte for byte."""
    frames = Frames()
    SpanWriter(frames).write(spans)
    assume(len(frames.taken) < 2)  # large ones are cut into parts
    by_origin: dict[Any, list[RecordedSpan]] = {}
    for span in spans:
        by_origin.setdefault(span.origin, []).append(span)
    assert [kind for kind, _, _ in frames.taken] == [SPANS] * bool(spans)
    found = [part for _, _, payload in frames.taken for part in raw_sections(payload)]
    assert found == [official_sections(group)[0] for group in by_origin.values()]


@pytest.mark.parametrize(
    "sampling", [pytest.param(ALWAYS, id="light"), pytest.param(Sampling(ALWAYS_ON), id="asked")]
)
def test_the_spans_of_a_request_are_one_frame(sampling: Sampling) -> None:
    """Server span, probes and libraries: all under the root go together, at the end."""
    side = Side(sampling)
    root = side.begin()
    library = side.provider.get_tracer("library")
    with trace.use_span(root), library.start_as_current_span("outer"):
        library.start_span("inner").end()
    start_child(root, side.tracer, "operation", 2).end()
    assert side.frames.taken == []
    root.end()
    side.finish(root)
    assert side.frames.names() == [["inner", "outer", "operation", "root"]]
    ((_, items, payload),) = side.frames.taken
    assert items == 4
    assert [part.scope.name for part in sections(payload)] == ["library", "requests"]


def test_a_span_outside_of_a_request_is_written_at_once() -> None:
    """A span without a request, and one that ends after its request, are frames of their own."""
    side = Side()
    side.tracer.start_span("alone").end()
    assert side.frames.names() == [["alone"]]
    root = side.begin()
    late = start_child(root, side.tracer, "late", 2)
    root.end()
    side.finish(root)
    late.end()
    assert side.frames.names() == [["alone"], ["root"], ["late"]]


def test_many_spans_are_written_in_parts() -> None:
    """A request keeps a bounded number of spans; none is lost or written twice."""
    side = Side()
    root = side.begin()
    for number in range(2 * MAX_ENDED + 3):
        start_child(root, side.tracer, str(number), 2).end()
        assert len(root._ended) < MAX_ENDED
    root.end()
    side.finish(root)
    parts = side.frames.names()
    assert [len(part) for part in parts] == [MAX_ENDED, MAX_ENDED, 4]
    assert [name for part in parts for name in part] == [
        *map(str, range(2 * MAX_ENDED + 3)),
        "root",
    ]


def test_large_spans_are_written_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame ends when it has so many bytes, though the request has more spans."""
    monkeypatch.setattr(module, "MAX_PART_BYTES", 1000)
    side = Side()
    spans = [side.tracer.start_span(str(number)) for number in range(5)]
    for span in spans:
        span.set_attribute("large", "x" * 600)
    side.writer.write(spans)
    assert side.frames.names() == [["0", "1"], ["2", "3"], ["4"]]


def test_a_large_span_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A span that no ring has room for takes none of its request with it."""
    monkeypatch.setattr(module, "MAX_PART_BYTES", 1000)
    side = Side()
    root = side.begin()
    for name, size in (("small", 1), ("large", 1000), ("last", 1)):
        span = start_child(root, side.tracer, name, 2)
        span.set_attribute("text", "x" * size)
        span.end()
    root.end()
    side.finish(root)
    assert side.frames.names() == [["small"], ["large"], ["last", "root"]]


def test_a_span_that_cannot_be_encoded_costs_no_other() -> None:
    """The others of its request are written; where there is no other, nothing is."""
    side = Side()
    root = side.begin()
    for name in ("one", "two"):
        child = start_child(root, side.tracer, name, 2)
        child.end(-1 if name == "one" else 3)  # a time before the epoch
    root.end()
    side.finish(root)
    side.tracer.start_span("alone").end(-1)
    assert side.frames.names() == [["two", "root"]]


def test_each_span_is_written_once_with_many_threads() -> None:
    """Spans of other threads may end while the request ends, or after it."""
    side = Side()
    for _ in range(20):
        root = side.begin()
        children = [start_child(root, side.tracer, "child", 2) for _ in range(200)]
        begin = threading.Barrier(3)

        def end(some: list[RecordedSpan], begin: threading.Barrier = begin) -> None:
            begin.wait()
            for child in some:
                child.end()

        threads = [threading.Thread(target=end, args=(children[n::2],)) for n in range(2)]
        for thread in threads:
            thread.start()
        begin.wait()
        side.finish(root)
        for thread in threads:
            thread.join()
        written = [span.span_id for span in side.frames.spans()]
        ids = {child._span_id for child in children}
        assert len(written) == len(ids)
        assert set(written) == ids
        side.frames.taken.clear()


def test_a_forked_child_writes_nothing_of_its_parent() -> None:
    """A span that ended in the parent is the parent's; the child writes its own at once."""
    side = Side()
    child_frames = Frames()
    root = side.begin()
    start_child(root, side.tracer, "of the parent", 2).end()
    side.fork(child_frames)
    start_child(root, side.tracer, "of the child", 2).end()
    assert child_frames.names() == [["of the child"]]
    side.finish(root)
    other = side.begin()
    other.end()
    side.finish(other)
    assert child_frames.names() == [["of the child"], ["root"]]
    assert side.frames.taken == []


def test_a_request_that_ends_in_a_forked_child() -> None:
    """A child that ends the request of its parent writes none of the parent's spans."""
    side = Side()
    child_frames = Frames()
    root = side.begin()
    start_child(root, side.tracer, "of the parent", 2).end()
    side.fork(child_frames)
    side.finish(root)
    assert child_frames.taken == []


def begin_request(side: Side) -> OperationSpan:
    """Start the spans of a request whose server span nobody has asked for."""
    operation = side.tracer.start_request(("server", "operation"), 1)
    assert isinstance(operation, OperationSpan)
    assert operation.made_server is None
    return operation


def test_the_server_span_is_made_once() -> None:
    """Threads that start spans in a request at once get one server span between them."""
    side = Side()
    operation = begin_request(side)
    start = threading.Barrier(4)
    servers = []

    def ask() -> None:
        start.wait()
        servers.append(operation._root)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert servers == [operation.made_server] * 4
    assert operation.parent == servers[0].context
    assert servers[0].parent is None
    assert (servers[0].name, servers[0].kind) == ("server", SpanKind.SERVER)


def test_a_span_under_a_request_that_was_joined() -> None:
    """It is written when it ends; the spans of the request end with it, and once."""
    side = Side()
    operation = begin_request(side)
    assert operation.end_joined(5) == []
    late = start_child(operation, side.tracer, "late", 6)
    assert side.frames.taken == []
    late.end()
    assert side.frames.names() == [["late"]]
    assert not operation.is_recording()
    assert not operation._root.is_recording()
    assert late.parent.span_id == operation.context.span_id


def test_a_request_that_is_joined_after_its_fork() -> None:
    """A forked child writes the spans that it ends in a request of its parent at once."""
    side = Side()
    operation = begin_request(side)
    child_frames = Frames()
    side.fork(child_frames)
    start_child(operation, side.tracer, "of the child", 2).end()
    assert child_frames.names() == [["of the child"]]


def test_scopes_are_kept_within_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An application that names its tracers as it likes fills no memory."""
    monkeypatch.setattr(module, "MAX_SCOPES", 3)
    side = Side()
    for number in range(8):
        side.provider.get_tracer(f"scope {number}").start_span("name").end()
        assert len(side.writer._scopes) <= 3
    scopes = [part.scope.name for _, _, payload in side.frames.taken for part in sections(payload)]
    assert scopes == [f"scope {number}" for number in range(8)]


def test_kept_spans_stay_objects() -> None:
    """Tests look at spans, in the order of their ends."""
    kept = KeptSpans()
    side = Side()
    spans = [side.tracer.start_span(name) for name in "ab"]
    kept.write(spans[:1])
    kept.write(spans[1:])
    assert kept.spans == spans


def test_the_frame_of_the_joined_spans_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the first frame: a later one that fits does not stand for it."""
    monkeypatch.setattr(module, "MAX_PART_BYTES", 100)
    side, results = Side(), iter([False, True])
    monkeypatch.setattr(side.frames, "put", lambda *frame: next(results))
    span = side.tracer.start_span("large")
    span.set_attribute("text", "x" * 200)
    origin = span.origin  # type: ignore[attr-defined]
    assert not side.writer.write([span], (origin, 1, b""))  # type: ignore[list-item]
