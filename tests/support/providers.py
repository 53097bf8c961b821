"""Tracers to compare: ours and the SDK's, with the same limits, sampler and resource."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import TraceState

from avatar_telemetry._base.guard import Guard
from avatar_telemetry.http.privacy import Privacy
from avatar_telemetry.tracing.provider import LightTracerProvider
from avatar_telemetry.tracing.sampling import Sampling, make_sampling
from avatar_telemetry.tracing.writer import KeptSpans

RESOURCE = Resource({"service.name": "test"})
ALWAYS = make_sampling("parentbased_always_on", "")
OFF = Privacy("off", b"key")


@dataclass
class Ours:
    """A light provider that keeps what is exported."""

    sampling: Sampling = ALWAYS
    limits: SpanLimits = field(default_factory=SpanLimits)
    resource: Resource = RESOURCE
    privacy: Privacy = OFF

    def __post_init__(self) -> None:
        kept = KeptSpans()
        self.ended: list[Any] = kept.spans
        self.failures: list[str] = []
        self.provider = LightTracerProvider(
            self.sampling, self.resource, self.limits, kept,
            self.privacy.describe, self.privacy.message,
            guard=Guard(self.failures.append),
        )  # fmt: skip
        self.tracer = self.provider.get_tracer("scope", "1.0")


@dataclass
class Theirs:
    """The SDK's provider that keeps what is exported."""

    sampling: Sampling = ALWAYS
    limits: SpanLimits = field(default_factory=SpanLimits)
    resource: Resource = RESOURCE

    def __post_init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(
            self.sampling.sampler, self.resource, shutdown_on_exit=False, span_limits=self.limits
        )
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("scope", "1.0")

    @property
    def ended(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


def on_both(scenario: Callable[[Any], Any], **options: Any) -> tuple[Any, Any]:
    """The result and the spans of a scenario, on our tracer and on the SDK's."""
    results = []
    for kind in (Ours, Theirs):
        side = kind(**options)
        returned = scenario(side.tracer)
        results.append((returned, [view(span) for span in side.ended]))
    return results[0], results[1]


def view(span: ReadableSpan) -> dict[str, Any]:
    """All of a span but its ids and times."""
    context, parent = span.get_span_context(), span.parent
    assert context is not None
    return {
        "name": span.name,
        "kind": span.kind,
        "root": parent is None,
        "remote": parent is not None and parent.is_remote,
        "flags": int(context.trace_flags),
        "state": dict(context.trace_state or TraceState()),
        "attributes": list((span.attributes or {}).items()),
        "events": [
            (each.name, list((each.attributes or {}).items()), each.dropped_attributes)
            for each in span.events
        ],
        "links": [
            (each.context, list((each.attributes or {}).items()), each.dropped_attributes)
            for each in span.links
        ],
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "status": (span.status.status_code, span.status.description),
        "resource": span.resource,
        "scope": span.instrumentation_scope,
    }


def start_child(
    parent: trace.Span, tracer: trace.Tracer, name: str, start_time: int,
    context: Context | None = None,
) -> Any:  # fmt: skip
    """Start a span inside another one.

    Args:
        parent: the span around it.
        tracer: makes it.
        name: its name.
        start_time: nanoseconds since the epoch.
        context: the context of the parent.
    """
    inside = trace.set_span_in_context(parent, context)
    return tracer.start_span(name, inside, start_time=start_time)
