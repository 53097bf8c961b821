"""Our provider is the SDK's to everybody else: processors, scopes, flushes, forks."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as context_api
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState

from tests.support.forked import in_child
from tests.support.providers import Ours, Theirs, start_child
from tests.support.waiting import DEADLINE

REMOTE = SpanContext(0xA1, 0xB2, True, TraceFlags(1), TraceState([("vendor", "x")]))


class Watcher(SpanProcessor):
    """Remembers what it was told, and adds to spans."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.contexts: list[Any] = []
        self.spans: list[ReadableSpan] = []

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.told.append(("start", span.name))
        self.contexts.append(parent_context)
        span.set_attribute("at start", 1)

    def _on_ending(self, span: Any) -> None:
        self.told.append(("ending", span.name))

    def on_end(self, span: ReadableSpan) -> None:
        self.told.append(("end", span.name))
        self.spans.append(span)


class Broken(SpanProcessor):
    """Raises whatever it is told."""

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("on_start")

    def _on_ending(self, span: Any) -> None:
        raise RuntimeError("_on_ending")

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("on_end")

    def shutdown(self) -> None:
        raise RuntimeError("shutdown")

    def force_flush(self, timeout_millis: int = 0) -> bool:
        raise RuntimeError("force_flush")


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_processors_are_told(kind: Any) -> None:
    """A user's processor sees each span at its start, before its end and after, and may add to it,
    also where the tracer was there before."""
    side = kind()
    watcher = Watcher()
    side.provider.add_span_processor(watcher)
    parent = context_api.Context({"mine": 1})
    with side.tracer.start_as_current_span("outer", parent):
        side.tracer.start_span("inner").end()
    assert watcher.told == [
        ("start", "outer"), ("start", "inner"), ("ending", "inner"), ("end", "inner"),
        ("ending", "outer"), ("end", "outer"),
    ]  # fmt: skip
    assert watcher.contexts == [parent, None]
    for span in watcher.spans:
        assert isinstance(span, ReadableSpan)
        assert span.end_time is not None
        assert span.attributes == {"at start": 1}


def test_a_processor_can_add_to_a_span_that_is_ending() -> None:
    """The specification lets it change the span until _on_ending returns."""

    class Adding(SpanProcessor):
        def _on_ending(self, span: Any) -> None:
            span.set_attribute("at its end", span.is_recording())

    side = Ours()
    side.provider.add_span_processor(Adding())
    side.tracer.start_span("name").end()
    assert side.ended[0].attributes == {"at its end": True}


def test_processors_see_requests() -> None:
    """The spans of our own requests are told with the context that holds the caller's baggage."""
    side = Ours()
    watcher = Watcher()
    side.provider.add_span_processor(watcher)
    context = baggage.set_baggage("user", "x", context_api.Context())
    server = side.tracer.start_root("server", SpanKind.SERVER, 1, REMOTE, context)
    start_child(server, side.tracer, "operation", 2, context).end()
    server.end()
    assert [name for _, name in watcher.told[:2]] == ["server", "operation"]
    assert [baggage.get_baggage("user", each) for each in watcher.contexts] == ["x", "x"]
    assert trace.get_current_span(watcher.contexts[1]) is server


def test_exporters_of_the_sdk_work() -> None:
    """A SimpleSpanProcessor or a BatchSpanProcessor of the user's exports what is sampled."""
    side = Ours()
    simple, batched = InMemorySpanExporter(), InMemorySpanExporter()
    side.provider.add_span_processor(SimpleSpanProcessor(simple))
    side.provider.add_span_processor(BatchSpanProcessor(batched))
    side.tracer.start_span("sampled").end()
    unsampled = NonRecordingSpan(SpanContext(1, 1, True, TraceFlags(0)))
    side.tracer.start_span("not", trace.set_span_in_context(unsampled)).end()
    assert side.provider.force_flush()
    for exporter in (simple, batched):
        assert [span.name for span in exporter.get_finished_spans()] == ["sampled"]
    side.provider.shutdown()


def test_a_broken_processor_breaks_nothing() -> None:
    """An exception of a user's processor is counted; spans, flush and other processors go on."""
    side = Ours()
    watcher = Watcher()
    side.provider.add_span_processor(Broken())
    side.provider.add_span_processor(watcher)
    with side.tracer.start_as_current_span("name"):
        pass
    assert not side.provider.force_flush()
    side.provider.shutdown()
    assert [span.name for span in side.ended] == ["name"]
    assert [what for what, _ in watcher.told] == ["start", "ending", "end"]
    assert side.failures == ["spans"] * 5


def test_a_processor_that_hangs_at_its_shutdown() -> None:
    """The end of a worker waits for a user's processor until the deadline and no longer."""
    over = threading.Event()
    ended: list[None] = []

    class Hanging(SpanProcessor):
        def shutdown(self) -> None:
            over.wait(DEADLINE / 4)  # ends a stop() that waits for it
            ended.append(None)

    side = Ours()
    side.provider.add_span_processor(Hanging())
    side.provider.stop(time.monotonic() + 0.05)
    assert not ended
    over.set()


def test_a_processor_is_shut_down() -> None:
    """At the end of a worker a user's processor sends what it has kept."""
    exporter = InMemorySpanExporter()
    side = Ours()
    side.provider.add_span_processor(BatchSpanProcessor(exporter))
    side.tracer.start_span("name").end()
    side.provider.stop(time.monotonic() + DEADLINE)
    assert [span.name for span in exporter.get_finished_spans()] == ["name"]


def test_tracers_by_scope() -> None:
    """The same arguments give the same tracer; each part of a scope makes another."""
    provider = Ours().provider
    tracer = provider.get_tracer("a", "1", "https://schema", {"x": 1})
    assert provider.get_tracer("a", "1", "https://schema", {"x": 1}) is tracer
    others = [
        provider.get_tracer("b", "1", "https://schema", {"x": 1}),
        provider.get_tracer("a", "2", "https://schema", {"x": 1}),
        provider.get_tracer("a", "1", None, {"x": 1}),
        provider.get_tracer("a", "1", "https://schema", {"x": 2}),
        provider.get_tracer("a"),
        provider.get_tracer(""),
    ]
    assert len({id(each) for each in [tracer, *others]}) == 7
    span = tracer.start_span("name")
    assert span.instrumentation_scope.name == "a"
    assert span.instrumentation_scope.schema_url == "https://schema"
    assert provider.get_tracer(None).start_span("name").instrumentation_scope.name == ""


@pytest.mark.parametrize(
    ("remote", "flags"),
    [
        pytest.param(None, 3, id="root"),
        pytest.param(TraceFlags(1), 1, id="sampled"),
        pytest.param(TraceFlags(3), 3, id="sampled and random"),
        pytest.param(TraceFlags(0), 0, id="not sampled"),
        pytest.param(TraceFlags(2), 2, id="not sampled, random"),
        pytest.param(TraceFlags(0xFF), 3, id="unknown flags"),
    ],
)
def test_flags_of_a_request(remote: TraceFlags | None, flags: int) -> None:
    """A trace of ours has a random id; of a caller's trace, only the caller knows."""
    caller = None if remote is None else SpanContext(0xA1, 0xB2, True, remote, REMOTE.trace_state)
    side = Ours()
    span = side.tracer.start_root("name", SpanKind.SERVER, 1, caller)
    context = span.get_span_context()
    assert (context.trace_flags, context.is_remote) == (flags, False)
    assert span.is_recording() == bool(flags & 1)
    assert dict(context.trace_state) == ({} if caller is None else {"vendor": "x"})
    if span.is_recording():
        child = start_child(span, side.tracer, "child", 2)
        assert child.get_span_context().trace_flags == flags
        assert child.get_span_context().trace_state == context.trace_state
        assert child.parent == context
        below = side.tracer.start_span("below", trace.set_span_in_context(child))
        assert below.get_span_context().trace_state == context.trace_state


def test_a_flush_asks_the_queue_and_the_processors() -> None:
    """force_flush() is true only where everything got out."""
    side = Ours()
    assert side.provider.force_flush()
    side.provider._flush = lambda deadline: False
    assert not side.provider.force_flush(10)


def test_the_resource_of_a_forked_child() -> None:
    """A child of the application tells its own pid, and keeps the identity of its parent."""
    resource = Resource({"service.instance.id": "host/1", "process.pid": os.getpid()})
    side = Ours(resource=resource)

    def child() -> str:
        side.provider.renew()
        old, new = side.tracer, side.provider.get_tracer("new")
        found = [tracer.start_span("x").resource.attributes for tracer in (old, new)]
        own = [each["process.pid"] == os.getpid() for each in found]
        return repr((own, [each["service.instance.id"] for each in found]))

    assert in_child(child) == "([True, True], ['host/1', 'host/1'])"


def test_a_lock_that_another_thread_held_at_the_fork() -> None:
    """In a forked child no span waits for a thread that is not there."""
    side = Ours()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with side.provider.lock:
            held.set()
            over.wait(DEADLINE)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(DEADLINE)

    def child() -> str:
        side.provider.renew()
        with side.tracer.start_as_current_span("name") as span:
            span.set_attribute("a", 1)
        return f"{len(side.ended)} of {span.name}"

    assert in_child(child) == "1 of name"
    over.set()
    thread.join()
