"""A place for spans: OpenTelemetry's own SDK, which keeps them in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

# One for all tests: probes keep their tracers.
EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


class Spans:
    """The spans below a root span of the test's own."""

    @contextmanager
    def recording(self) -> Iterator[trace.Span]:
        EXPORTER.clear()
        with PROVIDER.get_tracer("test").start_as_current_span("root") as root:
            yield root

    def all(self) -> list[ReadableSpan]:
        return [span for span in EXPORTER.get_finished_spans() if span.name != "root"]

    def names(self) -> list[str]:
        return [span.name for span in self.all()]

    def one(self) -> ReadableSpan:
        (span,) = self.all()
        return span

    def text(self) -> str:
        """Everything that was recorded, as one text to search for what must not be there."""
        return "\n".join(span.to_json() for span in EXPORTER.get_finished_spans())
