"""A place for spans: OpenTelemetry's own SDK, which keeps them in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from avatar_telemetry.probes import POLICY
from tests.conftest import Recorder
from tests.wsgi_client import call

# One for all tests: probes keep their tracers.
EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


class Spans:
    """What was recorded below a root span of the test's own."""

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


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", PROVIDER)
    EXPORTER.clear()
    return Spans()


@pytest.fixture
def policy(recorder: Recorder) -> Iterator[Callable[..., None]]:
    """Sets the policy of the probes for one test."""

    def set_policy(**rules: Any) -> None:
        POLICY.set(**rules, guard=recorder.guard)

    set_policy()
    yield set_policy
    POLICY.set()


@pytest.fixture
def within(recorder: Recorder, policy: Callable[..., None]) -> Callable[..., Any]:
    """Runs a function inside a request, and gives what it returned."""

    def run(function: Callable[[], Any], path: str = "/stats/") -> Any:
        results = []

        def application(environ: Any, start_response: Any) -> list[bytes]:
            results.append(function())
            start_response("200 OK", [("Content-Type", "text/plain")])
            return [b"x"]

        call(recorder.wrap(application), path=path)
        return results[0]

    return run
