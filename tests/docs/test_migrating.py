"""Statements of the migration page about other packages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.support.paths import DOCS
from tests.support.recorder import Recorder
from tests.support.requirements import unavailable
from tests.support.wsgi_client import call

# Counts that nobody looks at by themselves.
LEFT_OUT = "unknown|get_fail|execute_many|responses_before_middlewares|by_transport"
PAGE = (DOCS / "migrating.md").read_text(encoding="utf-8")


def source_of(package: str) -> str:
    """All code of a package."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))


def test_names_of_django_prometheus() -> None:
    """Each of its metrics has a row, and each row is of one of its metrics."""
    if find_spec("django_prometheus") is None:
        unavailable("django-prometheus is not installed")
    source = source_of("django_prometheus")
    made = set(re.findall(r'"(django_(?:http|cache|db|model|migrations)_\w+)"', source))
    named = set(re.findall(r"`(django_(?:http|cache|db|model|migrations)_\w+)`", PAGE))
    assert named <= made
    unmapped = {name for name in made - named if not re.search(LEFT_OUT, name)}
    assert unmapped == set()


def test_names_of_opentelemetry_wsgi() -> None:
    """Its metrics have the names that the page says."""
    from opentelemetry.semconv._incubating.metrics import http_metrics
    from opentelemetry.semconv.metrics import MetricInstruments

    assert f"`{MetricInstruments.HTTP_SERVER_DURATION}`" in PAGE
    assert f"`{MetricInstruments.HTTP_SERVER_ACTIVE_REQUESTS}`" in PAGE
    assert f"`{http_metrics.HTTP_SERVER_ACTIVE_REQUESTS}`" in PAGE
    assert "excluded" not in source_of("opentelemetry.instrumentation.wsgi").lower()


def application(environ: Any, start_response: Any) -> list[bytes]:
    headers = [("Content-Type", "text/plain"), ("X-Twice", "a"), ("X-Twice", "b")]
    start_response("200 OK", headers)
    return [b"page"]


class BothLayers:
    """The same request through OpenTelemetry's middleware and through ours."""

    def __init__(self, folder: Path) -> None:
        self.provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._there = OpenTelemetryMiddleware(application, tracer_provider=self.provider)
        self._folder = folder

    def spans(self, settings: dict[str, str], **environ: Any) -> tuple[ReadableSpan, Any]:
        """The server span there, and the one here."""
        call(self._there, **environ)
        recorder = Recorder(self._folder, traced=True).set(**settings)
        call(recorder.wrap(application), **environ)
        recorder.book.detach()
        return self._exporter.get_finished_spans()[-1], recorder.server


@pytest.fixture
def both(tmp_path: Path) -> Iterator[BothLayers]:
    both = BothLayers(tmp_path)
    yield both
    both.provider.shutdown()


@pytest.mark.parametrize(
    ("host", "there", "here"),
    [
        pytest.param("a.example:8080", ("a.example:8080", 8000), ("a.example", 8080), id="port"),
        pytest.param("a.example", ("a.example", 8000), ("a.example", 80), id="no port"),
    ],
)
def test_host_and_port(both: BothLayers, host: str, there: object, here: object) -> None:
    """There the port is the server's own, here that of the Host header."""
    spans = both.spans({}, HTTP_HOST=host, SERVER_PORT="8000")
    found = [(span.attributes["net.host.name"], span.attributes["net.host.port"]) for span in spans]
    assert found == [there, here]


def test_synthetic_user_agents(both: BothLayers) -> None:
    """There a robot has an attribute of its own, which has no counterpart here."""
    there, here = both.spans({}, HTTP_USER_AGENT="Googlebot/2.1")
    assert there.attributes is not None
    assert there.attributes["user_agent.synthetic.type"] == "bot"
    assert "user_agent.synthetic.type" not in here.attributes
    assert "| `user_agent.synthetic.type` | none" in PAGE


@pytest.mark.parametrize(
    ("setting", "there", "here"),
    [("", "_OTHER", "_OTHER"), ("true", "BREW", "BREW"), ("false", "BREW", "_OTHER")],
)
def test_all_methods(
    both: BothLayers, monkeypatch: pytest.MonkeyPatch, setting: str, there: str, here: str
) -> None:
    """There any text turns it on, here only what is true."""
    variable = "OTEL_PYTHON_INSTRUMENTATION_HTTP_CAPTURE_ALL_METHODS"
    monkeypatch.setenv(variable, setting)
    spans = both.spans({variable: setting}, REQUEST_METHOD="BREW")
    assert [span.attributes["http.method"] for span in spans] == [there, here]


def test_repeated_response_headers(both: BothLayers, monkeypatch: pytest.MonkeyPatch) -> None:
    """There they are joined, here each is an element."""
    variable = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_RESPONSE"
    monkeypatch.setenv(variable, "x-twice")
    spans = both.spans({variable: "x-twice"})
    found = [span.attributes["http.response.header.x_twice"] for span in spans]
    assert found == [("a,b",), ("a", "b")]


def test_inside_a_foreign_span(both: BothLayers) -> None:
    """There it is an INTERNAL span, here a SERVER span; both are its children."""
    with both.provider.get_tracer("other").start_as_current_span("foreign") as foreign:
        spans = both.spans({})
    assert [span.kind for span in spans] == [SpanKind.INTERNAL, SpanKind.SERVER]
    for span in spans:
        assert span.parent is not None
        assert span.parent.span_id == foreign.get_span_context().span_id
    assert trace.get_current_span() is trace.INVALID_SPAN
