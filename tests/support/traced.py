"""A fake tracer: what probes of a request in progress put into it can be looked at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from avatar_telemetry.wsgi.request import CURRENT, AvatarRequest


class Spans:
    """The spans that were ended, in that order."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self._provider.get_tracer("tests")

    @property
    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.ended]

    def attributes(self, name: str) -> list[dict[str, Any]]:
        return [dict(span.attributes or {}) for span in self.ended if span.name == name]

    def text(self) -> str:
        """Everything that they say."""
        return "".join(span.to_json() for span in self.ended)


class Traced:
    """A request in progress whose spans are recorded."""

    def __init__(self, request: AvatarRequest, tracer: Any) -> None:
        self._request = request
        self.tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


@contextmanager
def traced(spans: Spans) -> Iterator[None]:
    """Within a request: its probes make spans."""
    request = CURRENT.get()
    assert request is not None
    token = CURRENT.set(Traced(request, spans.tracer))  # type: ignore[arg-type]
    try:
        yield
    finally:
        CURRENT.reset(token)
